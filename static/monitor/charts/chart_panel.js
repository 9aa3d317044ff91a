// Charts of a program or a host: the history from the API, then new points over a socket.

import { text } from "../page_data.js";
import { getJson } from "../request.js";
import { openSocket, showConnection } from "../socket.js";
import { timestampText } from "./axes.js";
import { LineChart } from "./line_chart.js";
import { TimeSeries } from "./time_series.js";

const HOUR = 3600;
const RANGES = { "15m": HOUR / 4, "1h": HOUR, "24h": 24 * HOUR, "7d": 168 * HOUR, "30d": 720 * HOUR };
const DEFAULT_RANGE = "1h";
const LONGEST_HOURS = 168; // the API takes longer periods by `start` only
const LONGEST_PAUSE = 60000;
const MOST_EVENTS = 200;
const EVENTS = {
  "program.crashed": { word: text("chart.crashed"), tone: "error" },
  "program.fatal": { word: text("chart.gave_up"), tone: "error" },
  "program.restarted": { word: text("chart.restarted"), tone: "warning" },
};

const capitalized = (sentence) => sentence.charAt(0).toUpperCase() + sentence.slice(1);
const now = () => Date.now() / 1000;

// The choices are kept in the address, so that it can be bookmarked and shared.
const settings = {
  get: (name) => new URLSearchParams(window.location.search).get(name),
  set(name, value) {
    const address = new URL(window.location.href);
    if (value) address.searchParams.set(name, value);
    else address.searchParams.delete(name);
    window.history.replaceState(null, "", address);
  },
};

