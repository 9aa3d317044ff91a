// The list of programs.

import { enhanceActions } from "./actions.js";
import { find, findAll, findOptional, whenPresent } from "./dom.js";
import { followStatus } from "./live_status.js";

/** @typedef {import("./live_status.js").ProgramStatus} ProgramStatus */

/**
 * @param {HTMLElement} bar
 * @param {Iterable<ProgramStatus>} programs
 */
function countStates(bar, programs) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const { state } of programs) counts.set(state, (counts.get(state) ?? 0) + 1);
  for (const chip of findAll(bar, "[data-count]", HTMLElement)) {
    const count = counts.get(chip.dataset.count ?? "") ?? 0;
    find(chip, "b", HTMLElement).textContent = String(count);
    chip.hidden = count === 0;
  }
}

/** @param {number} id */
function rowOf(id) {
  return findOptional(document, `#result_list [data-live="state"][data-program="${id}"]`, HTMLElement)?.closest(
    "tr",
  );
}

/** @param {HTMLElement} bar */
function followList(bar) {
  /** @type {Map<number, ProgramStatus>} */
  const known = new Map();
  followStatus(bar, {
    onPrograms(programs, isSnapshot) {
      if (isSnapshot) known.clear();
      for (const program of programs) known.set(program.id, program);
      countStates(bar, known.values());
    },
    onRemoved(ids) {
      for (const id of ids) {
        known.delete(id);
        rowOf(id)?.classList.add("row-removed");
      }
      countStates(bar, known.values());
    },
  });
}

whenPresent("[data-live-list]", HTMLElement, (bar) => {
  whenPresent("#verb-form", HTMLFormElement, enhanceActions);
  followList(bar);
});
