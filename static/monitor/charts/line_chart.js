// One chart, drawn by Chart.js, which Unfold loads on every page of the admin.

import { find } from "../dom.js";
import { text } from "../page_data.js";
import { tickText, timestampText, timeTicks, UNITS, valueScale } from "./axes.js";
import { key, TimeSeries } from "./time_series.js";

/** @typedef {import("chart.js").Chart<"line", Point[]>} Chart */
/** @typedef {import("chart.js").TooltipItem<"line">} TooltipItem */
/** @typedef {import("./chart_events.js").Marker} Marker */
/** @typedef {{ x: number, y: number | null }} Point */

/**
 * What Chart.js keeps of a line, and what this module adds to it.
 *
 * @typedef {object} OwnLine
 * @property {string} metric
 * @property {string} name key of its values; empty for the main aggregate of the metric
 * @property {string} [fallback] key of the values where `name` has none
 * @property {string} [ink] custom property with the colour of the line
 * @property {string} [paper] custom property with the colour of the area below it
 * @property {boolean} [isLine] appears in the tooltip
 * @property {boolean} [isAverage]
 * @property {boolean} [isPercentile]
 */
/** @typedef {import("chart.js").ChartDataset<"line", Point[]> & OwnLine} Line */

/**
 * @typedef {object} Shown
 * @property {TimeSeries} points
 * @property {number} from Unix seconds
 * @property {number} to Unix seconds
 * @property {Marker[]} markers
 * @property {boolean} withPercentile
 */

const PIXELS_PER_TIME = 85;
const NEAR = 6; // pixels around an event in which the tooltip lists it
const INKS = ["--m-chart-1", "--m-chart-2", "--m-chart-3"];
/** @type {Record<string, number | null>} how far each key moves the tooltip; null hides it */
const MOVES = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity, Escape: null };

const { Chart } = /** @type {{ Chart: typeof import("chart.js").Chart }} */ (/** @type {unknown} */ (window));

/** @param {string} name */
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** @param {string} sentence */
const capitalized = (sentence) => sentence.charAt(0).toUpperCase() + sentence.slice(1);

/**
 * The caption of a chart: average and highest value of each of its metrics; empty without data.
 *
 * @param {HTMLElement} figure
 * @param {TimeSeries} points
 * @param {number} range seconds that the axis spans
 */
export function chartSummary(figure, points, range) {
  const unit = unitOf(figure);
  const labels = labelsOf(figure);
  const parts = metricsOf(figure).map((metric, index) => {
    const found = points.summary(metric);
    if (!found) return "";
    const { average, highest } = found;
    const value = unit.write(average);
    if (average === highest.value)
      return labels[index] ? `${labels[index]} ${value}` : text("chart.constant", { value });
    const time = timestampText(highest.time, range, points.step);
    const summary = text("chart.summary", { average: value, highest: unit.write(highest.value), time });
    return labels[index] ? `${labels[index]}: ${summary}` : summary;
  });
  return capitalized(parts.filter(Boolean).join("; "));
}

/** @param {HTMLElement} figure */
function metricsOf(figure) {
  return (figure.dataset.chart ?? "").split(",");
}

/** @param {HTMLElement} figure */
function labelsOf(figure) {
  return (figure.dataset.labels ?? "").split(",");
}

/** @param {HTMLElement} figure */
function unitOf(figure) {
  const unit = UNITS[figure.dataset.unit ?? ""];
  if (!unit) throw new Error(`no unit ${figure.dataset.unit}`);
  return unit;
}

/**
 * A point between two gaps has no line that would show it.
 *
 * @param {import("chart.js").ScriptableContext<"line">} context
 */
function radius({ dataIndex, dataset }) {
  const value = (/** @type {number} */ index) => /** @type {Point | undefined} */ (dataset.data[index])?.y ?? null;
  const isAlone = value(dataIndex - 1) === null && value(dataIndex + 1) === null;
  return value(dataIndex) !== null && isAlone ? 2 : 0;
}

/**
 * @param {string} metric
 * @param {string} name
 * @param {Partial<Line>} more
 * @returns {Line}
 */
const line = (metric, name, more) => ({
  ...{ data: [], isLine: true, borderWidth: 1.75, pointRadius: radius },
  ...more,
  metric,
  name,
});

/**
 * One metric: its average in front of the band from lowest to highest. Several metrics: one line each.
 *
 * @param {string[]} metrics
 * @param {string[]} labels
 * @param {string} percentileLabel
 * @returns {Line[]}
 */
