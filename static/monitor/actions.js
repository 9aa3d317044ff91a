// Buttons that start, stop and so on post a plain form; with this script the page stays where it is.

import { postForm } from "./request.js";
import { toast, toastError } from "./toast.js";

/** @param {HTMLFormElement} form */
export function enhanceActions(form) {
  form.addEventListener("submit", async (event) => {
    const button = event.submitter;
    if (!(button instanceof HTMLButtonElement)) return;
    event.preventDefault();
    await whileBusy(button, async () => {
      const { message } = await postForm(button.formAction, form);
      toast(message, "success");
    });
  });
}

/**
 * Marks the button as busy while the work runs, and shows its error if it fails.
 *
 * @param {HTMLButtonElement} button
 * @param {() => Promise<void>} work
 */
export async function whileBusy(button, work) {
  button.setAttribute("aria-busy", "true");
  try {
    await work();
  } catch (error) {
    toastError(error);
  } finally {
    button.removeAttribute("aria-busy");
  }
}
