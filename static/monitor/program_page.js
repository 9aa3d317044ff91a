// The page of one program: live figures, processes, log, console, latest events.

import { bytes, duration, NO_VALUE, percent } from "./format.js";
import { followStatus } from "./live_status.js";
import { logPanel } from "./log_panel.js";
import { tabs } from "./tabs.js";
import { localTimes } from "./local_times.js";
import { text } from "./page_data.js";
import { getHtml, postJson } from "./request.js";
import { toast } from "./toast.js";
import { enhanceActions } from "./actions.js";

const RELOAD_DELAY = 400; // milliseconds

function cell(content) {
  const element = document.createElement("td");
  element.append(content);
  return element;
}

function badge(process) {
  const element = document.createElement("span");
  element.className = "state";
  element.dataset.state = process.state;
  element.dataset.health = process.health || "";
  element.textContent = process.state;
  return element;
}

function ending({ pid, exit_signal, exit_code }) {
  if (pid) return NO_VALUE;
  if (exit_signal) return text("exit.signal", { signal: exit_signal });
  return exit_code === null ? NO_VALUE : text("exit.code", { code: exit_code });
}

function processRow(process) {
  const used = (value) => cell(process.pid ? value : NO_VALUE);
  const row = document.createElement("tr");
  row.append(
    cell(String(process.index)),
    cell(badge(process)),
    used(String(process.pid)),
    used(percent(process.cpu_percent)),
    used(bytes(process.memory_bytes)),
    used(String(process.threads)),
    cell(process.uptime_seconds === null ? NO_VALUE : duration(process.uptime_seconds)),
    cell(String(process.restarts)),
    cell(ending(process)),
  );
  return row;
}

function showProcesses(program) {
  const body = document.querySelector("[data-processes]");
  if (program.processes.length) body.replaceChildren(...program.processes.map(processRow));
}

// Reloads the latest events, which the server describes, once for all events that come close together.
function activityReloader(place) {
  let timer = null;
  async function reload() {
    timer = null;
    try {
      place.innerHTML = await getHtml(place.dataset.activity);
      localTimes(place);
    } catch (error) {
      toast(error.message, "error");
    }
  }
  return () => {
    timer ??= setTimeout(reload, RELOAD_DELAY);
  };
}

function consoleForm(form) {
  const input = form.querySelector("input[name=text]");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!input.value) return;
    try {
      await postJson(form.action, { text: `${input.value}\n` });
      input.value = "";
    } catch (error) {
      toast(error.message, "error");
    }
  });
}

tabs();
const head = document.querySelector("[data-live-program]");
if (head) {
  const id = Number(head.dataset.liveProgram);
  const reloadActivity = activityReloader(document.querySelector("[data-activity]"));
  enhanceActions(document.getElementById("verb-form"));
  followStatus(head, {
    onPrograms(programs) {
      const own = programs.find((program) => program.id === id);
      if (own) showProcesses(own);
    },
    onRemoved(ids) {
      if (ids.includes(id)) toast(text("program.removed"), "error");
    },
    onEvent(event) {
      if (event.program?.id === id) reloadActivity();
    },
  });
  logPanel(document.querySelector("[data-log]"));
  const form = document.querySelector("[data-console]");
  if (form) consoleForm(form);
}
