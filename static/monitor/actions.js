// Buttons that start, stop and so on post a plain form; with this script the page stays where it is.

import { postForm } from "./request.js";
import { toast } from "./toast.js";

export function enhanceActions(form) {
  form.addEventListener("submit", async (event) => {
    const button = event.submitter;
    if (!button) return;
    event.preventDefault();
    button.setAttribute("aria-busy", "true");
    try {
      const { message } = await postForm(button.formAction, form);
      toast(message, "success");
    } catch (error) {
      toast(error.message, "error");
    } finally {
      button.removeAttribute("aria-busy");
    }
  });
}
