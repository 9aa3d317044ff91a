// A button that posts the unsaved form and shows the rendered answer below it.

import { localTimes } from "./local_times.js";
import { postFormForHtml } from "./request.js";
import { toast } from "./toast.js";

export function preview(button) {
  const place = document.querySelector("[data-preview]");
  button.addEventListener("click", async (event) => {
    event.preventDefault();
    button.setAttribute("aria-busy", "true");
    try {
      place.innerHTML = await postFormForHtml(button.formAction, button.form);
      localTimes(place);
      place.scrollIntoView({ block: "nearest", behavior: "smooth" });
    } catch (error) {
      toast(error.message, "error");
    } finally {
      button.removeAttribute("aria-busy");
    }
  });
}
