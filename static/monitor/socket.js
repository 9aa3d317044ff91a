// A websocket that reconnects, with growing pauses of up to 15 seconds.

import { text } from "./page_data.js";

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 15000;
const STABLE_AFTER = 5000;
const FINAL = new Set([4401, 4403, 4404]); // not logged in, not allowed, removed: trying again would not help

const STATES = {
  open: text("connection.open"),
  lost: text("connection.lost"),
  refused: text("connection.refused"),
};

export function showConnection(element, state) {
  element.textContent = STATES[state];
  element.dataset.state = state;
}

// `path` may be a function: each connection then asks it where to resume.
export function openSocket(path, { onMessage, onState }) {
  let socket = null, pause = FIRST_PAUSE, timer = null, closed = false;

  function connect() {
    timer = null;
    const address = new URL(typeof path === "function" ? path() : path, window.location.href);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    socket = new WebSocket(address);
    let opened = 0;
    socket.onopen = () => {
      opened = Date.now();
      onState("open");
    };
    socket.onmessage = (event) => closed || onMessage(JSON.parse(event.data));
    socket.onclose = (event) => {
      if (closed) return;
      if (FINAL.has(event.code)) {
        onState("refused");
        return;
      }
      onState("lost");
      if (opened && Date.now() - opened > STABLE_AFTER) pause = FIRST_PAUSE;
      timer = setTimeout(connect, pause * (0.5 + Math.random()));
      pause = Math.min(pause * 2, LONGEST_PAUSE);
    };
  }

  // A laptop that wakes up reconnects at once instead of waiting for the timer.
  function retryNow() {
    if (timer && document.visibilityState === "visible") {
      clearTimeout(timer);
      connect();
    }
  }
  document.addEventListener("visibilitychange", retryNow);
  window.addEventListener("online", retryNow);

  connect();
  return {
    send: (message) => socket.readyState === WebSocket.OPEN && socket.send(JSON.stringify(message)),
    close: () => {
      closed = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", retryNow);
      window.removeEventListener("online", retryNow);
      socket.close();
    },
  };
}
