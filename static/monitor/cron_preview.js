// Shows below a cron expression when it comes next. The server computes that, since its clock counts.

import { getJson } from "./request.js";

const DELAY = 300; // milliseconds after the last key

function show(note, message, isWrong) {
  note.textContent = message;
  note.classList.toggle("cron-wrong", isWrong);
}

for (const input of document.querySelectorAll("[data-cron]")) {
  const note = document.createElement("p");
  note.className = "cron-note";
  note.setAttribute("role", "status");
  input.after(note);
  let timer = null, latest = 0;

  async function ask() {
    const number = ++latest; // a slow answer must not replace a newer one
    const cron = input.value.trim();
    if (!cron) return show(note, "", false);
    try {
      const { text, wrong } = await getJson(input.dataset.cron, { cron });
      if (number === latest) show(note, text, Boolean(wrong));
    } catch (error) {
      if (number === latest) show(note, error.message, true);
    }
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, DELAY);
  });
  ask();
}
