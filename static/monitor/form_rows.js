// Adds, removes and moves rows of form fields; the server reads whatever rows are there.

import { find, findOptional } from "./dom.js";

/** @param {HTMLElement} rows */
function addRow(rows) {
  const index = rows.dataset.next ?? "0";
  rows.dataset.next = String(Number(index) + 1);
  const holder = document.createElement("template");
  holder.innerHTML = find(rows, "template", HTMLTemplateElement).innerHTML.replaceAll("__row__", index);
  const row = find(holder.content, "[data-row]", HTMLElement);
  find(rows, "[data-rows-list]", HTMLElement).append(row);
  findOptional(row, "input:not([type=hidden]), select, textarea", HTMLElement)?.focus();
}

/**
 * @param {HTMLElement} rows
 * @param {HTMLElement} row
 */
function removeRow(rows, row) {
  const next = row.nextElementSibling ?? row.previousElementSibling;
  row.remove();
  const button = next && findOptional(next, "[data-row-remove]", HTMLButtonElement);
  (button ?? find(rows, "[data-rows-add]", HTMLButtonElement)).focus();
}

/**
 * The server orders rows by number, so a row that moves up swaps numbers with the one above.
 *
 * @param {HTMLElement} row
 */
function moveUp(row) {
  const above = row.previousElementSibling;
  if (!above) return;
  const mine = indexOf(row);
  const theirs = indexOf(above);
  above.before(row);
  renumber(row, mine, theirs);
  renumber(above, theirs, mine);
  find(row, "[data-row-up]", HTMLButtonElement).focus();
}

/** @param {Element} row */
function indexOf(row) {
  const name = row.querySelector("[name]")?.getAttribute("name") ?? "";
  return name.match(/-(\d+)-/)?.[1] ?? "";
}

/**
 * @param {Element} row
 * @param {string} from
 * @param {string} to
 */
function renumber(row, from, to) {
  for (const element of row.querySelectorAll("[name], [id], [for]")) {
    for (const attribute of ["name", "id", "for"]) {
      const value = element.getAttribute(attribute);
      if (value) element.setAttribute(attribute, value.replace(`-${from}-`, `-${to}-`));
    }
  }
}

document.addEventListener("click", (event) => {
  const button = event.target instanceof Element ? event.target.closest("button") : null;
  const rows = button?.closest("[data-rows]");
  if (!button || !(rows instanceof HTMLElement)) return;
  if ("rowsAdd" in button.dataset) addRow(rows);
  const row = button.closest("[data-row]");
  if (!(row instanceof HTMLElement)) return;
  if ("rowRemove" in button.dataset) removeRow(rows, row);
  if ("rowUp" in button.dataset) moveUp(row);
});