export function chartPanel(panel) {
  const find = (name) => panel.querySelector(`[data-charts-${name}]`);
  const all = (name) => [...panel.querySelectorAll(`[data-charts-${name}]`)];
  const groups = all("group"), connection = find("connection"), note = find("note");
  const drawings = new Map();
  let range = settings.get("range") in RANGES ? settings.get("range") : DEFAULT_RANGE;
  let show = groups.some((group) => group.dataset.chartsGroup === settings.get("show")) ? settings.get("show") : groups[0].dataset.chartsGroup;
  let withPercentile = settings.get("p95") === "1";
  let points = new TimeSeries(), events = [], socket = null, turn = 0, timer = null, isLoaded = false;

  const length = () => RANGES[range];
  const figures = () => [...groups.find((group) => group.dataset.chartsGroup === show).querySelectorAll("[data-chart]")];
  const more = () => (find("host") ? { host: find("host").value } : {});

  function question() {
    const aggregates = [panel.dataset.aggregates, ...(withPercentile ? ["p95"] : [])];
    return { metrics: figures().map((figure) => figure.dataset.chart).join(","), aggregates: aggregates.join(","), ...more() };
  }

  function drawing(figure) {
    if (!drawings.has(figure)) drawings.set(figure, new LineChart(figure, find("p95")?.textContent.trim() ?? ""));
    return drawings.get(figure);
  }

  // --- Charts and captions ------------------------------------------------------------------------------

  function draw() {
    const to = now(), from = to - length();
    points.forgetBefore(from);
    const shown = events.filter((event) => event.time >= from);
    for (const figure of figures()) {
      const one = drawing(figure);
      one.show({ points, from, to, events: shown, withPercentile });
      const caption = summary(figure, one.unit);
      figure.querySelector("[data-chart-summary]").textContent = caption;
      one.canvas.setAttribute("aria-label", `${figure.dataset.title}: ${caption || text("chart.empty")}`);
      if (isLoaded) say(figure, caption ? "" : text("chart.empty"));
    }
    if (find("events")) find("events").textContent = eventSummary(shown);
  }

  function summary(figure, unit) {
    const metrics = figure.dataset.chart.split(","), labels = (figure.dataset.labels || "").split(",");
    const parts = metrics.map((metric, index) => {
      const found = points.summary(metric);
      if (!found) return "";
      const isLabelled = metrics.length > 1;
      if (found.average === found.highest.value) {
        const value = unit.write(found.average);
        return isLabelled ? `${labels[index]} ${value}` : text("chart.constant", { value });
      }
      const values = text("chart.summary", {
        average: unit.write(found.average),
        highest: unit.write(found.highest.value),
        time: timestampText(found.highest.time, length(), points.step),
      });
      return isLabelled ? `${labels[index]}: ${values}` : values;
    });
    return capitalized(parts.filter(Boolean).join("; "));
  }

  function eventSummary(shown) {
    const counted = Object.values(EVENTS).map(({ word }) => [word, shown.filter((event) => event.word === word).length]);
    const parts = counted.filter(([, count]) => count).map(([word, count]) => `${word} ${count}`);
    return parts.length ? text("chart.events", { events: parts.join(", ") }) : "";
  }

  function say(figure, message) {
    const place = figure.querySelector("[data-chart-empty]");
    place.textContent = message;
    place.hidden = !message;
  }

  function fail(error) {
    note.querySelector("span").textContent = text("chart.failed", { error: error.message });
    note.hidden = false;
    for (const figure of figures()) say(figure, "");
  }

  // --- History, then new points -------------------------------------------------------------------------

  async function begin() {
    const mine = ++turn;
    stop();
    isLoaded = false;
    points = new TimeSeries();
    note.hidden = true;
    for (const figure of figures()) say(figure, text("chart.loading"));
    const hours = length() / HOUR, start = Math.floor(now() - length());
    const window_ = hours > LONGEST_HOURS ? { start } : { hours };
    try {
      const [found, happened] = await Promise.all([getJson(panel.dataset.history, { ...question(), ...window_ }), loadEvents(start)]);
      if (mine !== turn) return;
      points.begin({ ...found, start: 0 });
      events = happened;
      isLoaded = true;
      draw();
      follow();
    } catch (error) {
      if (mine === turn) fail(error);
    }
  }

  async function loadEvents(start) {
    if (!panel.dataset.events) return [];
    const types = Object.keys(EVENTS).join(",");
    const { items } = await getJson(panel.dataset.events, { type: types, since: start, per_page: MOST_EVENTS, fields: "type,timestamp,data" });
    return items.map(marker);
  }

  function marker({ type, timestamp, data }) {
    const reason = data.meaning || data.reason;
    return { ...EVENTS[type], time: Date.parse(timestamp) / 1000, text: EVENTS[type].word + (reason ? `: ${reason}` : "") };
  }

  // Called for each connection: after a loss it resumes from the newest point.
  function address() {
    const since = points.rows.size ? { since: points.newest } : {};
    return `${panel.dataset.socket}?${new URLSearchParams({ ...question(), hours: length() / HOUR, step: points.step, ...since })}`;
  }

  function follow() {
    if (document.hidden) return;
    socket = openSocket(address, {
      onMessage(message) {
        if (message.type === "history") points.begin(message);
        if (message.type === "points") points.add(message.series);
        draw();
      },
      onState(state) {
        showConnection(connection, state);
      },
    });
    timer = setInterval(draw, Math.min(LONGEST_PAUSE, Math.max(1000, (1000 * length()) / 500)));
  }

  function stop() {
    socket?.close();
    socket = null;
    clearInterval(timer);
  }

  // --- Choices ------------------------------------------------------------------------------------------

  function press(name, chosen) {
    for (const button of all(name)) button.setAttribute("aria-pressed", String(button.value === chosen));
  }

  function showChoice() {
    press("range", range);
    press("show", show);
    press("p95", withPercentile ? "1" : "");
    for (const group of groups) {
      group.hidden = group.dataset.chartsGroup !== show;
      if (!group.hidden && find("p95")) find("p95").hidden = !("percentiles" in group.dataset);
    }
  }

  const choose = {
    chartsRange: (value) => settings.set("range", (range = value)),
    chartsShow: (value) => settings.set("show", (show = value)),
    chartsP95: () => settings.set("p95", (withPercentile = !withPercentile) ? "1" : ""),
    chartsAgain: () => {},
  };

  panel.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    const name = button && Object.keys(choose).find((one) => one in button.dataset);
    if (!name) return;
    choose[name](button.value);
    showChoice();
    begin();
  });
  find("host")?.addEventListener("change", () => settings.set("host", find("host").value) || begin());
  panel.addEventListener("chart:said", (event) => (find("said").textContent = event.detail));

  // A hidden page holds no connection; it catches up when it is shown again.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) stop();
    else if (isLoaded && !socket) follow();
  });
  document.addEventListener("monitor:event", ({ detail }) => {
    if (!panel.dataset.events || detail.program?.id !== Number(panel.dataset.program) || !(detail.type in EVENTS)) return;
    events.push(marker(detail));
    if (isLoaded) draw();
  });
  new MutationObserver(() => drawings.forEach((one) => one.takeColours())).observe(document.documentElement, {
    attributes: true,
    attributeFilter: ["class"],
  });

  const host = settings.get("host");
  if (find("host") && [...find("host").options].some((option) => option.value === host)) find("host").value = host;
  showChoice();
  begin();
}

document.querySelectorAll("[data-charts]").forEach(chartPanel);
