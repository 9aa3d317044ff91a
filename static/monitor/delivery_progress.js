// Reloads the progress of a delivery until its outcome is known.

import { localTimes } from "./local_times.js";
import { getHtml } from "./request.js";
import { toast } from "./toast.js";

const INTERVAL = 400;
const LONGEST = 40000; // the slowest endpoint may take 30 s for an attempt

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

async function reload(place, address) {
  const html = await getHtml(address);
  if (place.dataset.shown !== html) {
    place.dataset.shown = html;
    place.innerHTML = html;
    localTimes(place);
  }
  return place.querySelector(".delivery-progress");
}

export async function followDelivery(place, address) {
  const end = Date.now() + LONGEST;
  let shown = await reload(place, address);
  while (shown.dataset.state === "pending" && Date.now() < end) {
    await pause(INTERVAL);
    shown = await reload(place, address);
  }
}

const place = document.querySelector("[data-progress]");
if (place?.querySelector('[data-state="pending"]')) {
  followDelivery(place, place.dataset.progress).catch((error) => toast(error.message, "error"));
}
