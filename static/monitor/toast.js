// Short messages in a corner, read out by screen readers.

const SHOWN_FOR = 6000;

function corner() {
  let element = document.querySelector(".toasts");
  if (!element) {
    element = document.createElement("div");
    element.className = "toasts";
    element.setAttribute("role", "status");
    document.body.append(element);
  }
  return element;
}

export function toast(text, level = "info") {
  const element = document.createElement("p");
  element.className = `toast toast-${level}`;
  element.textContent = text;
  corner().append(element);
  setTimeout(() => element.remove(), SHOWN_FOR);
}
