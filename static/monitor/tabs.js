// Panels of one page, chosen by the address: #overview or #settings. Without this script all are shown.

import { findAll } from "./dom.js";

export function tabs() {
  const panels = findAll(document, "[data-panel]:not(body)", HTMLElement);
  const links = findAll(document, "[data-tab]", HTMLElement);

  function choose() {
    const wrong = panels.find((panel) => "hasErrors" in panel.dataset);
    const wanted = window.location.hash.slice(1) || wrong?.dataset.panel;
    const chosen = panels.find((panel) => panel.dataset.panel === wanted) ?? panels[0];
    if (!chosen) return;
    for (const panel of panels) panel.hidden = panel !== chosen;
    for (const link of links) {
      if (link.dataset.tab === chosen.dataset.panel) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    document.body.dataset.panel = chosen.dataset.panel;
  }

  window.addEventListener("hashchange", choose);
  choose();
}
