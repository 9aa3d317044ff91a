// Follows /ws/status/ and keeps every element that shows a live value up to date.
// An element names its value with data-live="cpu" and its program with data-program="5".

import { bytes, duration, NO_VALUE, percent } from "./format.js";
import { statesWithReason, text } from "./page_data.js";
import { openSocket, showConnection } from "./socket.js";

const show = {
  state(element, program) {
    element.textContent = program.state;
    element.dataset.state = program.state;
    element.dataset.health = program.health || "";
  },
  cpu: (element, program) => setText(element, pids(program) ? percent(program.cpu_percent) : NO_VALUE),
  memory: (element, program) => setText(element, pids(program) ? bytes(program.memory_bytes) : NO_VALUE),
  restarts: (element, program) => setText(element, String(program.restarts)),
  instances: (element, program) => setText(element, `${program.instances.running}/${program.instances.desired}`),
  pids: (element, program) => setText(element, pids(program) || NO_VALUE),
  reason(element, program) {
    setText(element, reason(program));
    element.title = element.textContent;
  },
  uptime(element, program) {
    const since = program.uptime_seconds !== null && program.started_at ? Date.parse(program.started_at) / 1000 : "";
    element.dataset.since = since;
    tick(element);
  },
};

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// As `word` in programs/admin/live.py.
function reason(program) {
  if (program.state === "unknown") return text("state.unknown", { host: program.host || text("state.default_host") });
  return statesWithReason.has(program.state) || program.health === "unhealthy" ? program.reason : "";
}

function pids(program) {
  return program.processes.map((process) => process.pid).filter(Boolean).join(", ");
}

function tick(element) {
  const since = parseFloat(element.dataset.since);
  setText(element, since ? duration(Date.now() / 1000 - since) : NO_VALUE);
}

function tickAll() {
  document.querySelectorAll('[data-live="uptime"]').forEach(tick);
}

function elementsByProgram() {
  const found = new Map();
  for (const element of document.querySelectorAll("[data-live][data-program]")) {
    const id = Number(element.dataset.program);
    if (!found.has(id)) found.set(id, []);
    found.get(id).push(element);
  }
  return found;
}

function showProgram(program, elements, verbs) {
  for (const element of elements.get(program.id) || []) show[element.dataset.live]?.(element, program);
  for (const button of document.querySelectorAll(`[data-verb][data-program="${program.id}"]`)) {
    const possible = !verbs[program.state] || verbs[program.state].includes(button.dataset.verb);
    if ("disabled" in button) button.disabled = !possible;
    else button.setAttribute("aria-disabled", String(!possible));
  }
}

// Scripts of other parts of a page listen for these instead of opening a socket of their own.
function announce(name, detail) {
  document.dispatchEvent(new CustomEvent(name, { detail }));
}

// `bar` carries the table of verbs by state and the place for the state of the connection.
export function followStatus(bar, { onPrograms = () => {}, onRemoved = () => {}, onEvent = () => {} } = {}) {
  const verbs = JSON.parse(bar.dataset.verbs);
  const elements = elementsByProgram();
  const connection = bar.querySelector("[data-connection]");

  let revision = null;

  function take(message) {
    revision = message.revision;
    for (const program of message.programs) showProgram(program, elements, verbs);
    onPrograms(message.programs, message.type === "snapshot");
    announce("monitor:programs", message.programs);
  }

  const handlers = {
    snapshot: take,
    delta(message) {
      if (revision !== null && message.previous > revision) {
        socket.send({ type: "resync" });
        return;
      }
      take(message);
      onRemoved(message.removed);
    },
    event(message) {
      onEvent(message.event);
      announce("monitor:event", message.event);
    },
  };

  const socket = openSocket("/ws/status/", {
    onMessage: (message) => handlers[message.type]?.(message),
    onState: (state) => showConnection(connection, state),
  });
  setInterval(tickAll, 1000);
  return socket;
}
