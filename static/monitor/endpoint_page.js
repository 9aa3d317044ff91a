// The page of an endpoint: the fields of the chosen format, preview of the unsaved form, test with its result.

import { whileBusy } from "./actions.js";
import { followDelivery } from "./delivery_progress.js";
import { find, findAll, whenPresent } from "./dom.js";
import { preview } from "./form_preview.js";
import "./local_times.js";
import { postForm } from "./request.js";
import { labelSelects } from "./select_labels.js";
import { tabs } from "./tabs.js";

/**
 * Each format has its own block of fields. A disabled block is neither shown nor sent.
 *
 * @param {HTMLSelectElement} select
 */
function formatChoice(select) {
  const blocks = findAll(document, "[data-format]", HTMLFieldSetElement);
  function show() {
    for (const block of blocks) {
      const isChosen = block.dataset.format === select.value;
      block.hidden = !isChosen;
      block.disabled = !isChosen;
    }
  }
  for (const button of findAll(document, "[data-format-choose]", HTMLButtonElement)) button.hidden = true;
  select.addEventListener("change", show);
  show();
}

/**
 * Greys the checkboxes that a checked `*` pattern covers already.
 *
 * @param {HTMLElement} group
 */
function eventPatterns(group) {
  const everything = find(group, 'input[value="*"]', HTMLInputElement);
  function grey() {
    for (const area of findAll(group, "[data-pattern-area]", HTMLFieldSetElement)) {
      const whole = find(area, "[data-pattern-whole]", HTMLInputElement);
      area.classList.toggle("pattern-covered", everything.checked || whole.checked);
      whole.closest("label")?.classList.toggle("pattern-covered", everything.checked);
    }
  }
  group.addEventListener("change", grey);
  grey();
}

/** @param {HTMLButtonElement} button */
function testButton(button) {
  const place = find(document, "[data-test-result]", HTMLElement);
  const { form } = button;
  if (!form) return;
  button.addEventListener("click", async (event) => {
    event.preventDefault();
    button.disabled = true;
    await whileBusy(button, async () => {
      const { progress } = await postForm(button.formAction, form);
      await followDelivery(place, progress);
    });
    button.disabled = false;
  });
}

tabs();
labelSelects();
whenPresent("[data-format-choice]", HTMLSelectElement, formatChoice);
whenPresent("[data-patterns]", HTMLElement, eventPatterns);
whenPresent("[data-preview-button]", HTMLButtonElement, preview);
whenPresent("[data-test]:not(:disabled)", HTMLButtonElement, testButton);
