// The page of one program: live values, processes, log, console, latest events.

import { enhanceActions } from "./actions.js";
import { find, whenPresent } from "./dom.js";
import { bytes, duration, NO_VALUE, percent } from "./format.js";
import { followStatus } from "./live_status.js";
import { localTimes } from "./local_times.js";
import { LogPanel } from "./log_panel.js";
import { text } from "./page_data.js";
import { getHtml, postJson } from "./request.js";
import { tabs } from "./tabs.js";
import { toast, toastError } from "./toast.js";

/** @typedef {import("./live_status.js").ProcessStatus} ProcessStatus */

const RELOAD_DELAY = 400; // milliseconds

/** @param {Node | string} content */
function cell(content) {
  const element = document.createElement("td");
  element.append(content);
  return element;
}

/** @param {ProcessStatus} process */
function badge(process) {
  const element = document.createElement("span");
  element.className = "state";
  element.dataset.state = process.state;
  element.dataset.health = process.health ?? "";
  element.textContent = process.state;
  return element;
}

/** @param {ProcessStatus} process */
function exitText({ pid, exit_signal, exit_code }) {
  if (pid) return NO_VALUE;
  if (exit_signal) return text("exit.signal", { signal: exit_signal });
  return exit_code === null ? NO_VALUE : text("exit.code", { code: exit_code });
}

/** @param {ProcessStatus} process */
function processRow(process) {
  const whileRunning = (/** @type {string} */ value) => cell(process.pid ? value : NO_VALUE);
  const row = document.createElement("tr");
  row.append(
    cell(String(process.index)),
    cell(badge(process)),
    whileRunning(String(process.pid)),
    whileRunning(percent(process.cpu_percent)),
    whileRunning(bytes(process.memory_bytes)),
    whileRunning(String(process.threads)),
    cell(process.uptime_seconds === null ? NO_VALUE : duration(process.uptime_seconds)),
    cell(String(process.restarts)),
    cell(exitText(process)),
  );
  return row;
}

/** @param {ProcessStatus[]} processes */
function showProcesses(processes) {
  const body = find(document, "[data-processes]", HTMLElement);
  if (processes.length) body.replaceChildren(...processes.map(processRow));
}

/**
 * Reloads the latest events, which the server describes, once for all events that come close together.
 *
 * @param {HTMLElement} place
 */
function activityReloader(place) {
  let timer = 0;
  async function reload() {
    timer = 0;
    try {
      place.innerHTML = await getHtml(place.dataset.activity ?? "");
      localTimes(place);
    } catch (error) {
      toastError(error);
    }
  }
  return () => {
    timer ||= setTimeout(reload, RELOAD_DELAY);
  };
}

/** @param {HTMLFormElement} form */
function consoleForm(form) {
  const input = find(form, "input[name=text]", HTMLInputElement);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!input.value) return;
    try {
      await postJson(form.action, { text: `${input.value}\n` });
      input.value = "";
    } catch (error) {
      toastError(error);
    }
  });
}

/** @param {HTMLElement} header */
function programPage(header) {
  const id = Number(header.dataset.liveProgram);
  const reloadActivity = activityReloader(find(document, "[data-activity]", HTMLElement));
  enhanceActions(find(document, "#verb-form", HTMLFormElement));
  followStatus(header, {
    onPrograms(programs) {
      const own = programs.find((program) => program.id === id);
      if (own) showProcesses(own.processes);
    },
    onRemoved(ids) {
      if (ids.includes(id)) toast(text("program.removed"), "error");
    },
    onEvent(event) {
      if (event.program?.id === id) reloadActivity();
    },
  });
  whenPresent("[data-log]", HTMLElement, (panel) => new LogPanel(panel));
  whenPresent("[data-console]", HTMLFormElement, consoleForm);
}

tabs();
whenPresent("[data-live-program]", HTMLElement, programPage);
