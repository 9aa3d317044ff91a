// Ticks of the axes at round values, and their labels.

import { bytes, percent } from "../format.js";

/**
 * @typedef {object} Unit
 * @property {(value: number) => string} write
 * @property {(value: number) => string} tick
 * @property {number} least the smallest end of the axis
 * @property {boolean} [isBinary] steps are powers of two
 */

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const TIME_STEPS = [
  ...[1, 2, 5, 10, 15, 30].map((count) => count * MINUTE),
  ...[1, 2, 3, 6, 12].map((count) => count * HOUR),
  ...[1, 2, 5, 10, 15].map((count) => count * DAY),
];
const DECIMAL = [1, 2, 5, 10];
const BINARY = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];
const VALUE_TICKS = 4;

/** @param {number} value */
const trimmed = (value) => String(Number(value.toFixed(2)));
/** @param {number} value */
const rate = (value) => `${bytes(value)}/s`;

/** @type {Record<string, Unit>} */
export const UNITS = {
  percent: { write: percent, tick: (value) => `${trimmed(value)} %`, least: 1 },
  bytes: { write: bytes, tick: bytes, isBinary: true, least: 1024 },
  rate: { write: rate, tick: rate, isBinary: true, least: 1024 },
  count: { write: trimmed, tick: trimmed, least: 4 },
};

/**
 * The end of the value axis and the step between its grid lines.
 *
 * @param {number} highest
 * @param {Unit} unit
 */
export function valueScale(highest, unit) {
  const end = Math.max(highest, unit.least);
  const base = unit.isBinary ? 1024 : 10;
  const factors = unit.isBinary ? BINARY : DECIMAL;
  const power = base ** Math.floor(Math.log(end / VALUE_TICKS) / Math.log(base));
  const factor = factors.find((one) => one * power >= end / VALUE_TICKS) ?? base;
  const step = factor * power;
  return { step, max: step * Math.ceil(end / step) };
}

/**
 * Times that are round in the reader's time zone, in Unix seconds.
 *
 * @param {number} from
 * @param {number} to
 * @param {number} most
 */
export function timeTicks(from, to, most) {
  const step = TIME_STEPS.find((one) => (to - from) / one <= most) ?? 30 * DAY;
  const offset = new Date(from * 1000).getTimezoneOffset() * MINUTE;
  const found = [];
  for (let time = Math.ceil((from - offset) / step) * step + offset; time <= to; time += step) found.push(time);
  return found;
}

/** @param {Date} date */
const clock = (date) => date.toTimeString().slice(0, 5);

/** @param {Date} date */
function day(date) {
  return date.toLocaleDateString(document.documentElement.lang, { day: "numeric", month: "short" });
}

/**
 * @param {number} time Unix seconds
 * @param {number} range seconds that the axis spans
 */
export function tickText(time, range) {
  const date = new Date(time * 1000);
  const isMidnight = clock(date) === "00:00";
  return range > 2 * DAY || isMidnight ? day(date) : clock(date);
}

/**
 * With the day if the range is longer than half a day, with seconds if the step is below a minute.
 *
 * @param {number} time Unix seconds
 * @param {number} range seconds that the axis spans
 * @param {number} step seconds between two points
 */
export function timestampText(time, range, step) {
  const date = new Date(time * 1000);
  const written = step < MINUTE ? date.toTimeString().slice(0, 8) : clock(date);
  return range > DAY / 2 ? `${day(date)} ${written}` : written;
}
