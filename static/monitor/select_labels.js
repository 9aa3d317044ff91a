// Select2 makes its search fields without a name, when it finds the time, be that before or after the page has loaded.

function nameThose() {
  for (const field of document.querySelectorAll(".select2-search__field:not([aria-label])")) {
    const select = field.closest(".select2")?.previousElementSibling;
    field.setAttribute("aria-label", select?.labels?.[0]?.textContent.trim() || "Search");
  }
}

export function nameSearches() {
  new MutationObserver(nameThose).observe(document.body, { childList: true, subtree: true });
  nameThose();
}
