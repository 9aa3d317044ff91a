// Events that the charts of a program mark: crashes and restarts.

import { text } from "../page_data.js";
import { getJson } from "../request.js";

/** @typedef {import("../live_status.js").ProgramEvent} ProgramEvent */
/** @typedef {"error" | "warning"} Tone */
/** @typedef {{ name: string, tone: Tone, time: number, description: string }} Marker `time` in Unix seconds */

const MOST_EVENTS = 200;
/** @type {Record<string, { name: string, tone: Tone }>} */
const MARKED = {
  "program.crashed": { name: text("chart.crashed"), tone: "error" },
  "program.fatal": { name: text("chart.gave_up"), tone: "error" },
  "program.restarted": { name: text("chart.restarted"), tone: "warning" },
};

/**
 * @param {ProgramEvent} event
 * @returns {Marker[]} one, or none for a type that is not marked
 */
export function markersOf({ type, timestamp, data }) {
  const marked = MARKED[type];
  if (!marked) return [];
  const reason = data.meaning || data.reason;
  const description = reason ? `${marked.name}: ${reason}` : marked.name;
  return [{ ...marked, time: Date.parse(timestamp) / 1000, description }];
}

/**
 * @param {string} address
 * @param {number} since Unix seconds
 */
export async function loadMarkers(address, since) {
  /** @type {{ items: ProgramEvent[] }} */
  const { items } = await getJson(address, {
    type: Object.keys(MARKED).join(","),
    since,
    per_page: MOST_EVENTS,
    fields: "type,timestamp,data",
  });
  return items.flatMap(markersOf);
}

/** @param {Marker[]} markers */
export function markerSummary(markers) {
  const parts = Object.values(MARKED).map(({ name }) => {
    const count = markers.filter((marker) => marker.name === name).length;
    return count ? `${name} ${count}` : "";
  });
  const events = parts.filter(Boolean).join(", ");
  return events && text("chart.events", { events });
}
