// The log panel: follows the newest lines; people can pause, search and download them.

import { find } from "./dom.js";
import { text } from "./page_data.js";
import { getJson, messageOf } from "./request.js";
import { openSocket, showConnection } from "./socket.js";

/** @typedef {{ time: string | null, text: string, instance?: number | null }} LogLine */

const MOST_LINES = 5000;
const FIRST_LINES = 500;
const MOST_SAVED = 5000;
const NEAR_END = 30; // pixels

/** @param {string} time */
function clock(time) {
  const date = new Date(time);
  return `${date.toTimeString().slice(0, 8)}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

/** @param {string | null} time */
function timeElement(time) {
  const element = document.createElement("time");
  if (!time) return element;
  element.dateTime = time;
  element.title = time;
  element.textContent = clock(time);
  return element;
}

/**
 * @param {string} content
 * @param {string} className
 */
function span(content, className = "") {
  const element = document.createElement("span");
  element.className = className;
  element.textContent = content;
  return element;
}

/** @param {LogLine} line */
function lineElement({ time, text: content, instance }) {
  const element = document.createElement("div");
  element.className = "log-line";
  element.append(timeElement(time));
  if (typeof instance === "number") element.append(span(`#${instance}`, "log-instance"));
  element.append(span(content));
  return element;
}

/**
 * @param {LogLine[]} lines
 * @param {string} name
 */
function saveAsFile(lines, name) {
  const rows = lines.map((line) => (line.time ? `${line.time} ${line.text}` : line.text));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([rows.join("\n"), "\n"], { type: "text/plain" }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

export class LogPanel {
  /** @param {HTMLElement} panel */
  constructor(panel) {
    this.program = { id: panel.dataset.log, name: panel.dataset.name };
    this.address = `/api/programs/${this.program.id}/logs`;
    this.box = find(panel, "[data-log-lines]", HTMLElement);
    this.note = find(panel, "[data-log-note]", HTMLElement);
    this.newestButton = find(panel, "[data-log-newest]", HTMLButtonElement);
    this.connection = find(panel, "[data-log-connection]", HTMLElement);
    this.pauseButton = find(panel, "[data-log-pause]", HTMLButtonElement);
    this.pauseLabel = this.pauseButton.textContent;
    this.isPaused = false;
    this.isAtEnd = true;
    /** @type {LogLine[]} */
    this.held = [];
    /** @type {import("./socket.js").Connection | null} */
    this.socket = null;
    this.listen(panel);
    this.follow();
  }

  /** @param {HTMLElement} panel */
  listen(panel) {
    const form = find(panel, "[data-log-search]", HTMLFormElement);
    const query = find(form, "input", HTMLInputElement);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.searchOrFollow(query.value.trim());
    });
    query.addEventListener("search", () => query.value || this.searchOrFollow(""));
    const wrap = find(panel, "[data-log-wrap]", HTMLButtonElement);
    wrap.addEventListener("click", () => {
      const isUnwrapped = this.box.classList.toggle("log-unwrapped");
      wrap.setAttribute("aria-pressed", String(!isUnwrapped));
    });
    this.pauseButton.addEventListener("click", () => this.pause(!this.isPaused));
    find(panel, "[data-log-download]", HTMLButtonElement).addEventListener("click", () => this.download());
    this.newestButton.addEventListener("click", () => this.toEnd());
    this.box.addEventListener("scroll", () => this.onScroll());
    // A hidden panel has no height: it can scroll to its end only once it is shown.
    new ResizeObserver(() => this.isAtEnd && this.toEnd()).observe(this.box);
  }

  onScroll() {
    this.isAtEnd = this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < NEAR_END;
    if (this.isAtEnd) this.newestButton.hidden = true;
  }

  toEnd() {
    this.isAtEnd = true;
    this.box.scrollTop = this.box.scrollHeight;
    this.newestButton.hidden = true;
  }

  /** @param {LogLine[]} lines */
  append(lines) {
    this.box.append(...lines.slice(-MOST_LINES).map(lineElement));
    while (this.box.childElementCount > MOST_LINES) this.box.firstElementChild?.remove();
    if (this.isAtEnd) this.toEnd();
    else this.newestButton.hidden = false;
  }

  clear() {
    this.box.replaceChildren();
    this.held = [];
    this.newestButton.hidden = true;
  }

  /** @param {string} message */
  showNote(message) {
    this.note.textContent = message;
    this.note.hidden = !message;
  }

  // Each connection starts with the last lines, so the panel is cleared for it: no line is lost or doubled.
  follow() {
    this.showNote("");
    this.socket = openSocket(`/ws/programs/${this.program.id}/logs/?tail=${FIRST_LINES}`, {
      onMessage: ({ type, lines, detail }) => {
        if (type === "error") this.showNote(detail);
        if (type !== "lines") return;
        if (this.isPaused) this.held = [...this.held, ...lines].slice(-MOST_LINES);
        else this.append(lines);
      },
      onState: (state) => {
        if (state === "open") this.clear();
        showConnection(this.connection, state);
      },
    });
  }

  /** @param {string} query */
  searchOrFollow(query) {
    if (query) this.search(query);
    else if (this.connection.dataset.state === "search") this.follow();
  }

  /** @param {string} query */
  async search(query) {
    this.socket?.close();
    this.connection.textContent = text("log.searching");
    this.connection.dataset.state = "search";
    try {
      const { lines, truncated } = await getJson(this.address, { q: query, tail: MOST_LINES });
      this.clear();
      this.append(lines);
      this.toEnd();
      const found = { count: lines.length, query };
      this.showNote(truncated ? text("log.newest_matches", found) : text("log.matches", found));
    } catch (error) {
      this.showError(error);
    }
  }

  /** @param {boolean} isPaused */
  pause(isPaused) {
    this.isPaused = isPaused;
    this.pauseButton.setAttribute("aria-pressed", String(isPaused));
    this.pauseButton.textContent = isPaused ? (this.pauseButton.dataset.resume ?? "") : this.pauseLabel;
    if (!isPaused) this.append(this.held.splice(0));
  }

  async download() {
    try {
      const { lines } = await getJson(this.address, { tail: MOST_SAVED });
      saveAsFile(lines, `${this.program.name}.log`);
    } catch (error) {
      this.showError(error);
    }
  }

  /** @param {unknown} error */
  showError(error) {
    this.showNote(text("log.failed", { error: messageOf(error) }));
  }
}
