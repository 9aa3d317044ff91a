// The form of an alert rule: the unit beside its levels, and the rule tried against the past.

import { preview } from "./form_preview.js";
import { nameSearches } from "./select_labels.js";

function units(select) {
  const known = JSON.parse(select.dataset.units);
  const levels = document.querySelectorAll("[data-level]");
  function show() {
    for (const level of levels) level.nextElementSibling.textContent = known[select.value] ?? "";
  }
  select.addEventListener("change", show);
  show();
}

nameSearches();
for (const [selector, set] of [
  ["[data-units]", units],
  ["[data-preview-button]", preview],
]) {
  const element = document.querySelector(selector);
  if (element) set(element);
}
