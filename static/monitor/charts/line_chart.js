// One chart, drawn by Chart.js, which Unfold loads on every page of the admin.

import { tickText, timestampText, timeTicks, UNITS, valueScale } from "./axes.js";
import { text } from "../page_data.js";
import { key } from "./time_series.js";

const PIXELS_PER_TIME = 85;
const NEAR = 6; // pixels around an event in which the tooltip lists it
const LINES = ["--m-chart-1", "--m-chart-2", "--m-chart-3"];

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// A point between two gaps has no line that would show it.
function radius({ dataIndex, dataset }) {
  const value = (index) => dataset.data[index]?.y ?? null;
  return value(dataIndex) !== null && value(dataIndex - 1) === null && value(dataIndex + 1) === null ? 2 : 0;
}

const line = (name, label, more = {}) => ({ name, label, isLine: true, borderWidth: 1.75, pointRadius: radius, ...more });

// One metric: its average in front of the band from lowest to highest. Several metrics: one line each.
function datasets(metrics, labels, percentileLabel) {
  if (metrics.length > 1) return metrics.map((metric, index) => line(null, labels[index], { metric, ink: LINES[index] }));
  const [metric] = metrics;
  return [
    line(null, text("chart.average"), { metric, ink: LINES[0], isAverage: true, order: 1 }),
    line(key(metric, "p95"), percentileLabel, { ink: LINES[1], borderDash: [4, 3], isPercentile: true, order: 2 }),
    { name: key(metric, "min"), other: key(metric, "avg"), ink: null, borderWidth: 0, pointRadius: 0, order: 4 },
    { name: key(metric, "max"), ink: null, paper: "--m-chart-band", borderWidth: 0, pointRadius: 0, fill: "-1", order: 3 },
  ];
}

const markers = {
  id: "markers",
  afterDatasetsDraw({ ctx, chartArea, scales }, _args, { events, inks }) {
    for (const event of events || []) {
      const x = scales.x.getPixelForValue(event.time);
      if (x < chartArea.left || x > chartArea.right) continue;
      ctx.save();
      ctx.strokeStyle = ctx.fillStyle = inks[event.tone];
      ctx.setLineDash([3, 3]);
      ctx.beginPath();
      ctx.moveTo(x, chartArea.top);
      ctx.lineTo(x, chartArea.bottom);
      ctx.stroke();
      ctx.beginPath();
      ctx.moveTo(x, chartArea.bottom - 7);
      ctx.lineTo(x - 5, chartArea.bottom + 1);
      ctx.lineTo(x + 5, chartArea.bottom + 1);
      ctx.fill();
      ctx.restore();
    }
  },
};

export class LineChart {
  constructor(figure, percentileLabel) {
    this.unit = UNITS[figure.dataset.unit];
    this.metrics = figure.dataset.chart.split(",");
    this.canvas = figure.querySelector("canvas");
    this.shown = { from: 0, to: 1, step: 60, points: null, events: [] };
    this.chart = new window.Chart(this.canvas, {
      type: "line",
      data: { datasets: datasets(this.metrics, (figure.dataset.labels || "").split(","), percentileLabel) },
      options: this.options(),
      plugins: [markers],
    });
    this.takeColours();
    this.canvas.addEventListener("keydown", (event) => this.onKey(event));
    this.canvas.addEventListener("blur", () => this.pointAt(null));
  }

  options() {
    return {
      animation: false,
      parsing: false,
      normalized: true,
      responsive: true,
      maintainAspectRatio: false,
      interaction: { mode: "index", axis: "x", intersect: false },
      scales: {
        x: {
          type: "linear",
          grid: { display: false },
          afterBuildTicks: (scale) => {
            const most = Math.max(2, Math.floor(scale.width / PIXELS_PER_TIME));
            scale.ticks = timeTicks(scale.min, scale.max, most).map((value) => ({ value }));
          },
          ticks: { maxRotation: 0, autoSkip: false, callback: (value) => tickText(value, this.range) },
        },
        y: { min: 0, border: { display: false }, ticks: { callback: (value) => this.unit.tick(value) } },
      },
      plugins: {
        legend: {
          display: this.metrics.length > 1,
          align: "start",
          labels: { boxWidth: 14, boxHeight: 2, padding: 12 },
        },
        tooltip: {
          displayColors: this.metrics.length > 1,
          filter: (item) => item.dataset.isLine && item.parsed.y !== null,
          callbacks: {
            title: (items) => (items.length ? this.timeText(items[0].parsed.x) : ""),
            label: (item) => `${item.dataset.label} ${this.unit.write(item.parsed.y)}`,
            afterLabel: (item) => this.spreadText(item),
            footer: (items) => (items.length ? this.eventTexts(items[0].parsed.x) : []),
          },
        },
        markers: { events: [], inks: {} },
      },
    };
  }

