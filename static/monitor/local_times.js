// The server writes times in UTC; here they change to the reader's time zone. The title keeps the original.

import { findAll } from "./dom.js";

/** @param {Date} date */
function localText(date) {
  const two = (/** @type {number} */ number) => String(number).padStart(2, "0");
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join("-");
  return `${day} ${[date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":")}`;
}

/** @param {ParentNode} place */
export function localTimes(place = document) {
  for (const element of findAll(place, "time[datetime]:not([title])", HTMLTimeElement)) {
    const date = new Date(element.dateTime);
    if (Number.isNaN(date.getTime())) continue;
    element.title = date.toISOString();
    element.textContent = localText(date);
  }
}

localTimes();
