// Buttons that copy a field. Where the browser does not allow it, the text is at least selected.

import { find, findAll } from "./dom.js";

for (const button of findAll(document, "[data-copy]", HTMLButtonElement)) {
  const field = find(document, `#${button.dataset.copy}`, HTMLInputElement);
  button.addEventListener("click", async () => {
    field.select();
    try {
      await navigator.clipboard.writeText(field.value);
      button.textContent = button.dataset.copied ?? "";
    } catch {
      field.focus();
    }
  });
}
