// Follows /ws/status/ and keeps every element that shows a live value up to date.
// An element names its value with data-live="cpu" and its program with data-program="5".

import { find, findAll } from "./dom.js";
import { bytes, duration, NO_VALUE, percent } from "./format.js";
import { statesWithReason, text } from "./page_data.js";
import { openSocket, showConnection } from "./socket.js";

/**
 * @typedef {object} ProcessStatus
 * @property {number} index
 * @property {string} state
 * @property {string | null} health
 * @property {number | null} pid
 * @property {number} cpu_percent
 * @property {number} memory_bytes
 * @property {number} threads
 * @property {number | null} uptime_seconds
 * @property {number} restarts
 * @property {number | null} exit_code
 * @property {string | null} exit_signal
 */

/**
 * @typedef {object} ProgramStatus
 * @property {number} id
 * @property {string} state
 * @property {string | null} health
 * @property {string} reason
 * @property {string | null} host
 * @property {number} cpu_percent
 * @property {number} memory_bytes
 * @property {number | null} uptime_seconds
 * @property {string | null} started_at
 * @property {number} restarts
 * @property {{ running: number, desired: number }} instances
 * @property {ProcessStatus[]} processes
 */

/**
 * @typedef {object} ProgramEvent
 * @property {string} type
 * @property {string} timestamp
 * @property {{ id: number } | null} program
 * @property {{ meaning?: string, reason?: string }} data
 */

/**
 * @typedef {object} StatusHandlers
 * @property {(programs: ProgramStatus[], isSnapshot: boolean) => void} [onPrograms]
 * @property {(ids: number[]) => void} [onRemoved]
 * @property {(event: ProgramEvent) => void} [onEvent]
 */

/** @typedef {{ revision: number, programs: ProgramStatus[] }} Snapshot */
/** @typedef {Snapshot & { previous: number, removed: number[] }} Delta */

/** @type {Record<string, (element: HTMLElement, program: ProgramStatus) => void>} */
const show = {
  state(element, program) {
    element.textContent = program.state;
    element.dataset.state = program.state;
    element.dataset.health = program.health ?? "";
  },
  cpu: (element, program) => setText(element, pids(program) ? percent(program.cpu_percent) : NO_VALUE),
  memory: (element, program) => setText(element, pids(program) ? bytes(program.memory_bytes) : NO_VALUE),
  restarts: (element, program) => setText(element, String(program.restarts)),
  instances: (element, { instances }) => setText(element, `${instances.running}/${instances.desired}`),
  pids: (element, program) => setText(element, pids(program) || NO_VALUE),
  reason(element, program) {
    element.title = reason(program);
    setText(element, element.title);
  },
  uptime(element, { started_at, uptime_seconds }) {
    const isUp = uptime_seconds !== null && started_at !== null;
    element.dataset.since = isUp ? String(Date.parse(started_at) / 1000) : "";
    tick(element);
  },
};

/**
 * @param {HTMLElement} element
 * @param {string} content
 */
function setText(element, content) {
  if (element.textContent !== content) element.textContent = content;
}

/**
 * As `word` in programs/admin/live.py.
 *
 * @param {ProgramStatus} program
 */
function reason(program) {
  if (program.state === "unknown") {
    return text("state.unknown", { host: program.host || text("state.default_host") });
  }
  return statesWithReason.has(program.state) || program.health === "unhealthy" ? program.reason : "";
}

/** @param {ProgramStatus} program */
function pids(program) {
  const running = program.processes.map((process) => process.pid).filter(Boolean);
  return running.join(", ");
}

/** @param {HTMLElement} element */
function tick(element) {
  const since = Number(element.dataset.since);
  setText(element, since ? duration(Date.now() / 1000 - since) : NO_VALUE);
}

function tickAll() {
  findAll(document, '[data-live="uptime"]', HTMLElement).forEach(tick);
}

function elementsByProgram() {
  /** @type {Map<number, HTMLElement[]>} */
  const found = new Map();
  for (const element of findAll(document, "[data-live][data-program]", HTMLElement)) {
    const id = Number(element.dataset.program);
    found.set(id, [...(found.get(id) ?? []), element]);
  }
  return found;
}

/**
 * @param {ProgramStatus} program
 * @param {string[] | undefined} possible the actions that make sense in its state
 */
function showActions(program, possible) {
  for (const button of findAll(document, `[data-verb][data-program="${program.id}"]`, HTMLElement)) {
    const isPossible = !possible || possible.includes(button.dataset.verb ?? "");
    if (button instanceof HTMLButtonElement) button.disabled = !isPossible;
    else button.setAttribute("aria-disabled", String(!isPossible));
  }
}

/**
 * Scripts of other parts of the page listen for these events instead of opening a socket of their own.
 *
 * @param {string} name
 * @param {ProgramStatus[] | ProgramEvent} detail
 */
function announce(name, detail) {
  document.dispatchEvent(new CustomEvent(name, { detail }));
}

/**
 * @param {HTMLElement} bar holds the possible actions by state and shows the state of the connection
 * @param {StatusHandlers} handlers
 */
export function followStatus(bar, handlers) {
  /** @type {Record<string, string[]>} */
  const actions = JSON.parse(bar.dataset.verbs ?? "{}");
  const elements = elementsByProgram();
  const connection = find(bar, "[data-connection]", HTMLElement);
  /** @type {number | null} */
  let revision = null;

  /**
   * @param {Snapshot} message
   * @param {boolean} isSnapshot
   */
  function take(message, isSnapshot) {
    revision = message.revision;
    for (const program of message.programs) {
      for (const element of elements.get(program.id) ?? []) show[element.dataset.live ?? ""]?.(element, program);
      showActions(program, actions[program.state]);
    }
    handlers.onPrograms?.(message.programs, isSnapshot);
    announce("monitor:programs", message.programs);
  }

  /** @param {Delta} message */
  function takeDelta(message) {
    const isMissingOne = revision !== null && message.previous > revision;
    if (isMissingOne) return socket.send({ type: "resync" });
    take(message, false);
    handlers.onRemoved?.(message.removed);
  }

  const socket = openSocket("/ws/status/", {
    onMessage(message) {
      if (message.type === "snapshot") take(message, true);
      if (message.type === "delta") takeDelta(message);
      if (message.type !== "event") return;
      handlers.onEvent?.(message.event);
      announce("monitor:event", message.event);
    },
    onState: (state) => showConnection(connection, state),
  });
  setInterval(tickAll, 1000);
}
