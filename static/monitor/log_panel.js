// The log panel: follows the newest lines; people can pause, search and download them.

import { text } from "./page_data.js";
import { getJson } from "./request.js";
import { openSocket, showConnection } from "./socket.js";

const MOST_LINES = 5000;
const FIRST_LINES = 500;
const MOST_SAVED = 5000;
const NEAR_END = 30; // pixels

function clock(time) {
  const moment = new Date(time);
  return moment.toTimeString().slice(0, 8) + "." + String(moment.getMilliseconds()).padStart(3, "0");
}

function lineElement({ time, text: content, instance }) {
  const line = document.createElement("div");
  line.className = "log-line";
  const stamp = document.createElement("time");
  if (time) {
    stamp.dateTime = time;
    stamp.title = time;
    stamp.textContent = clock(time);
  }
  line.append(stamp);
  if (instance !== undefined && instance !== null) {
    const label = document.createElement("span");
    label.className = "log-instance";
    label.textContent = `#${instance}`;
    line.append(label);
  }
  const words = document.createElement("span");
  words.textContent = content;
  line.append(words);
  return line;
}

export function logPanel(panel) {
  const find = (name) => panel.querySelector(`[data-log-${name}]`);
  const box = find("lines"), note = find("note"), newest = find("newest"), connection = find("connection");
  const address = `/api/programs/${panel.dataset.log}/logs`;
  const pauseLabel = find("pause").textContent;
  let paused = false, following = true, held = [], socket = null;

  const atEnd = () => box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_END;

  function toEnd() {
    following = true;
    box.scrollTop = box.scrollHeight;
    newest.hidden = true;
  }

  function append(lines) {
    const batch = document.createDocumentFragment();
    for (const line of lines.slice(-MOST_LINES)) batch.append(lineElement(line));
    box.append(batch);
    while (box.childElementCount > MOST_LINES) box.firstElementChild.remove();
    if (following) toEnd();
    else newest.hidden = false;
  }

  function say(message) {
    note.textContent = message;
    note.hidden = !message;
  }

  function clear() {
    box.replaceChildren();
    held = [];
    newest.hidden = true;
  }

  // Each connection starts with the last lines, so the panel is cleared for it: no line is lost or doubled.
  function follow() {
    say("");
    socket = openSocket(`/ws/programs/${panel.dataset.log}/logs/?tail=${FIRST_LINES}`, {
      onMessage({ type, lines }) {
        if (type !== "lines") return;
        if (paused) held = held.concat(lines).slice(-MOST_LINES);
        else append(lines);
      },
      onState(state) {
        if (state === "open") clear();
        showConnection(connection, state);
      },
    });
  }

  async function search(query) {
    socket?.close();
    connection.textContent = text("log.searching");
    connection.dataset.state = "search";
    try {
      const { lines, truncated } = await getJson(address, { q: query, tail: MOST_LINES });
      clear();
      append(lines);
      toEnd();
      const found = { count: lines.length, query };
      say(truncated ? text("log.newest_matches", found) : text("log.matches", found));
    } catch (error) {
      say(text("log.failed", { error: error.message }));
    }
  }

  function searchOrFollow(query) {
    if (query) search(query);
    else if (connection.dataset.state === "search") follow();
  }

  function pause(on) {
    paused = on;
    find("pause").setAttribute("aria-pressed", String(on));
    find("pause").textContent = on ? find("pause").dataset.resume : pauseLabel;
    if (!on) append(held.splice(0));
  }

  async function save() {
    try {
      const { lines } = await getJson(address, { tail: MOST_SAVED });
      const rows = lines.map((line) => (line.time ? `${line.time} ${line.text}` : line.text));
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([rows.join("\n"), "\n"], { type: "text/plain" }));
      link.download = `${panel.dataset.name}.log`;
      link.click();
      URL.revokeObjectURL(link.href);
    } catch (error) {
      say(text("log.failed", { error: error.message }));
    }
  }

  find("search").addEventListener("submit", (event) => {
    event.preventDefault();
    searchOrFollow(new FormData(event.target).get("q").trim());
  });
  find("search").querySelector("input").addEventListener("search", (event) => {
    if (!event.target.value) searchOrFollow("");
  });
  find("pause").addEventListener("click", () => pause(!paused));
  find("wrap").addEventListener("click", (event) => {
    const wraps = box.classList.toggle("log-unwrapped") === false;
    event.currentTarget.setAttribute("aria-pressed", String(wraps));
  });
  find("download").addEventListener("click", save);
  newest.addEventListener("click", toEnd);
  box.addEventListener("scroll", () => {
    following = atEnd();
    if (following) newest.hidden = true;
  });
  // A hidden panel has no height: it can scroll to its end only once it is shown.
  new ResizeObserver(() => following && toEnd()).observe(box);

  follow();
}
