// What a chart shows, by time: it comes from the API and goes on over the socket.

export const key = (metric, aggregate) => `${metric}.${aggregate}`;

export class TimeSeries {
  constructor() {
    this.step = 0;
    this.rows = new Map(); // Unix seconds → { "cpu_percent.avg": 12.5, … }
  }

  get newest() {
    return Math.max(...this.rows.keys());
  }

  // A history takes the place of everything from its start on.
  begin({ step, start, series }) {
    this.step = step;
    for (const time of [...this.rows.keys()]) if (time >= start) this.rows.delete(time);
    this.add(series);
  }

  // A point takes the place of the one with its time.
  add(series) {
    for (const [metric, aggregates] of Object.entries(series)) {
      for (const [aggregate, points] of Object.entries(aggregates)) {
        const name = key(metric, aggregate);
        for (const [time, value] of points) this.row(time)[name] = value;
      }
    }
  }

  row(time) {
    if (!this.rows.has(time)) this.rows.set(time, {});
    return this.rows.get(time);
  }

  forgetBefore(start) {
    for (const time of [...this.rows.keys()]) if (time + this.step < start) this.rows.delete(time);
  }

  // The times in order. Where nothing was recorded there is one without values, at which lines break off.
  times() {
    const found = [];
    for (const time of [...this.rows.keys()].sort((one, other) => one - other)) {
      const last = found.at(-1);
      if (last !== undefined && time - last > 1.5 * this.step) found.push(last + this.step);
      found.push(time);
    }
    return found;
  }

  value(time, name) {
    return this.rows.get(time)?.[name] ?? null;
  }

  // What a line of words says instead of the picture; null without a value.
  summary(metric) {
    let sum = 0, count = 0, highest = null;
    for (const [time, row] of this.rows) {
      const middle = row[key(metric, "avg")] ?? row[key(metric, "max")] ?? null;
      if (middle === null) continue;
      sum += middle;
      count += 1;
      const top = row[key(metric, "max")] ?? middle;
      if (!highest || top > highest.value) highest = { value: top, time };
    }
    return count ? { average: sum / count, highest } : null;
  }
}
