// Requests to the monitor. Each throws a RequestError whose message says what happened and what to do next.

import { find } from "./dom.js";
import { text } from "./page_data.js";

const DEFAULT_RETRY_SECONDS = 5;

export class RequestError extends Error {
  /**
   * @param {string} message
   * @param {number} status 0 if no response came
   * @param {ErrorOptions} [options]
   */
  constructor(message, status, options) {
    super(message, options);
    this.name = "RequestError";
    this.status = status;
  }
}

/** @param {unknown} error */
export function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}

/**
 * By status; the message of any other is `request.failed`.
 *
 * @type {Record<number, (response: Response) => string>}
 */
const MESSAGES = {
  401: () => text("request.logged_out"),
  403: () => text("request.forbidden"),
  409: () => text("request.conflict"),
  503: (response) =>
    text("request.busy", { seconds: response.headers.get("Retry-After") ?? DEFAULT_RETRY_SECONDS }),
};

/**
 * The server's own explanation, if it sent one as JSON: `detail` of a problem, `message` of an admin page.
 *
 * @param {Response} response
 * @returns {Promise<string>}
 */
async function explanation(response) {
  const isJson = (response.headers.get("Content-Type") ?? "").includes("json");
  if (!isJson) return "";
  const body = await response.json();
  return body.detail || body.message || "";
}

/** @param {Response} response */
async function failure(response) {
  // Admin pages redirect people whose session ended to the log-in page.
  if (response.redirected) return new RequestError(text("request.logged_out"), 401);
  const { status } = response;
  const own = status === 503 ? "" : await explanation(response);
  const known = MESSAGES[status]?.(response);
  return new RequestError(own || known || text("request.failed", { status }), status);
}

/**
 * @param {string} address
 * @param {RequestInit} [options]
 */
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

/**
 * @param {string} address
 * @param {FormData | string} body
 * @param {Record<string, string>} headers
 */
function post(address, body, headers) {
  const token = find(document, "[name=csrfmiddlewaretoken]", HTMLInputElement).value;
  return send(address, { method: "POST", body, headers: { "X-CSRFToken": token, ...headers } });
}

/**
 * @param {string} address
 * @param {Record<string, string | number>} parameters
 */
export function withQuery(address, parameters) {
  const pairs = Object.entries(parameters).map(([name, value]) => [name, String(value)]);
  return `${address}?${new URLSearchParams(pairs)}`;
}

/**
 * @param {string} address
 * @param {Record<string, string | number>} parameters
 */
export async function getJson(address, parameters = {}) {
  const response = await send(withQuery(address, parameters), { headers: { Accept: "application/json" } });
  return response.json();
}

/** @param {string} address */
export async function getHtml(address) {
  const response = await send(address);
  return response.text();
}

/**
 * Posts a form and returns the JSON of the response.
 *
 * @param {string} address
 * @param {HTMLFormElement} form
 */
export async function postForm(address, form) {
  const response = await post(address, new FormData(form), { Accept: "application/json" });
  return response.json();
}

/**
 * Posts a form and returns the part of a page that the server renders for it.
 *
 * @param {string} address
 * @param {HTMLFormElement} form
 */
export async function postFormForHtml(address, form) {
  const response = await post(address, new FormData(form), { "X-Requested-With": "fetch" });
  return response.text();
}

/**
 * @param {string} address
 * @param {object} data
 */
export async function postJson(address, data) {
  await post(address, JSON.stringify(data), { Accept: "application/json", "Content-Type": "application/json" });
}
