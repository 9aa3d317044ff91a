// Buttons that start, stop and so on post a plain form; with this script the page stays where it is.

import { toast } from "./toast.js";

export async function post(address, data) {
  const response = await fetch(address, {
    method: "POST",
    body: data,
    headers: { Accept: "application/json" },
    credentials: "same-origin",
  });
  const isJson = (response.headers.get("Content-Type") || "").includes("json");
  const answer = isJson ? await response.json() : {};
  return { ok: response.ok, answer, text: answer.message || answer.detail || `${response.status} ${response.statusText}` };
}

export function enhanceActions(form) {
  form.addEventListener("submit", async (event) => {
    const button = event.submitter;
    if (!button) return;
    event.preventDefault();
    const data = new FormData(form);
    button.setAttribute("aria-busy", "true");
    try {
      const { ok, text } = await post(button.formAction, data);
      toast(text, ok ? "success" : "error");
    } catch (error) {
      toast(`The monitor does not answer: ${error.message}`, "error");
    } finally {
      button.removeAttribute("aria-busy");
    }
  });
}
