// The API's client: JSON in and out, every error an Error with a sentence fit to be shown.

const BASE = "/api/v1";

/** An answer that says no (RFC 9457). `errors` name the fields at fault, `personId` who has a name that is taken. */
export class Problem extends Error {
  constructor(status, details) {
    super(details.detail ?? details.title ?? `The server answered ${status}.`);
    this.status = status;
    this.code = details.code ?? "";
    this.errors = details.errors ?? [];
    this.personId = details.personId ?? null;
  }
}

/** No answer at all: no network, or the server is down. */
export class Unreachable extends Error {}

export const get = (path, signal) => request("GET", path, { signal });
export const post = (path, body, options = {}) => request("POST", path, { ...options, body });
export const patch = (path, body) => request("PATCH", path, { body });
export const remove = (path) => request("DELETE", path, {});

/** A path with a query: a list becomes the same name several times; null, "" and empty lists are left out. */
export function queried(path, values) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    for (const one of [value].flat()) if (one !== null && one !== undefined && one !== "") query.append(name, one);
  }
  return query.size ? `${path}${path.includes("?") ? "&" : "?"}${query}` : path;
}

/** The path of a list, with its limit and where to go on. */
export function listPath(path, limit, pageToken) {
  return queried(path, { limit, pageToken });
}

export const eventsUrl = (sessionId) => `${BASE}/training/sessions/${sessionId}/events`;

/** Visible characters that nobody else has; crypto.randomUUID would need HTTPS. */
export function idempotencyKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function request(method, path, { body, headers = {}, signal }) {
  const json = body === undefined ? {} : { "Content-Type": "application/json" };
  let answer;
  try {
    answer = await fetch(BASE + path, {
      method, signal, headers: { ...json, ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch (error) {
    throw error.name === "AbortError" ? error : new Unreachable("The server cannot be reached. Try again in a moment.");
  }
  if (!answer.ok) throw await problemOf(answer, path);
  return answer.status === 204 ? null : answer.json();
}

async function problemOf(answer, path) {
  const details = await answer.json().catch(() => ({}));
  const problem = new Problem(answer.status, details);
  if (answer.status === 401 && path !== "/sign-in") {
    document.dispatchEvent(new CustomEvent("signed-out", { detail: problem }));
  }
  return problem;
}