  get range() {
    return this.shown.to - this.shown.from;
  }

  timeText(time) {
    const { step } = this.shown;
    const start = timestampText(time, this.range, step);
    if (step < 60) return start;
    return text("chart.interval", { start, end: timestampText(time + step, this.range, step).slice(-5) });
  }

  spreadText({ dataset, parsed }) {
    if (!dataset.isAverage) return "";
    const [low, high] = ["min", "max"].map((end) => this.shown.points.value(parsed.x, key(dataset.metric, end)));
    if (high === null) return "";
    if (low === null) return text("chart.highest", { high: this.unit.write(high) });
    return text("chart.spread", { low: this.unit.write(low), high: this.unit.write(high) });
  }

  eventTexts(time) {
    const reach = Math.max(this.shown.step / 2, (NEAR * this.range) / Math.max(1, this.chart.chartArea.width));
    const middle = time + this.shown.step / 2;
    const near = this.shown.events.filter((event) => Math.abs(event.time - middle) <= reach);
    return near.map((event) => `${timestampText(event.time, this.range, 1)} ${event.text}`);
  }

  // Draws the points and events between two times, in Unix seconds.
  show({ points, from, to, events, withPercentile }) {
    this.shown = { points, from, to, events, step: points.step };
    const times = points.times();
    let highest = 0;
    for (const dataset of this.chart.data.datasets) {
      const name = dataset.name || this.middle(dataset.metric);
      dataset.data = times.map((time) => ({ x: time, y: points.value(time, name) ?? points.value(time, dataset.other) }));
      dataset.hidden = Boolean(dataset.isPercentile) && !withPercentile;
      if (!dataset.hidden) for (const { x, y } of dataset.data) if (x + points.step >= from && y > highest) highest = y;
    }
    const { step, max } = valueScale(highest, this.unit);
    const { x, y } = this.chart.options.scales;
    Object.assign(x, { min: from, max: to });
    y.max = max;
    y.ticks.stepSize = step;
    this.chart.options.plugins.markers.events = events;
    this.chart.update("none");
  }

  // Threads and open files have no average, only the highest of each step.
  middle(metric) {
    const first = this.shown.points.rows.values().next().value || {};
    return key(metric, key(metric, "avg") in first ? "avg" : "max");
  }

  takeColours() {
    const { scales, plugins } = this.chart.options;
    for (const dataset of this.chart.data.datasets) {
      dataset.borderColor = dataset.pointBackgroundColor = dataset.ink ? colour(dataset.ink) : "transparent";
      dataset.backgroundColor = dataset.paper ? colour(dataset.paper) : dataset.borderColor;
      for (const name of ["pointBorderColor", "pointHoverBackgroundColor", "pointHoverBorderColor"]) dataset[name] = dataset.borderColor;
    }
    for (const scale of [scales.x, scales.y]) scale.ticks.color = colour("--m-chart-ink");
    scales.y.grid = { color: colour("--m-chart-line"), tickLength: 0 };
    plugins.legend.labels.color = colour("--m-chart-ink");
    plugins.markers.inks = { error: colour("--m-chart-error"), warning: colour("--m-chart-warning") };
    this.chart.update("none");
  }

  // --- By keyboard ----------------------------------------------------------------------------------------

  onKey(event) {
    const move = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity, Escape: null }[event.key];
    if (move === undefined) return;
    event.preventDefault();
    this.pointAt(move);
  }

  // Moves the tooltip by so many points; null hides it.
  pointAt(move) {
    const data = this.chart.data.datasets[0].data;
    const known = data.map(({ y }, index) => (y === null ? -1 : index)).filter((index) => index >= 0);
    if (move === null || !known.length) return this.activate([]);
    const at = known.indexOf(this.chart.tooltip.getActiveElements()[0]?.index);
    const next = at < 0 ? known.length - 1 : Math.min(known.length - 1, Math.max(0, at + move));
    const index = known[next];
    return this.activate(this.chart.data.datasets.flatMap(({ hidden }, datasetIndex) => (hidden ? [] : [{ datasetIndex, index }])));
  }

  activate(elements) {
    const { tooltip } = this.chart;
    this.chart.setActiveElements(elements);
    tooltip.setActiveElements(elements, { x: 0, y: 0 });
    this.chart.update("none");
    const spoken = elements.length ? [...tooltip.title, ...tooltip.body.flatMap((part) => [...part.lines, ...part.after]), ...tooltip.footer] : [];
    this.canvas.dispatchEvent(new CustomEvent("chart:said", { bubbles: true, detail: spoken.filter(Boolean).join(", ") }));
  }
}
