// Labels the search fields of Select2, which creates them unnamed, before or after the page has loaded.

import { findAll } from "./dom.js";
import { text } from "./page_data.js";

function labelNew() {
  for (const field of findAll(document, ".select2-search__field:not([aria-label])", HTMLElement)) {
    const select = field.closest(".select2")?.previousElementSibling;
    const label = select instanceof HTMLSelectElement ? select.labels[0]?.textContent?.trim() : "";
    field.setAttribute("aria-label", label || text("select.search"));
  }
}

export function labelSelects() {
  new MutationObserver(labelNew).observe(document.body, { childList: true, subtree: true });
  labelNew();
}
