// Formats numbers. programs/formatting.py does the same on the server; a browser test compares the two.

import { byteUnits, durationUnits } from "./page_data.js";

export const NO_VALUE = "—";

/** @param {number} count */
export function bytes(count) {
  let size = count;
  let unit = 0;
  while (size >= 1024 && unit < byteUnits.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${size.toFixed(unit === 0 || size >= 100 ? 0 : 1)} ${byteUnits[unit]}`;
}

/** @param {number} value */
export function percent(value) {
  return `${value.toFixed(value < 100 ? 1 : 0)} %`;
}

/**
 * The two largest units, the second left out when it is 0.
 *
 * @param {number} seconds
 */
export function duration(seconds) {
  let left = Math.max(0, Math.floor(seconds));
  const parts = durationUnits.map(([size, unit]) => {
    const count = Math.floor(left / size);
    left %= size;
    return { count, unit };
  });
  const first = parts.findIndex(({ count }) => count > 0);
  const [largest, ...second] = parts.slice(first < 0 ? -1 : first).slice(0, 2);
  const shown = [largest, ...second.filter(({ count }) => count > 0)];
  return shown.map((part) => `${part?.count}${part?.unit}`).join(" ");
}
