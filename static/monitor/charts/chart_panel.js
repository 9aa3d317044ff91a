// Charts of a program or a host: the history from the API, then new points over a socket.

import { find, findAll, findOptional } from "../dom.js";
import { text } from "../page_data.js";
import { getJson, messageOf, withQuery } from "../request.js";
import { openSocket, showConnection } from "../socket.js";
import { loadMarkers, markersOf, markerSummary } from "./chart_events.js";
import { chartSummary, LineChart } from "./line_chart.js";
import { TimeSeries } from "./time_series.js";

/** @typedef {import("./chart_events.js").Marker} Marker */

const HOUR = 3600;
/** @type {Record<string, number>} seconds */
const RANGES = { "15m": HOUR / 4, "1h": HOUR, "24h": 24 * HOUR, "7d": 168 * HOUR, "30d": 720 * HOUR };
const DEFAULT_RANGE = "1h";
const LONGEST_HOURS = 168; // the API takes longer periods by `start` only
const LONGEST_PAUSE = 60000; // milliseconds between two redraws
const REDRAWS_PER_RANGE = 500; // about one for each pixel that the chart moves on

const now = () => Date.now() / 1000;

/** The choices are kept in the address, so that it can be bookmarked and shared. */
const settings = {
  /** @param {string} name */
  get: (name) => new URLSearchParams(window.location.search).get(name) ?? "",
  /**
   * @param {string} name
   * @param {string} value empty to remove it
   */
  set(name, value) {
    const address = new URL(window.location.href);
    if (value) address.searchParams.set(name, value);
    else address.searchParams.delete(name);
    window.history.replaceState(null, "", address);
  },
};

class ChartPanel {
  /** @param {HTMLElement} panel */
  constructor(panel) {
    this.panel = panel;
    this.groups = findAll(panel, "[data-charts-group]", HTMLElement);
    this.connection = find(panel, "[data-charts-connection]", HTMLElement);
    this.note = find(panel, "[data-charts-note]", HTMLElement);
    this.eventNote = findOptional(panel, "[data-charts-events]", HTMLElement);
    this.host = findOptional(panel, "[data-charts-host]", HTMLSelectElement);
    this.percentileButton = findOptional(panel, "[data-charts-p95]", HTMLButtonElement);
    this.eventsAddress = panel.dataset.events ?? "";
    /** @type {Map<HTMLElement, LineChart>} */
    this.charts = new Map();
    this.points = new TimeSeries();
    /** @type {Marker[]} */
    this.markers = [];
    /** @type {import("../socket.js").Connection | null} */
    this.socket = null;
    this.timer = 0;
    this.range = DEFAULT_RANGE;
    this.show = "";
    this.withPercentile = false;
    this.turn = 0; // counts loads: the response to an older one is dropped
    this.isLoaded = false;
    this.restoreChoices();
    this.listen();
    this.showChoices();
    this.load();
  }

  // --- Choices --------------------------------------------------------------------------------------------

  restoreChoices() {
    const range = settings.get("range");
    this.range = range in RANGES ? range : DEFAULT_RANGE;
    const names = this.groups.map((group) => group.dataset.chartsGroup ?? "");
    this.show = names.find((name) => name === settings.get("show")) ?? names[0] ?? "";
    this.withPercentile = settings.get("p95") === "1";
    if (!this.host) return;
    const known = [...this.host.options].map((option) => option.value);
    if (known.includes(settings.get("host"))) this.host.value = settings.get("host");
  }

  /** @param {HTMLButtonElement} button */
  choose(button) {
    if ("chartsRange" in button.dataset) settings.set("range", (this.range = button.value));
    else if ("chartsShow" in button.dataset) settings.set("show", (this.show = button.value));
    else if ("chartsP95" in button.dataset) {
      this.withPercentile = !this.withPercentile;
      settings.set("p95", this.withPercentile ? "1" : "");
    } else if (!("chartsAgain" in button.dataset)) return;
    this.showChoices();
    this.load();
  }

  showChoices() {
    this.press("[data-charts-range]", this.range);
    this.press("[data-charts-show]", this.show);
    this.press("[data-charts-p95]", this.withPercentile ? "1" : "");
    for (const group of this.groups) group.hidden = group.dataset.chartsGroup !== this.show;
    if (this.percentileButton) this.percentileButton.hidden = !("percentiles" in this.group().dataset);
  }

  /**
   * @param {string} selector
   * @param {string} chosen
   */
  press(selector, chosen) {
    for (const button of findAll(this.panel, selector, HTMLButtonElement)) {
      button.setAttribute("aria-pressed", String(button.value === chosen));
    }
  }

  get seconds() {
    return RANGES[this.range] ?? HOUR;
  }

  group() {
    return find(this.panel, `[data-charts-group="${this.show}"]`, HTMLElement);
  }

  figures() {
    return findAll(this.group(), "[data-chart]", HTMLElement);
  }

  parameters() {
    const aggregates = [this.panel.dataset.aggregates, ...(this.withPercentile ? ["p95"] : [])];
    return {
      metrics: this.figures()
        .map((figure) => figure.dataset.chart)
        .join(","),
      aggregates: aggregates.join(","),
      ...(this.host ? { host: this.host.value } : {}),
    };
  }

