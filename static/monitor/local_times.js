// The server writes times in UTC; here they become those of the reader's clock. The title keeps the original.

function localText(moment) {
  const two = (number) => String(number).padStart(2, "0");
  const day = [moment.getFullYear(), two(moment.getMonth() + 1), two(moment.getDate())].join("-");
  return `${day} ${[moment.getHours(), moment.getMinutes(), moment.getSeconds()].map(two).join(":")}`;
}

export function localTimes(place = document) {
  for (const element of place.querySelectorAll("time[datetime]:not([title])")) {
    const moment = new Date(element.dateTime);
    if (Number.isNaN(moment.getTime())) continue;
    element.title = moment.toISOString();
    element.textContent = localText(moment);
  }
}

localTimes();
