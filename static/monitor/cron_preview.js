// Shows below a cron expression when it comes next. The server computes that, since its clock counts.

import { findAll } from "./dom.js";
import { getJson, messageOf } from "./request.js";

const DELAY = 300; // milliseconds after the last key

function noteElement() {
  const note = document.createElement("p");
  note.className = "cron-note";
  note.setAttribute("role", "status");
  return note;
}

/**
 * @param {string} address
 * @param {string} cron
 * @returns {Promise<{ text: string, wrong?: boolean }>}
 */
async function upcoming(address, cron) {
  if (!cron) return { text: "" };
  try {
    return await getJson(address, { cron });
  } catch (error) {
    return { text: messageOf(error), wrong: true };
  }
}

/** @param {HTMLInputElement} input */
function cronPreview(input) {
  const note = noteElement();
  input.after(note);
  let timer = 0;
  let latest = 0;

  async function ask() {
    const number = ++latest;
    const { text, wrong } = await upcoming(input.dataset.cron ?? "", input.value.trim());
    if (number !== latest) return; // a slow response must not replace a newer one
    note.textContent = text;
    note.classList.toggle("cron-wrong", Boolean(wrong));
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, DELAY);
  });
  ask();
}

findAll(document, "[data-cron]", HTMLInputElement).forEach(cronPreview);