  // --- Charts and captions --------------------------------------------------------------------------------

  /** @param {HTMLElement} figure */
  chart(figure) {
    const percentile = this.percentileButton?.textContent?.trim() ?? "";
    const chart = this.charts.get(figure) ?? new LineChart(figure, percentile);
    this.charts.set(figure, chart);
    return chart;
  }

  draw() {
    const to = now();
    const from = to - this.seconds;
    const { points, withPercentile } = this;
    points.forgetBefore(from);
    const markers = this.markers.filter((marker) => marker.time >= from);
    for (const figure of this.figures()) {
      const chart = this.chart(figure);
      chart.show({ points, from, to, markers, withPercentile });
      const caption = chartSummary(figure, points, this.seconds);
      find(figure, "[data-chart-summary]", HTMLElement).textContent = caption;
      chart.canvas.setAttribute("aria-label", `${figure.dataset.title}: ${caption || text("chart.empty")}`);
      if (this.isLoaded) this.showInside(figure, caption ? "" : text("chart.empty"));
    }
    if (this.eventNote) this.eventNote.textContent = markerSummary(markers);
  }

  /**
   * @param {HTMLElement} figure
   * @param {string} message
   */
  showInside(figure, message) {
    const place = find(figure, "[data-chart-empty]", HTMLElement);
    place.textContent = message;
    place.hidden = !message;
  }

  /** @param {unknown} error */
  fail(error) {
    find(this.note, "span", HTMLElement).textContent = text("chart.failed", { error: messageOf(error) });
    this.note.hidden = false;
    for (const figure of this.figures()) this.showInside(figure, "");
  }

  // --- History, then new points ---------------------------------------------------------------------------

  async load() {
    const turn = ++this.turn;
    this.stop();
    this.isLoaded = false;
    this.points = new TimeSeries();
    this.note.hidden = true;
    for (const figure of this.figures()) this.showInside(figure, text("chart.loading"));
    try {
      const start = Math.floor(now() - this.seconds);
      const [history, markers] = await Promise.all([this.history(start), this.pastMarkers(start)]);
      if (turn !== this.turn) return;
      this.points.begin({ ...history, start: 0 });
      this.markers = markers;
      this.isLoaded = true;
      this.draw();
      this.follow();
    } catch (error) {
      if (turn === this.turn) this.fail(error);
    }
  }

  /** @param {number} start */
  history(start) {
    const hours = this.seconds / HOUR;
    const period = hours > LONGEST_HOURS ? { start } : { hours };
    return getJson(this.panel.dataset.history ?? "", { ...this.parameters(), ...period });
  }

  /** @param {number} start */
  async pastMarkers(start) {
    return this.eventsAddress ? loadMarkers(this.eventsAddress, start) : [];
  }

  /** Called for each connection: after a loss it resumes from the newest point. */
  socketAddress() {
    return withQuery(this.panel.dataset.socket ?? "", {
      ...this.parameters(),
      hours: this.seconds / HOUR,
      step: this.points.step,
      ...(this.points.rows.size ? { since: this.points.newest } : {}),
    });
  }

  follow() {
    if (document.hidden) return;
    this.socket = openSocket(() => this.socketAddress(), {
      onMessage: (message) => {
        if (message.type === "history") this.points.begin(message);
        if (message.type === "points") this.points.add(message.series);
        this.draw();
      },
      onState: (state) => showConnection(this.connection, state),
    });
    const pause = (1000 * this.seconds) / REDRAWS_PER_RANGE;
    this.timer = setInterval(() => this.draw(), Math.min(LONGEST_PAUSE, Math.max(1000, pause)));
  }

  stop() {
    this.socket?.close();
    this.socket = null;
    clearInterval(this.timer);
  }

  // --- Events of the page ---------------------------------------------------------------------------------

  listen() {
    this.panel.addEventListener("click", (event) => {
      const button = event.target instanceof Element ? event.target.closest("button") : null;
      if (button) this.choose(button);
    });
    this.host?.addEventListener("change", () => {
      settings.set("host", this.host?.value ?? "");
      this.load();
    });
    this.panel.addEventListener("chart:read", (event) => {
      if (event instanceof CustomEvent)
        find(this.panel, "[data-charts-said]", HTMLElement).textContent = event.detail;
    });
    document.addEventListener("visibilitychange", () => this.onVisibility());
    document.addEventListener("monitor:event", (event) => {
      if (event instanceof CustomEvent) this.onEvent(event.detail);
    });
    new MutationObserver(() => this.charts.forEach((chart) => chart.takeColours())).observe(
      document.documentElement,
      { attributes: true, attributeFilter: ["class"] },
    );
  }

  /** A hidden page holds no connection; it catches up when it is shown again. */
  onVisibility() {
    if (document.hidden) this.stop();
    else if (this.isLoaded && !this.socket) this.follow();
  }

  /** @param {import("../live_status.js").ProgramEvent} event */
  onEvent(event) {
    if (!this.eventsAddress || event.program?.id !== Number(this.panel.dataset.program)) return;
    this.markers.push(...markersOf(event));
    if (this.isLoaded) this.draw();
  }
}

for (const panel of findAll(document, "[data-charts]", HTMLElement)) new ChartPanel(panel);
