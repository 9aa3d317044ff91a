// The form of an alert rule: the unit beside its thresholds, and the rule tried on past data.

import { findAll, whenPresent } from "./dom.js";
import { preview } from "./form_preview.js";
import { labelSelects } from "./select_labels.js";

/** @param {HTMLSelectElement} metric */
function units(metric) {
  /** @type {Record<string, string>} */
  const unitOf = JSON.parse(metric.dataset.units ?? "{}");
  function show() {
    for (const level of findAll(document, "[data-level]", HTMLInputElement)) {
      if (level.nextElementSibling) level.nextElementSibling.textContent = unitOf[metric.value] ?? "";
    }
  }
  metric.addEventListener("change", show);
  show();
}

labelSelects();
whenPresent("[data-units]", HTMLSelectElement, units);
whenPresent("[data-preview-button]", HTMLButtonElement, preview);
