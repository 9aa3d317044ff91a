// Adds, removes and moves rows of plain form fields; the server reads whatever rows are there.

function addRow(rows) {
  const index = rows.dataset.next++;
  const holder = document.createElement("template");
  holder.innerHTML = rows.querySelector("template").innerHTML.replaceAll("__row__", index);
  const row = holder.content.firstElementChild;
  rows.querySelector("[data-rows-list]").append(row);
  row.querySelector("input:not([type=hidden]), select, textarea")?.focus();
}

function removeRow(rows, row) {
  const next = row.nextElementSibling || row.previousElementSibling;
  row.remove();
  (next?.querySelector("[data-row-remove]") || rows.querySelector("[data-rows-add]")).focus();
}

// The server orders rows by number, so moving one means trading numbers with the row above.
function moveUp(row) {
  const above = row.previousElementSibling;
  if (!above) return;
  const mine = indexOf(row), theirs = indexOf(above);
  above.before(row);
  renumber(row, mine, theirs);
  renumber(above, theirs, mine);
  row.querySelector("[data-row-up]").focus();
}

function indexOf(row) {
  return row.querySelector("[name]").name.match(/-(\d+)-/)[1];
}

function renumber(row, from, to) {
  for (const element of row.querySelectorAll("[name], [id], [for]")) {
    for (const attribute of ["name", "id", "for"]) {
      const value = element.getAttribute(attribute);
      if (value) element.setAttribute(attribute, value.replace(`-${from}-`, `-${to}-`));
    }
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-rows-add], [data-row-remove], [data-row-up]");
  if (!button) return;
  const rows = button.closest("[data-rows]"), row = button.closest("[data-row]");
  if ("rowsAdd" in button.dataset) addRow(rows);
  if ("rowRemove" in button.dataset) removeRow(rows, row);
  if ("rowUp" in button.dataset) moveUp(row);
});
