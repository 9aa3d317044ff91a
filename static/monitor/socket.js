// A websocket that reconnects, with growing pauses of up to 15 seconds.

import { text } from "./page_data.js";

/** @typedef {"open" | "lost" | "refused"} ConnectionState */
/** @typedef {{ send: (message: object) => void, close: () => void }} Connection */

const FIRST_PAUSE = 500; // milliseconds, as all times here
const LONGEST_PAUSE = 15000;
const STABLE_AFTER = 5000;
// Not logged in, not allowed, removed, on another host: trying again would not help.
const FINAL = new Set([4401, 4403, 4404, 4409]);
const STATES = {
  open: text("connection.open"),
  lost: text("connection.lost"),
  refused: text("connection.refused"),
};

/**
 * @param {HTMLElement} element
 * @param {ConnectionState} state
 */
export function showConnection(element, state) {
  element.textContent = STATES[state];
  element.dataset.state = state;
}

/**
 * @param {string | (() => string)} path a function is called for each connection, to say where to resume
 * @param {object} handlers
 * @param {(message: any) => void} handlers.onMessage the JSON that the server sent; its type is the caller's matter
 * @param {(state: ConnectionState) => void} handlers.onState
 * @returns {Connection}
 */
export function openSocket(path, { onMessage, onState }) {
  let pause = FIRST_PAUSE;
  let timer = 0;
  let isClosed = false;
  let socket = connect();

  function connect() {
    const address = new URL(typeof path === "function" ? path() : path, window.location.href);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    const opening = new WebSocket(address);
    let opened = 0;
    opening.onopen = () => {
      opened = Date.now();
      onState("open");
    };
    opening.onmessage = (event) => isClosed || onMessage(JSON.parse(event.data));
    opening.onclose = (event) => isClosed || onLoss(event.code, opened);
    return opening;
  }

  /**
   * @param {number} code
   * @param {number} opened
   */
  function onLoss(code, opened) {
    if (FINAL.has(code)) return onState("refused");
    onState("lost");
    if (opened && Date.now() - opened > STABLE_AFTER) pause = FIRST_PAUSE;
    timer = setTimeout(reconnect, pause * (0.5 + Math.random()));
    pause = Math.min(pause * 2, LONGEST_PAUSE);
  }

  function reconnect() {
    timer = 0;
    socket = connect();
  }

  // A laptop that wakes up reconnects at once instead of waiting for the timer.
  function retryNow() {
    if (!timer || document.visibilityState !== "visible") return;
    clearTimeout(timer);
    reconnect();
  }
  document.addEventListener("visibilitychange", retryNow);
  window.addEventListener("online", retryNow);

  return {
    send: (message) => {
      if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
    },
    close: () => {
      isClosed = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", retryNow);
      window.removeEventListener("online", retryNow);
      socket.close();
    },
  };
}
