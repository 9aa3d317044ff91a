// Ticks of the axes at round values, and their labels.

import { bytes, percent } from "../format.js";

const MINUTE = 60, HOUR = 3600, DAY = 86400;
const TIME_STEPS = [MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR,
  12 * HOUR, DAY, 2 * DAY, 5 * DAY, 10 * DAY, 15 * DAY];
const DECIMAL = [1, 2, 5, 10];
const BINARY = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];
const VALUE_TICKS = 4;

const trimmed = (value) => String(Number(value.toFixed(2)));

export const UNITS = {
  percent: { write: percent, tick: (value) => `${trimmed(value)} %`, least: 1 },
  bytes: { write: bytes, tick: bytes, binary: true, least: 1024 },
  rate: { write: (value) => `${bytes(value)}/s`, tick: (value) => `${bytes(value)}/s`, binary: true, least: 1024 },
  count: { write: (value) => trimmed(value), tick: trimmed, least: 4 },
};

// The end of the value axis and the step between its grid lines.
export function valueScale(highest, unit) {
  const wanted = Math.max(highest, unit.least) / VALUE_TICKS;
  const base = unit.binary ? 1024 : 10;
  const power = base ** Math.floor(Math.log(wanted) / Math.log(base));
  const step = power * (unit.binary ? BINARY : DECIMAL).find((factor) => factor * power >= wanted);
  return { step, max: step * Math.ceil(Math.max(highest, unit.least) / step) };
}

// Times that are round in the reader's time zone, in Unix seconds.
export function timeTicks(from, to, most) {
  const step = TIME_STEPS.find((one) => (to - from) / one <= most) || 30 * DAY;
  const offset = new Date(from * 1000).getTimezoneOffset() * MINUTE;
  const found = [];
  for (let time = Math.ceil((from - offset) / step) * step + offset; time <= to; time += step) found.push(time);
  return found;
}

const clock = (date) => date.toTimeString().slice(0, 5);
const day = (date) => date.toLocaleDateString(document.documentElement.lang, { day: "numeric", month: "short" });

export function tickText(time, range) {
  const date = new Date(time * 1000);
  if (range <= DAY && clock(date) !== "00:00") return clock(date);
  return range > 2 * DAY || clock(date) === "00:00" ? day(date) : clock(date);
}

// With the day if `range` is longer than half a day, with seconds if `step` is below a minute. All in seconds.
export function timestampText(time, range, step = MINUTE) {
  const date = new Date(time * 1000);
  const text = step < MINUTE ? date.toTimeString().slice(0, 8) : clock(date);
  return range > DAY / 2 ? `${day(date)} ${text}` : text;
}
