// The points of a chart by time: a history from the API, then new points from the socket.

export const key = (metric, aggregate) => `${metric}.${aggregate}`;

export class TimeSeries {
  constructor() {
    this.step = 0;
    this.rows = new Map(); // Unix seconds → { "cpu_percent.avg": 12.5, … }
  }

  get newest() {
    return Math.max(...this.rows.keys());
  }

  // Replaces everything from `start` on.
  begin({ step, start, series }) {
    this.step = step;
    for (const time of [...this.rows.keys()]) if (time >= start) this.rows.delete(time);
    this.add(series);
  }

  // Replaces points that have the same time.
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

  // The times in order, with one extra time in each gap: it has no value, so the line breaks there.
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

  // Average and highest value for the caption; null if there is no value.
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
