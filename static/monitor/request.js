// Requests to the monitor. Each throws a RequestError whose message says what happened and what to do next.

import { text } from "./page_data.js";

export class RequestError extends Error {
  // `status` is 0 if no response came.
  constructor(message, status, options) {
    super(message, options);
    this.name = "RequestError";
    this.status = status;
  }
}

// By status; others than these are `request.failed`.
const MESSAGES = {
  401: () => text("request.logged_out"),
  403: () => text("request.forbidden"),
  409: () => text("request.conflict"),
  503: (response) => text("request.busy", { seconds: response.headers.get("Retry-After") ?? 5 }),
};

// The server's own explanation, if it sent one as JSON: `detail` of a problem, `message` of an admin page.
async function explanation(response) {
  if (!isJson(response)) return "";
  const body = await response.json();
  return body.detail || body.message || "";
}

function isJson(response) {
  return (response.headers.get("Content-Type") ?? "").includes("json");
}

async function failure(response) {
  // Admin pages redirect people whose session ended to the log-in page.
  if (response.redirected) return new RequestError(text("request.logged_out"), 401);
  const known = MESSAGES[response.status]?.(response);
  const own = response.status === 503 ? "" : await explanation(response);
  return new RequestError(own || known || text("request.failed", { status: response.status }), response.status);
}

async function send(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    throw new RequestError(text("request.unreachable"), 0, { cause: error });
  }
  if (!response.ok || response.redirected) throw await failure(response);
  return response;
}

function csrfToken() {
  return document.querySelector("[name=csrfmiddlewaretoken]").value;
}

function post(address, body, headers) {
  return send(address, { method: "POST", body, headers: { "X-CSRFToken": csrfToken(), ...headers } });
}

export async function getJson(address, parameters = {}) {
  const query = new URLSearchParams(parameters);
  const response = await send(`${address}?${query}`, { headers: { Accept: "application/json" } });
  return response.json();
}

export async function getHtml(address) {
  return (await send(address)).text();
}

// Posts a form and returns the JSON of the answer.
export async function postForm(address, form) {
  return (await post(address, new FormData(form), { Accept: "application/json" })).json();
}

// Posts a form and returns the part of a page that the server renders for it.
export async function postFormForHtml(address, form) {
  return (await post(address, new FormData(form), { "X-Requested-With": "fetch" })).text();
}

export async function postJson(address, data) {
  await post(address, JSON.stringify(data), { Accept: "application/json", "Content-Type": "application/json" });
}
