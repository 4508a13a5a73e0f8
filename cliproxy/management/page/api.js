// The management API as the page speaks it: its key, calls, downloads and the stream of events.

const ROOT = "v0/management/";
const STORED = "cliproxy.management-key";

/** The management key lives as long as its browser tab. */
export const key = {
  get: () => sessionStorage.getItem(STORED) || "",
  set: (value) => sessionStorage.setItem(STORED, value),
  forget: () => sessionStorage.removeItem(STORED),
};

/** The API did not do what it was asked. `message` is for people. */
export class Refusal extends Error {
  /** status: of HTTP; 0: nobody answered. body: the answer's JSON. */
  constructor(status, body) {
    super(
      body.message ||
        body.error ||
        (status ? `The gateway answered with status ${status}.` : "The gateway cannot be reached."),
    );
    this.status = status;
    this.body = body;
  }
}

let refused = () => {};

/** Have a function called with the Refusal when the key is no longer taken. */
export const onRefused = (callback) => (refused = callback);

/**
 * One call; resolves to the Response, whatever its body, or rejects with a Refusal.
 * query: empty values are left out. json, body: what is sent, one of the two.
 */
export async function call(method, path, { query = {}, json, body, headers = {}, signal } = {}) {
  const url = new URL(ROOT + path, document.baseURI);
  for (const [name, value] of Object.entries(query)) {
    if (value !== "" && value !== null && value !== undefined) url.searchParams.set(name, value);
  }
  const sent = { ...headers, Authorization: `Bearer ${key.get()}` };
  if (json !== undefined) sent["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(url, {
      method,
      headers: sent,
      body: json === undefined ? body : JSON.stringify(json),
      signal,
      cache: "no-store",
    });
  } catch (error) {
    throw error.name === "AbortError" ? error : new Refusal(0, {});
  }
  if (response.ok) return response;
  const refusal = new Refusal(response.status, await response.json().catch(() => ({})));
  if (response.status === 401 || response.status === 403) refused(refusal);
  throw refusal;
}

export const get = async (path, query) => (await call("GET", path, { query })).json();
export const post = async (path, json, query) => (await call("POST", path, { json, query })).json();
export const put = async (path, json) => (await call("PUT", path, { json })).json();
export const patch = async (path, json) => (await call("PATCH", path, { json })).json();
export const remove = async (path, query) => (await call("DELETE", path, { query })).json();

/** Have the browser keep what an endpoint answers as a file. */
export async function download(path, query, name) {
  const blob = await (await call("GET", path, { query })).blob();
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  // The browser reads it after the click has been handled.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;

/**
 * Follow the gateway's events until the signal is aborted, through interruptions.
 * topics: as in docs/management.md. onEvent: called with the event's name and data; `hello` comes first each time.
 * onState: called with whether the stream is connected.
 */
export async function follow(topics, onEvent, onState, signal) {
  let pause_ms = FIRST_PAUSE_MS;
  while (!signal.aborted) {
    try {
      const response = await call("GET", "events", { query: { topics: topics.join(",") }, signal });
      onState(true);
      pause_ms = FIRST_PAUSE_MS;
      await readEvents(response.body, onEvent);
    } catch (error) {
      if (signal.aborted || error.status === 401 || error.status === 403) return;
    }
    onState(false);
    await new Promise((resolve) => setTimeout(resolve, pause_ms));
    pause_ms = Math.min(2 * pause_ms, LONGEST_PAUSE_MS);
  }
}

async function readEvents(body, onEvent) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (held + value).split(/\r?\n\r?\n/);
    held = blocks.pop();
    for (const block of blocks) readEvent(block, onEvent);
  }
}

function readEvent(block, onEvent) {
  let name = "message";
  const data = [];
  for (const line of block.split(/\r?\n/)) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5));
  }
  if (data.length) onEvent(name, JSON.parse(data.join("\n")));
}
