// What monitor_site/page_data.py wrote into the page: texts in the reader's language, units, states.

const data = JSON.parse(document.getElementById("page-data").textContent);

export const byteUnits = data.byte_units;
export const durationUnits = data.duration_units;
export const statesWithReason = new Set(data.states_with_reason);

// Replaces each %(name)s of the text by its value.
export function text(key, values = {}) {
  if (!(key in data.texts)) throw new Error(`no text ${key}`);
  return data.texts[key].replace(/%\((\w+)\)s/g, (_placeholder, name) => {
    if (!(name in values)) throw new Error(`no value for ${name} in ${key}`);
    return String(values[name]);
  });
}
