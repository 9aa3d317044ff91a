// The log panel: follows the newest lines, can be paused, searched and saved.

import { openSocket } from "./socket.js";

const MOST_LINES = 5000;
const FIRST_LINES = 500;
const MOST_SAVED = 5000;
const NEAR_END = 30; // pixels
const TERMINAL = /\x1b\[[0-?]*[ -/]*[@-~]|\x1b.|[\x00-\x08\x0b-\x1f\x7f]/g;
const CONNECTION = { open: "Following", lost: "Connection lost, trying again…", refused: "Not allowed" };

function clock(time) {
  const moment = new Date(time);
  return moment.toTimeString().slice(0, 8) + "." + String(moment.getMilliseconds()).padStart(3, "0");
}

function lineElement({ time, text, process }, showsProcess) {
  const line = document.createElement("div");
  line.className = "log-line";
  const stamp = document.createElement("time");
  if (time) {
    stamp.dateTime = time;
    stamp.title = time;
    stamp.textContent = clock(time);
  }
  line.append(stamp);
  if (showsProcess && process !== undefined) {
    const label = document.createElement("span");
    label.className = "log-process";
    label.textContent = `#${process}`;
    line.append(label);
  }
  const words = document.createElement("span");
  words.textContent = text.replace(TERMINAL, "");
  line.append(words);
  return line;
}

export function logPanel(panel) {
  const find = (name) => panel.querySelector(`[data-log-${name}]`);
  const box = find("lines"), note = find("note"), newest = find("newest"), connection = find("connection");
  const address = `/api/programs/${panel.dataset.log}/logs`;
  const showsProcess = panel.dataset.instances !== "1";
  let paused = false, searching = false, held = [];

  const atEnd = () => box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_END;

  function toEnd() {
    box.scrollTop = box.scrollHeight;
    newest.hidden = true;
  }

  function append(lines) {
    const follow = atEnd();
    const batch = document.createDocumentFragment();
    for (const line of lines.slice(-MOST_LINES)) batch.append(lineElement(line, showsProcess));
    box.append(batch);
    while (box.childElementCount > MOST_LINES) box.firstElementChild.remove();
    if (follow) toEnd();
    else newest.hidden = false;
  }

  function say(text) {
    note.textContent = text;
    note.hidden = !text;
  }

  async function load(parameters) {
    const response = await fetch(`${address}?${new URLSearchParams(parameters)}`, { headers: { Accept: "application/json" } });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.detail || response.statusText);
    return answer;
  }

  async function search(query) {
    searching = Boolean(query);
    try {
      const { lines, truncated } = await load(query ? { q: query, tail: MOST_LINES } : { tail: FIRST_LINES });
      if (query) say(`${lines.length}${truncated ? " or more" : ""} lines with “${query}”. Empty the search to follow again.`);
      else say("");
      box.replaceChildren();
      held = [];
      append(lines);
      toEnd();
    } catch (error) {
      say(`The log cannot be read: ${error.message}`);
    }
  }

  function pause(on) {
    paused = on;
    find("pause").setAttribute("aria-pressed", String(on));
    find("pause").textContent = on ? "Continue" : "Pause";
    if (!on) append(held.splice(0));
  }

  async function save() {
    try {
      const { lines } = await load({ tail: MOST_SAVED });
      const text = lines.map((line) => (line.time ? `${line.time} ${line.text}` : line.text)).join("\n");
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([text, "\n"], { type: "text/plain" }));
      link.download = `${panel.dataset.name}.log`;
      link.click();
      URL.revokeObjectURL(link.href);
    } catch (error) {
      say(`The log cannot be read: ${error.message}`);
    }
  }

  find("search").addEventListener("submit", (event) => {
    event.preventDefault();
    search(new FormData(event.target).get("q").trim());
  });
  find("search").querySelector("input").addEventListener("search", (event) => {
    if (!event.target.value && searching) search("");
  });
  find("pause").addEventListener("click", () => pause(!paused));
  find("wrap").addEventListener("click", (event) => {
    const wraps = box.classList.toggle("log-unwrapped") === false;
    event.currentTarget.setAttribute("aria-pressed", String(wraps));
  });
  find("download").addEventListener("click", save);
  newest.addEventListener("click", toEnd);
  box.addEventListener("scroll", () => atEnd() && (newest.hidden = true));

  openSocket(`/ws/programs/${panel.dataset.log}/logs/`, {
    onMessage(message) {
      if (message.type !== "lines" || searching) return;
      if (paused) held = held.concat(message.lines).slice(-MOST_LINES);
      else append(message.lines);
    },
    onState(state) {
      connection.textContent = CONNECTION[state];
      connection.dataset.state = state;
    },
  });
  search("");
}
