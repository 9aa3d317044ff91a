// The list of programs.

import { followStatus } from "./live_status.js";
import { enhanceActions } from "./actions.js";

const bar = document.querySelector("[data-live-list]");

function countStates(programs) {
  const counts = new Map();
  for (const { state } of programs.values()) counts.set(state, (counts.get(state) || 0) + 1);
  for (const chip of bar.querySelectorAll("[data-count]")) {
    const count = counts.get(chip.dataset.count) || 0;
    chip.querySelector("b").textContent = count;
    chip.hidden = count === 0;
  }
}

function rowOf(id) {
  return document.querySelector(`#result_list [data-live="state"][data-program="${id}"]`)?.closest("tr");
}

if (bar) {
  const known = new Map();
  const form = document.getElementById("verb-form");
  if (form) enhanceActions(form);
  followStatus(bar, {
    onPrograms(programs, isSnapshot) {
      if (isSnapshot) known.clear();
      for (const program of programs) {
        known.set(program.id, program);
        rowOf(program.id)?.classList.toggle("row-troubled", program.state === "fatal");
      }
      countStates(known);
    },
    onRemoved(ids) {
      for (const id of ids) {
        known.delete(id);
        rowOf(id)?.classList.add("row-removed");
      }
      countStates(known);
    },
  });
}
