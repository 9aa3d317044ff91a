// The CPU use of each program in the last hour, by minute; the status socket adds to it.

import { bytes, percent } from "../format.js";
import { text } from "../page_data.js";

const MINUTES = 60, WIDTH = 88, HEIGHT = 22, PAD = 1.5;
const LEAST = 5; // percent, so that an idle program does not look busy
const SVG = "http://www.w3.org/2000/svg";

const isKnown = (value) => value !== null && value !== undefined;
const average = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const thisMinute = () => Math.floor(Date.now() / 60000) * 60;

// An SVG path, broken where no data exists. A lone minute becomes a dot.
function pathOf(values) {
  const highest = Math.max(LEAST, ...values.filter(isKnown));
  const x = (index) => ((index / (MINUTES - 1)) * (WIDTH - 2 * PAD) + PAD).toFixed(1);
  const y = (value) => (HEIGHT - PAD - (value / highest) * (HEIGHT - 2 * PAD)).toFixed(1);
  return values.map((value, index) => {
    if (!isKnown(value)) return "";
    if (isKnown(values[index - 1])) return `L${x(index)} ${y(value)}`;
    return `M${x(index)} ${y(value)}${isKnown(values[index + 1]) ? "" : "h.01"}`;
  }).join("");
}

function picture() {
  const svg = document.createElementNS(SVG, "svg"), path = document.createElementNS(SVG, "path");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(path);
  return svg;
}

class Sparkline {
  constructor(element) {
    this.element = element;
    this.path = element.appendChild(picture()).firstChild;
    const { start, cpu, memory } = element.dataset;
    this.start = Number(start) || thisMinute() - 60 * (MINUTES - 1);
    this.lines = { cpu: JSON.parse(cpu), memory: JSON.parse(memory) };
    this.samples = []; // of the newest minute, from the socket
    this.latest = null;
    this.moveOn();
  }

  // Shifts minutes out at the left. A new minute starts with the last known values of a running program.
  moveOn() {
    const missing = Math.round((thisMinute() - this.start) / 60) + 1 - MINUTES;
    for (let count = Math.min(missing, MINUTES); count > 0; count -= 1) {
      this.samples = [];
      for (const [name, line] of Object.entries(this.lines)) {
        line.push(this.latest?.[name] ?? null);
        if (line.length > MINUTES) line.shift();
      }
    }
    if (missing > 0) this.start += 60 * missing;
    for (const line of Object.values(this.lines)) while (line.length < MINUTES) line.unshift(null);
    this.draw();
  }

  take(program) {
    const isRunning = program.state !== "unknown" && program.processes.some(({ pid }) => pid);
    this.latest = isRunning ? { cpu: program.cpu_percent, memory: program.memory_bytes } : null;
    if (!isRunning) return;
    this.samples.push(this.latest);
    for (const [name, line] of Object.entries(this.lines)) line[MINUTES - 1] = average(this.samples.map((one) => one[name]));
    this.draw();
  }

  draw() {
    this.path.setAttribute("d", pathOf(this.lines.cpu));
    this.element.title = this.words();
    this.element.setAttribute("aria-label", this.element.title);
  }

  words() {
    const [cpu, memory] = [this.lines.cpu, this.lines.memory].map((line) => line.filter(isKnown));
    if (!cpu.length) return text("sparkline.empty");
    const written = (line, write) => ({ average: write(average(line)), highest: write(Math.max(...line)) });
    const parts = [text("sparkline.cpu", written(cpu, percent))];
    if (memory.length) parts.push(text("sparkline.memory", written(memory, bytes)));
    return parts.join("; ");
  }
}

const sparklines = new Map();
for (const element of document.querySelectorAll("[data-sparkline]")) {
  sparklines.set(Number(element.dataset.sparkline), new Sparkline(element));
}
document.addEventListener("monitor:programs", ({ detail }) => {
  for (const program of detail) sparklines.get(program.id)?.take(program);
});
setInterval(() => sparklines.forEach((one) => one.moveOn()), 10000);
