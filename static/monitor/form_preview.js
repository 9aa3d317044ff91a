// A button that posts the form as it is typed and shows the answer below it; nothing is saved.

import { localTimes } from "./local_times.js";
import { text } from "./page_data.js";
import { toast } from "./toast.js";

export function preview(button) {
  const place = document.querySelector("[data-preview]");
  button.addEventListener("click", async (event) => {
    event.preventDefault();
    button.setAttribute("aria-busy", "true");
    try {
      const response = await fetch(button.formAction, {
        method: "POST",
        body: new FormData(button.form),
        headers: { "X-Requested-With": "fetch" },
        credentials: "same-origin",
      });
      if (!response.ok || response.redirected) throw new Error(`${response.status} ${response.statusText}`);
      place.innerHTML = await response.text();
      localTimes(place);
      place.scrollIntoView({ block: "nearest", behavior: "smooth" });
    } catch (error) {
      toast(text("preview.failed", { error: error.message }), "error");
    } finally {
      button.removeAttribute("aria-busy");
    }
  });
}
