// The CPU use of each program in the last hour, by minute; the status socket adds to it.

import { findAll } from "../dom.js";
import { bytes, percent } from "../format.js";
import { text } from "../page_data.js";

/** @typedef {import("../live_status.js").ProgramStatus} ProgramStatus */
/** @typedef {number | null} Value null where no data exists */
/** @typedef {{ cpu: number, memory: number }} Sample */

const MINUTES = 60;
const WIDTH = 88;
const HEIGHT = 22;
const PAD = 1.5;
const LEAST = 5; // percent at the top of the chart, so that an idle program does not seem busy
const SVG = "http://www.w3.org/2000/svg";
const INTERVAL = 10000; // milliseconds

/** @param {number[]} values */
const average = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
/** @param {Value[]} values */
const known = (values) => values.filter((value) => value !== null);
const thisMinute = () => Math.floor(Date.now() / 60000) * 60;

/**
 * An SVG path, broken where no data exists. A lone minute becomes a dot.
 *
 * @param {Value[]} values
 */
function pathOf(values) {
  const highest = Math.max(LEAST, ...known(values));
  const x = (/** @type {number} */ index) => ((index / (MINUTES - 1)) * (WIDTH - 2 * PAD) + PAD).toFixed(1);
  const y = (/** @type {number} */ value) => (HEIGHT - PAD - (value / highest) * (HEIGHT - 2 * PAD)).toFixed(1);
  const isKnown = (/** @type {number} */ index) => typeof values[index] === "number";
  const parts = values.map((value, index) => {
    if (value === null) return "";
    if (isKnown(index - 1)) return `L${x(index)} ${y(value)}`;
    return `M${x(index)} ${y(value)}${isKnown(index + 1) ? "" : "h.01"}`;
  });
  return parts.join("");
}

/** @param {HTMLElement} element */
function addPath(element) {
  const svg = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(path);
  element.append(svg);
  return path;
}

class Sparkline {
  /** @param {HTMLElement} element */
  constructor(element) {
    const { start, cpu, memory } = element.dataset;
    this.element = element;
    this.path = addPath(element);
    this.start = Number(start) || thisMinute() - 60 * (MINUTES - 1);
    /** @type {Value[]} */
    this.cpu = JSON.parse(cpu ?? "[]");
    /** @type {Value[]} */
    this.memory = JSON.parse(memory ?? "[]");
    /** @type {Sample[]} of the newest minute, from the socket */
    this.samples = [];
    /** @type {Sample | null} */
    this.latest = null;
    this.moveOn();
  }

  /** Shifts minutes out at the left. A new minute starts with the last known values of a running program. */
  moveOn() {
    const missing = Math.round((thisMinute() - this.start) / 60) + 1 - MINUTES;
    for (let count = Math.min(missing, MINUTES); count > 0; count -= 1) {
      this.samples = [];
      this.cpu.push(this.latest?.cpu ?? null);
      this.memory.push(this.latest?.memory ?? null);
    }
    if (missing > 0) this.start += 60 * missing;
    for (const line of [this.cpu, this.memory]) {
      line.splice(0, line.length - MINUTES);
      while (line.length < MINUTES) line.unshift(null);
    }
    this.draw();
  }

  /** @param {ProgramStatus} program */
  take(program) {
    const isRunning = program.state !== "unknown" && program.processes.some(({ pid }) => pid);
    this.latest = isRunning ? { cpu: program.cpu_percent, memory: program.memory_bytes } : null;
    if (!this.latest) return;
    this.samples.push(this.latest);
    this.cpu[MINUTES - 1] = average(this.samples.map(({ cpu }) => cpu));
    this.memory[MINUTES - 1] = average(this.samples.map(({ memory }) => memory));
    this.draw();
  }

  draw() {
    this.path.setAttribute("d", pathOf(this.cpu));
    this.element.title = this.description();
    this.element.setAttribute("aria-label", this.element.title);
  }

  description() {
    const cpu = known(this.cpu);
    const memory = known(this.memory);
    if (!cpu.length) return text("sparkline.empty");
    const parts = [
      text("sparkline.cpu", { average: percent(average(cpu)), highest: percent(Math.max(...cpu)) }),
      memory.length
        ? text("sparkline.memory", { average: bytes(average(memory)), highest: bytes(Math.max(...memory)) })
        : "",
    ];
    return parts.filter(Boolean).join("; ");
  }
}

/** @type {Map<number, Sparkline>} */
const sparklines = new Map();
for (const element of findAll(document, "[data-sparkline]", HTMLElement)) {
  sparklines.set(Number(element.dataset.sparkline), new Sparkline(element));
}
document.addEventListener("monitor:programs", (event) => {
  if (!(event instanceof CustomEvent)) return;
  /** @type {ProgramStatus[]} */
  const programs = event.detail;
  for (const program of programs) sparklines.get(program.id)?.take(program);
});
setInterval(() => sparklines.forEach((one) => one.moveOn()), INTERVAL);
