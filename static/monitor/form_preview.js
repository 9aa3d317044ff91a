// A button that posts the unsaved form and shows the rendered response below it.

import { whileBusy } from "./actions.js";
import { find } from "./dom.js";
import { localTimes } from "./local_times.js";
import { postFormForHtml } from "./request.js";

/** @param {HTMLButtonElement} button */
export function preview(button) {
  const place = find(document, "[data-preview]", HTMLElement);
  const { form } = button;
  if (!form) return;
  button.addEventListener("click", async (event) => {
    event.preventDefault();
    await whileBusy(button, async () => {
      place.innerHTML = await postFormForHtml(button.formAction, form);
      localTimes(place);
      place.scrollIntoView({ block: "nearest", behavior: "smooth" });
    });
  });
}
