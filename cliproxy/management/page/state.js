// What all sections share: who is logged in, which section is shown, what time it is, and the gateway's events.

import Alpine from "./vendor/alpine.js";
import { Refusal, follow, get, key, onRefused } from "./api.js";

export const SECTIONS = [
  { name: "live", title: "Live" },
  { name: "usage", title: "Usage" },
  { name: "accounts", title: "Accounts" },
  { name: "keys", title: "Keys" },
  { name: "models", title: "Models" },
  { name: "config", title: "Config" },
  { name: "logs", title: "Logs" },
];

const HEALTH_EVERY_MS = 15_000;

/** The checks of `health`: what it means when one fails, and which section helps. */
const MENDED = {
  credentials: { title: "No account can answer now.", href: "#accounts", action: "See the accounts" },
  ledger: { title: "Usage is not recorded.", href: "#logs", action: "See the logs" },
  store: { title: "The store and its copy here differ; the copy serves.", href: "#logs", action: "See the logs" },
  config: { title: "The configuration on disk is not in force.", href: "#config", action: "Mend it" },
};

/** What is followed all the time. */
const USUAL_TOPICS = ["exchanges", "credentials", "config", "logins"];

/** Listeners of the gateway's events: name to functions. */
const listeners = new Map();

/** Have a function called with the data of each event of a name, whether its section is shown or not. */
export function on(name, listener) {
  listeners.set(name, [...(listeners.get(name) || []), listener]);
}

/**
 * Follow a further topic, until what is returned is called. One stream carries all topics: browsers have six
 * connections for all tabs of a plain HTTP server.
 */
export function alsoFollow(topic) {
  const session = Alpine.store("session");
  session.listen([...USUAL_TOPICS, topic]);
  return () => session.isOpen && session.listen(USUAL_TOPICS);
}

const visits = [];

/**
 * Call `begin` each time a section comes into view, logging in included.
 * What it returns, if anything, is called when the section goes out of view.
 */
export function whenShown(section, begin) {
  visits.push({ section, begin, end: null });
  turn();
}

function turn() {
  for (const visit of visits) {
    const isShown = Alpine.store("session").isOpen && Alpine.store("view").name === visit.section;
    if (isShown && !visit.end) visit.end = visit.begin() || (() => {});
    if (!isShown && visit.end) {
      visit.end();
      visit.end = null;
    }
  }
}

const named = (hash) => SECTIONS.find((section) => `#${section.name}` === hash)?.name;

const view = {
  sections: SECTIONS,
  name: named(location.hash) || SECTIONS[0].name,
  is(name) {
    return this.name === name;
  },
  follow() {
    this.name = named(location.hash) || this.name;
    document.title = `${SECTIONS.find((section) => section.name === this.name).title} · cliproxy`;
    turn();
  },
};

const session = {
  isOpen: false,
  isAsking: Boolean(key.get()),
  fault: "",
  isConnected: false,
  /** What `health` said last. */
  health: null,
  following: null,

  /** What is not well, and where to mend it. */
  get troubles() {
    const checks = Object.entries(this.health?.checks || {}).filter(([, check]) => !check.ok);
    return checks.map(([name, check]) => ({ name, ...MENDED[name], detail: check.detail }));
  },

  /** Try the key that is kept. */
  async open() {
    this.isAsking = true;
    this.fault = "";
    try {
      await this.check();
      this.isOpen = true;
      this.listen(USUAL_TOPICS);
      turn();
    } catch (error) {
      this.fault = wordsOfLogin(error);
      if (error.status) key.forget();
    }
    this.isAsking = false;
  },

  listen(topics) {
    this.following?.abort();
    this.following = new AbortController();
    follow(topics, heard, (isConnected) => (this.isConnected = isConnected), this.following.signal);
  },

  /** why: what to say on the page of the log-in. */
  close(why = "") {
    key.forget();
    this.following?.abort();
    this.isOpen = this.isConnected = false;
    this.fault = why;
    this.health = null;
    turn();
  },

  /** Ask how the gateway is. A gateway that is not well answers too. */
  async check() {
    try {
      this.health = await get("health");
    } catch (error) {
      if (error.status !== 503 || !error.body.checks) throw error;
      this.health = error.body;
    }
  },
};

function wordsOfLogin(error) {
  if (!(error instanceof Refusal)) throw error;
  if (error.status === 404) return "The management API is off. Set remote-management.secret-key in config.yaml.";
  return error.status === 401 ? "This is not the management key." : error.message;
}

function heard(name, data) {
  for (const listener of listeners.get(name) || []) listener(data);
}

const SOON_MS = 300;

/** A function that calls another a moment later, once for all calls until then. */
export function soon(action, wait_ms = SOON_MS) {
  let isDue = false;
  return () => {
    if (isDue) return;
    isDue = true;
    setTimeout(() => {
      isDue = false;
      action();
    }, wait_ms);
  };
}

const clock = { now_s: Date.now() / 1000 };

/** Register what the page's expressions call `$store.session`, `$store.view` and `$store.clock`. */
export function registerStores() {
  Alpine.store("session", session);
  Alpine.store("view", view);
  Alpine.store("clock", clock);
  const shared = Alpine.store("session");
  onRefused(
    (refusal) =>
      shared.isOpen && shared.close(refusal.status === 401 ? "The key is no longer valid." : refusal.message),
  );
  const recheck = () => shared.isOpen && shared.check().catch(() => {});
  for (const event of ["config", "credential", "credential-gone"]) on(event, soon(recheck));
  setInterval(recheck, HEALTH_EVERY_MS);
  setInterval(() => (Alpine.store("clock").now_s = Date.now() / 1000), 1000);
  // A page that the browser keeps for going back must not keep its stream.
  addEventListener("pagehide", () => shared.following?.abort());
  addEventListener("pageshow", (event) => event.persisted && location.reload());
  addEventListener("hashchange", () => Alpine.store("view").follow());
  Alpine.store("view").follow();
  if (key.get()) shared.open();
}
