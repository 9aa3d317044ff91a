// What monitor_site/page_data.py wrote into the page: texts in the reader's language, units, states.

import { find } from "./dom.js";

/**
 * @typedef {object} PageData
 * @property {Record<string, string>} texts
 * @property {string[]} byte_units by power of 1024
 * @property {[number, string][]} duration_units seconds and unit, largest first
 * @property {string[]} states_with_reason
 */

/** @type {PageData} */
const data = JSON.parse(find(document, "#page-data", HTMLScriptElement).text);

export const byteUnits = data.byte_units;
export const durationUnits = data.duration_units;
export const statesWithReason = new Set(data.states_with_reason);

/**
 * Replaces each %(name)s of the text by its value.
 *
 * @param {string} key
 * @param {Record<string, string | number>} values
 */
export function text(key, values = {}) {
  const template = data.texts[key];
  if (template === undefined) throw new Error(`no text ${key}`);
  return template.replace(/%\((\w+)\)s/g, (_placeholder, name) => {
    if (!(name in values)) throw new Error(`no value for ${name} in ${key}`);
    return String(values[name]);
  });
}
