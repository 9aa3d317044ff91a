// Two panels on one page, chosen by the address: #overview or #settings. Both are plain sections without a script.

export function tabs() {
  const panels = [...document.querySelectorAll("[data-panel]")];
  const links = [...document.querySelectorAll("[data-tab]")];
  if (!panels.length) return;

  function choose() {
    const wrong = panels.find((panel) => "hasErrors" in panel.dataset);
    const wanted = window.location.hash.slice(1) || wrong?.dataset.panel;
    const chosen = panels.find((panel) => panel.dataset.panel === wanted) || panels[0];
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
