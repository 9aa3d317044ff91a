// The page of one program: live figures, processes, log, console, latest events.

import { bytes, duration, NO_VALUE, percent } from "./format.js";
import { followStatus } from "./live_status.js";
import { logPanel } from "./log_panel.js";
import { tabs } from "./tabs.js";
import { localTimes } from "./local_times.js";
import { text } from "./page_data.js";
import { toast } from "./toast.js";
import { enhanceActions } from "./actions.js";

const RENEW_AFTER = 400;

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

// The server puts the latest events into words, so they are fetched rather than written twice.
function activityRenewal(place) {
  let timer = null;
  async function renew() {
    timer = null;
    const response = await fetch(place.dataset.activity, { credentials: "same-origin" });
    if (!response.ok || response.redirected) return;
    place.innerHTML = await response.text();
    localTimes(place);
  }
  return () => {
    timer ??= setTimeout(renew, RENEW_AFTER);
  };
}

function consoleLine(form) {
  const input = form.querySelector("input[name=text]");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!input.value) return;
    const response = await fetch(form.action, {
      method: "POST",
      headers: {
        "Content-Type": "application/json",
        "X-CSRFToken": form.querySelector("[name=csrfmiddlewaretoken]").value,
      },
      body: JSON.stringify({ text: `${input.value}\n` }),
    });
    if (response.ok) {
      input.value = "";
    } else {
      const answer = await response.json().catch(() => ({}));
      toast(answer.detail || response.statusText, "error");
    }
  });
}

tabs();
const head = document.querySelector("[data-live-program]");
if (head) {
  const id = Number(head.dataset.liveProgram);
  const renewActivity = activityRenewal(document.querySelector("[data-activity]"));
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
      if (event.program?.id === id) renewActivity();
    },
  });
  logPanel(document.querySelector("[data-log]"));
  const console = document.querySelector("[data-console]");
  if (console) consoleLine(console);
}
