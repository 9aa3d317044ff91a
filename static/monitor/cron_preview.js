// Says beside a cron expression when it comes next. The server works that out: it is its clock that counts.

const WAIT = 300;

for (const input of document.querySelectorAll("[data-cron]")) {
  const note = document.createElement("p");
  note.className = "cron-note";
  note.setAttribute("role", "status");
  input.after(note);
  let timer = null, asked = 0;

  async function ask() {
    const number = ++asked;
    const expression = input.value.trim();
    if (!expression) {
      note.textContent = "";
      return;
    }
    const response = await fetch(`${input.dataset.cron}?${new URLSearchParams({ cron: expression })}`, { credentials: "same-origin" });
    if (!response.ok || response.redirected || number !== asked) return;
    const { text, wrong } = await response.json();
    note.textContent = text;
    note.classList.toggle("cron-wrong", Boolean(wrong));
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(ask, WAIT);
  });
  ask();
}
