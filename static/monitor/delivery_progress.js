// Renews what has come of a delivery until there is something to tell.

import { localTimes } from "./local_times.js";

const EVERY = 400;
const LONGEST = 40000; // the slowest endpoint may take 30 s for a try

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function renewed(place, address) {
  const response = await fetch(address, { credentials: "same-origin" });
  if (!response.ok || response.redirected) throw new Error(`${response.status} ${response.statusText}`);
  const text = await response.text();
  if (place.dataset.shown !== text) {
    place.dataset.shown = text;
    place.innerHTML = text;
    localTimes(place);
  }
  return place.querySelector(".delivery-progress");
}

export async function followDelivery(place, address) {
  const end = Date.now() + LONGEST;
  let shown = await renewed(place, address);
  while (shown.dataset.state === "pending" && Date.now() < end) {
    await pause(EVERY);
    shown = await renewed(place, address);
  }
}

const place = document.querySelector("[data-progress]");
if (place?.querySelector('[data-state="pending"]')) followDelivery(place, place.dataset.progress).catch(() => {});