function lines(metrics, labels, percentileLabel) {
  const [metric = "", ...others] = metrics;
  if (others.length) {
    return metrics.map((one, index) => line(one, "", { label: labels[index] ?? "", ink: INKS[index] ?? "" }));
  }
  const edge = { isLine: false, borderWidth: 0, pointRadius: 0 };
  return [
    line(metric, "", { label: text("chart.average"), ink: "--m-chart-1", isAverage: true, order: 1 }),
    line(metric, key(metric, "p95"), {
      ...{ label: percentileLabel, ink: "--m-chart-2", borderDash: [4, 3], isPercentile: true, order: 2 },
    }),
    line(metric, key(metric, "min"), { ...edge, fallback: key(metric, "avg"), order: 4 }),
    line(metric, key(metric, "max"), { ...edge, paper: "--m-chart-band", fill: "-1", order: 3 }),
  ];
}

/**
 * A dashed line with a triangle at its foot.
 *
 * @param {Chart} chart
 * @param {number} x pixels
 * @param {string} ink
 */
function drawMarker({ ctx, chartArea }, x, ink) {
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = ink;
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

export class LineChart {
  /**
   * @param {HTMLElement} figure
   * @param {string} percentileLabel
   */
  constructor(figure, percentileLabel) {
    const metrics = metricsOf(figure);
    this.unit = unitOf(figure);
    this.hasLegend = metrics.length > 1;
    this.canvas = find(figure, "canvas", HTMLCanvasElement);
    /** @type {Shown} */
    this.shown = { points: new TimeSeries(), from: 0, to: 1, markers: [], withPercentile: false };
    this.lines = lines(metrics, labelsOf(figure), percentileLabel);
    /** @type {Chart} */
    this.chart = new Chart(this.canvas, {
      type: "line",
      data: { datasets: this.lines },
      options: this.options(),
      plugins: [{ id: "markers", afterDatasetsDraw: () => this.drawMarkers() }],
    });
    this.takeColours();
    this.canvas.addEventListener("keydown", (event) => this.onKey(event));
    this.canvas.addEventListener("blur", () => this.hideTooltip());
  }

  /** @returns {import("chart.js").ChartOptions<"line">} */
  options() {
    return {
      animation: false,
      parsing: false,
      normalized: true,
      responsive: true,
      maintainAspectRatio: false,
      interaction: { mode: "index", axis: "x", intersect: false },
      scales: { x: this.timeAxis(), y: this.valueAxis() },
      plugins: { legend: this.legend(), tooltip: this.tooltip() },
    };
  }

  /** @returns {import("chart.js").ScaleOptionsByType<"linear"> | object} */
  timeAxis() {
    return {
      type: "linear",
      grid: { display: false },
      afterBuildTicks: (/** @type {import("chart.js").Scale} */ scale) => {
        const most = Math.max(2, Math.floor(scale.width / PIXELS_PER_TIME));
        scale.ticks = timeTicks(scale.min, scale.max, most).map((value) => ({ value }));
      },
      ticks: {
        maxRotation: 0,
        autoSkip: false,
        callback: (/** @type {number} */ value) => tickText(value, this.range),
      },
    };
  }

  valueAxis() {
    return {
      min: 0,
      border: { display: false },
      ticks: { callback: (/** @type {number | string} */ value) => this.unit.tick(Number(value)) },
    };
  }

  legend() {
    return {
      display: this.hasLegend,
      align: /** @type {const} */ ("start"),
      labels: { boxWidth: 14, boxHeight: 2, padding: 12 },
    };
  }

  tooltip() {
    return {
      displayColors: this.hasLegend,
      filter: (/** @type {TooltipItem} */ item) => Boolean(this.lineOf(item).isLine) && item.parsed.y !== null,
      callbacks: {
        title: (/** @type {TooltipItem[]} */ items) => this.periodText(items),
        label: (/** @type {TooltipItem} */ item) => `${item.dataset.label} ${this.unit.write(item.parsed.y)}`,
        afterLabel: (/** @type {TooltipItem} */ item) => this.spreadText(item),
        footer: (/** @type {TooltipItem[]} */ items) => this.eventTexts(items),
      },
    };
  }

  /** Seconds that the axis spans. */
  get range() {
    return this.shown.to - this.shown.from;
  }

  // --- Tooltip --------------------------------------------------------------------------------------------

  /** @param {TooltipItem} item */
  lineOf(item) {
    return /** @type {Line} */ (this.lines[item.datasetIndex]);
  }

  /** @param {TooltipItem[]} items */
  periodText([item]) {
    if (!item) return "";
    const { step } = this.shown.points;
    const start = timestampText(item.parsed.x, this.range, step);
    if (step < 60) return start;
    const end = timestampText(item.parsed.x + step, this.range, step).slice(-5);
    return text("chart.interval", { start, end });
  }

  /** @param {TooltipItem} item */
  spreadText(item) {
    const { metric, isAverage } = this.lineOf(item);
    const { points } = this.shown;
    const low = points.value(item.parsed.x, key(metric, "min"));
    const high = points.value(item.parsed.x, key(metric, "max"));
    if (!isAverage || high === null) return "";
    if (low === null) return text("chart.highest", { high: this.unit.write(high) });
    return text("chart.spread", { low: this.unit.write(low), high: this.unit.write(high) });
  }

  /** @param {TooltipItem[]} items */
  eventTexts([item]) {
    if (!item) return [];
    const { points, markers } = this.shown;
    const secondsPerPixel = this.range / Math.max(1, this.chart.chartArea.width);
    const reach = Math.max(points.step / 2, NEAR * secondsPerPixel);
    const middle = item.parsed.x + points.step / 2;
    const near = markers.filter((marker) => Math.abs(marker.time - middle) <= reach);
    return near.map(({ time, description }) => `${timestampText(time, this.range, 1)} ${description}`);
  }

  // --- Drawing --------------------------------------------------------------------------------------------

  /** @param {Shown} shown */
  show(shown) {
    this.shown = shown;
    const { points, from, to } = shown;
    const times = points.times();
    for (const one of this.lines) {
      const name = one.name || points.mainAggregate(one.metric);
      one.data = times.map((x) => ({ x, y: points.value(x, name) ?? points.value(x, one.fallback ?? "") }));
      one.hidden = Boolean(one.isPercentile) && !shown.withPercentile;
    }
    const { step, max } = valueScale(this.highest(), this.unit);
    Object.assign(this.chart.options.scales?.x ?? {}, { min: from, max: to });
    Object.assign(this.chart.options.scales?.y ?? {}, { max });
    Object.assign(this.chart.options.scales?.y?.ticks ?? {}, { stepSize: step });
    this.chart.update("none");
  }

  highest() {
    const { from, points } = this.shown;
    const visible = this.lines.filter((one) => !one.hidden).flatMap((one) => one.data);
    const values = visible.filter(({ x }) => x + points.step >= from).map(({ y }) => y ?? 0);
    return values.reduce((one, other) => Math.max(one, other), 0);
  }

  drawMarkers() {
    for (const { time, tone } of this.shown.markers) {
      const x = this.chart.scales.x?.getPixelForValue(time) ?? -1;
      const { left, right } = this.chart.chartArea;
      if (x >= left && x <= right) drawMarker(this.chart, x, colour(`--m-chart-${tone}`));
    }
  }

  takeColours() {
    const { scales, plugins } = this.chart.options;
    const ink = colour("--m-chart-ink");
    for (const one of this.lines) {
      const own = one.ink ? colour(one.ink) : "transparent";
      one.backgroundColor = one.paper ? colour(one.paper) : own;
      one.borderColor = one.pointBackgroundColor = one.pointBorderColor = own;
      one.pointHoverBackgroundColor = one.pointHoverBorderColor = own;
    }
    for (const scale of [scales?.x, scales?.y]) Object.assign(scale?.ticks ?? {}, { color: ink });
    Object.assign(scales?.y ?? {}, { grid: { color: colour("--m-chart-line"), tickLength: 0 } });
    Object.assign(plugins?.legend?.labels ?? {}, { color: ink });
    this.chart.update("none");
  }

  // --- By keyboard ----------------------------------------------------------------------------------------

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const move = MOVES[event.key];
    if (move === undefined) return;
    event.preventDefault();
    if (move === null) this.hideTooltip();
    else this.moveTooltip(move);
  }

  hideTooltip() {
    this.activate([]);
  }

  /** @param {number} move by how many points */
  moveTooltip(move) {
    const data = this.lines[0]?.data ?? [];
    const known = [...data.keys()].filter((index) => data[index]?.y !== null);
    const active = this.chart.tooltip?.getActiveElements()[0]?.index ?? -1;
    const at = known.indexOf(active);
    const next = at < 0 ? known.length - 1 : Math.min(known.length - 1, Math.max(0, at + move));
    const index = known[next];
    if (index === undefined) return this.hideTooltip();
    const visible = [...this.lines.keys()].filter((datasetIndex) => !this.lines[datasetIndex]?.hidden);
    this.activate(visible.map((datasetIndex) => ({ datasetIndex, index })));
  }

  /** @param {import("chart.js").ActiveDataPoint[]} elements */
  activate(elements) {
    const { tooltip } = this.chart;
    if (!tooltip) return;
    this.chart.setActiveElements(elements);
    tooltip.setActiveElements(elements, { x: 0, y: 0 });
    this.chart.update("none");
    const body = tooltip.body.flatMap((part) => [...part.lines, ...part.after]);
    const read = elements.length ? [...tooltip.title, ...body, ...tooltip.footer] : [];
    const detail = read.filter(Boolean).join(", ");
    this.canvas.dispatchEvent(new CustomEvent("chart:read", { bubbles: true, detail }));
  }
}
