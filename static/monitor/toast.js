// Short messages in a corner, read out by screen readers.

import { messageOf } from "./request.js";

const SHOWN_FOR = 6000; // milliseconds

function corner() {
  const existing = document.querySelector(".toasts");
  if (existing) return existing;
  const element = document.createElement("div");
  element.className = "toasts";
  element.setAttribute("role", "status");
  document.body.append(element);
  return element;
}

/**
 * @param {string} message
 * @param {"success" | "error"} level
 */
export function toast(message, level) {
  const element = document.createElement("p");
  element.className = `toast toast-${level}`;
  element.textContent = message;
  corner().append(element);
  setTimeout(() => element.remove(), SHOWN_FOR);
}

/** @param {unknown} error */
export function toastError(error) {
  toast(messageOf(error), "error");
}
