// Labels the search fields of Select2, which creates them unnamed, before or after the page has loaded.

import { text } from "./page_data.js";

function nameThose() {
  for (const field of document.querySelectorAll(".select2-search__field:not([aria-label])")) {
    const select = field.closest(".select2")?.previousElementSibling;
    field.setAttribute("aria-label", select?.labels?.[0]?.textContent.trim() || text("select.search"));
  }
}

export function nameSearches() {
  new MutationObserver(nameThose).observe(document.body, { childList: true, subtree: true });
  nameThose();
}
