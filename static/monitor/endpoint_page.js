// The page of an endpoint: the fields of the chosen format, preview of the unsaved form, test with its result.

import { followDelivery } from "./delivery_progress.js";
import { preview } from "./form_preview.js";
import "./local_times.js";
import { postForm } from "./request.js";
import { nameSearches } from "./select_labels.js";
import { tabs } from "./tabs.js";
import { toast } from "./toast.js";

// Each format has its own block of fields. A disabled block is neither shown nor sent.
function formatChoice(select) {
  function show() {
    for (const block of document.querySelectorAll("[data-format]")) {
      const chosen = block.dataset.format === select.value;
      block.hidden = !chosen;
      block.disabled = !chosen;
    }
  }
  for (const button of document.querySelectorAll("[data-format-choose]")) button.hidden = true;
  select.addEventListener("change", show);
  show();
}

// Greys the checkboxes that a checked `*` pattern covers already.
function eventBoxes(group) {
  const everything = group.querySelector('input[value="*"]');
  function grey() {
    for (const area of group.querySelectorAll("[data-pattern-area]")) {
      const whole = area.querySelector("[data-pattern-whole]");
      area.classList.toggle("pattern-covered", everything.checked || whole.checked);
      whole.closest("label").classList.toggle("pattern-covered", everything.checked);
    }
  }
  group.addEventListener("change", grey);
  grey();
}

function testing(button) {
  const place = document.querySelector("[data-test-result]");
  button.addEventListener("click", async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      const { progress } = await postForm(button.formAction, button.form);
      await followDelivery(place, progress);
    } catch (error) {
      toast(error.message, "error");
    } finally {
      button.disabled = false;
    }
  });
}

tabs();
nameSearches();
for (const [selector, set] of [
  ["[data-format-choice]", formatChoice],
  ["[data-patterns]", eventBoxes],
  ["[data-preview-button]", preview],
  ["[data-test]:not(:disabled)", testing],
]) {
  const element = document.querySelector(selector);
  if (element) set(element);
}
