// Follows /ws/status/ and keeps every element that shows a live value up to date.
// An element says what it shows with data-live="cpu" and of which program with data-program="5".

import { bytes, duration, percent } from "./format.js";
import { openSocket } from "./socket.js";

const NOTHING = "—";
const TROUBLED = new Set(["fatal", "backoff", "exited", "unknown"]);
const CONNECTION = {
  open: "Live",
  lost: "Connection lost, trying again…",
  refused: "No live updates: please log in again",
};

const show = {
  state(element, program) {
    element.textContent = program.state;
    element.dataset.state = program.state;
    element.dataset.health = program.health || "";
  },
  cpu: (element, program) => setText(element, pids(program) ? percent(program.cpu_percent) : NOTHING),
  memory: (element, program) => setText(element, pids(program) ? bytes(program.memory_bytes) : NOTHING),
  restarts: (element, program) => setText(element, String(program.restarts)),
  instances: (element, program) => setText(element, `${program.instances.running}/${program.instances.desired}`),
  pids: (element, program) => setText(element, pids(program) || NOTHING),
  reason(element, program) {
    setText(element, word(program));
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

function needsAWord(program) {
  return TROUBLED.has(program.state) || program.health === "unhealthy";
}

function word(program) {
  if (program.state === "unknown") return `the agent of ${program.host || "the default host"} is silent`;
  return needsAWord(program) ? program.reason : "";
}

function pids(program) {
  return program.processes.map((process) => process.pid).filter(Boolean).join(", ");
}

function tick(element) {
  const since = parseFloat(element.dataset.since);
  setText(element, since ? duration(Date.now() / 1000 - since) : NOTHING);
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
    onState(state) {
      connection.textContent = CONNECTION[state];
      connection.dataset.state = state;
    },
  });
  setInterval(tickAll, 1000);
  return socket;
}
