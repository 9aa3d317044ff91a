// Reloads the progress of a delivery until its outcome is known.

import { find, whenPresent } from "./dom.js";
import { localTimes } from "./local_times.js";
import { getHtml } from "./request.js";
import { toastError } from "./toast.js";

const INTERVAL = 400; // milliseconds
const LONGEST = 40000; // the slowest endpoint may take 30 s for an attempt

/** @param {number} milliseconds */
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/**
 * @param {HTMLElement} place
 * @param {string} address
 */
async function reload(place, address) {
  const html = await getHtml(address);
  if (place.dataset.shown !== html) {
    place.dataset.shown = html;
    place.innerHTML = html;
    localTimes(place);
  }
  return find(place, ".delivery-progress", HTMLElement).dataset.state;
}

/**
 * @param {HTMLElement} place
 * @param {string} address
 */
export async function followDelivery(place, address) {
  const end = Date.now() + LONGEST;
  let state = await reload(place, address);
  while (state === "pending" && Date.now() < end) {
    await pause(INTERVAL);
    state = await reload(place, address);
  }
}

whenPresent("[data-progress]", HTMLElement, (place) => {
  const isPending = place.querySelector('[data-state="pending"]') !== null;
  if (isPending) followDelivery(place, place.dataset.progress ?? "").catch(toastError);
});
