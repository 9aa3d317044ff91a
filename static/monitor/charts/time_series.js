// The points of a chart by time: a history from the API, then new points from the socket.

/** @typedef {Record<string, Record<string, [number, number | null][]>>} Series metric → aggregate → (time, value) */
/** @typedef {{ step: number, start: number, series: Series }} History */

/**
 * @param {string} metric
 * @param {string} aggregate
 */
export const key = (metric, aggregate) => `${metric}.${aggregate}`;

export class TimeSeries {
  constructor() {
    this.step = 0;
    /** @type {Map<number, Record<string, number | null>>} Unix seconds → { "cpu_percent.avg": 12.5, … } */
    this.rows = new Map();
  }

  get newest() {
    return Math.max(...this.rows.keys());
  }

  /**
   * Replaces everything from `start` on.
   *
   * @param {History} history
   */
  begin({ step, start, series }) {
    this.step = step;
    for (const time of [...this.rows.keys()]) if (time >= start) this.rows.delete(time);
    this.add(series);
  }

  /**
   * Replaces points that have the same time.
   *
   * @param {Series} series
   */
  add(series) {
    for (const [metric, aggregates] of Object.entries(series)) {
      for (const [aggregate, points] of Object.entries(aggregates)) {
        const name = key(metric, aggregate);
        for (const [time, value] of points) this.row(time)[name] = value;
      }
    }
  }

  /** @param {number} time */
  row(time) {
    const row = this.rows.get(time) ?? {};
    this.rows.set(time, row);
    return row;
  }

  /** @param {number} start */
  forgetBefore(start) {
    for (const time of [...this.rows.keys()]) if (time + this.step < start) this.rows.delete(time);
  }

  /** The times in order, with one extra time in each gap: it has no value, so the line breaks there. */
  times() {
    /** @type {number[]} */
    const found = [];
    for (const time of [...this.rows.keys()].sort((one, other) => one - other)) {
      const last = found.at(-1);
      if (last !== undefined && time - last > 1.5 * this.step) found.push(last + this.step);
      found.push(time);
    }
    return found;
  }

  /**
   * @param {number} time
   * @param {string} name
   */
  value(time, name) {
    return this.rows.get(time)?.[name] ?? null;
  }

  /**
   * Threads and open files have no average, only the highest of each step.
   *
   * @param {string} metric
   */
  mainAggregate(metric) {
    const first = this.rows.values().next().value ?? {};
    return key(metric, key(metric, "avg") in first ? "avg" : "max");
  }

  /**
   * Average and highest value for the caption; null if there is no value.
   *
   * @param {string} metric
   */
  summary(metric) {
    let sum = 0;
    let count = 0;
    let highest = { value: -Infinity, time: 0 };
    for (const [time, row] of this.rows) {
      const middle = row[key(metric, "avg")] ?? row[key(metric, "max")] ?? null;
      if (middle === null) continue;
      sum += middle;
      count += 1;
      const top = row[key(metric, "max")] ?? middle;
      if (top > highest.value) highest = { value: top, time };
    }
    return count ? { average: sum / count, highest } : null;
  }
}
