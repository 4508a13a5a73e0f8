// Live: requests as they happen, and what became of each attempt.

import Alpine from "./vendor/alpine.js";
import { download, get } from "./api.js";
import { count, left, share, short, time, took, usd } from "./format.js";
import { on, soon } from "./state.js";

const KEPT = 150;
const PAGE = 50;
const RECENT_S = 300;
const LEDGER_TRIES = 5;
const LEDGER_PAUSE_MS = 400;

export function live() {
  return {
    /** Newest first: the ledger's rows, and what is under way (`isRunning`). */
    rows: [],
    search: "",
    onlyFailures: false,
    isPaused: false,
    pausedAt_s: 0,
    /** Where the ledger goes on with older rows; null: nowhere. */
    next: null,
    fault: "",
    isRead: false,
    /** The id of the row whose details are shown. */
    open: null,
    attempts: [],
    openFault: "",

    init() {
      const arrived = [];
      const take = soon(() => this.take(arrived.splice(0)));
      for (const event of ["exchange-begun", "exchange"]) {
        on(event, (data) => {
          arrived.push({ ...data, isRunning: event === "exchange-begun" });
          take();
        });
      }
      // What happened while nobody listened is in the ledger only. What is under way is told anew after it.
      on("hello", () => {
        this.rows = this.rows.filter((row) => !row.isRunning);
        this.load();
      });
      on("lagged", () => this.load());
    },

    async load() {
      this.fault = "";
      try {
        const { exchanges, next } = await get("exchanges", { limit: PAGE });
        const known = new Set(exchanges.map((row) => row.id));
        const last_s = exchanges.length ? exchanges[0].ended_s : 0;
        // The ledger has what has ended a moment later than it was told.
        const newer = this.rows.filter((row) => !known.has(row.id) && (row.isRunning || row.ended_s >= last_s));
        this.rows = [...newer, ...exchanges];
        this.next = next;
      } catch (error) {
        this.fault = error.status === 404 ? "" : error.message;
      }
      this.isRead = true;
    },

    async older() {
      try {
        const { exchanges, next } = await get("exchanges", { limit: PAGE, before: this.next });
        this.rows = [...this.rows, ...exchanges];
        this.next = next;
      } catch (error) {
        this.fault = error.message;
      }
    },

    take(arrived) {
      const byId = new Map(this.rows.map((row) => [row.id, row]));
      const added = [];
      for (const row of arrived) {
        const known = byId.get(row.id);
        if (known) {
          // A begin that is told again after the ledger's row changes nothing.
          if (!row.isRunning) Object.assign(known, row);
        } else {
          byId.set(row.id, row);
          added.unshift(row);
        }
      }
      this.rows = [...added, ...this.rows].slice(0, Math.max(KEPT, this.rows.length));
    },

    /** Rows that the filters let through. While paused, those of the moment when it was pressed. */
    get shown() {
      const words = this.search.toLowerCase().split(/\s+/).filter(Boolean);
      return this.frozen(this.rows).filter((row) => (!this.onlyFailures || this.isFailure(row)) && matches(row, words));
    },

    pause() {
      this.isPaused = !this.isPaused;
      this.pausedAt_s = Date.now() / 1000;
    },
    frozen(rows) {
      return this.isPaused ? rows.filter((row) => row.started_s <= this.pausedAt_s) : rows;
    },
    get held() {
      return this.rows.length - this.frozen(this.rows).length;
    },

    /** A first request for those who have none. */
    get example() {
      const body = JSON.stringify({ model: "demo/echo", messages: [{ role: "user", content: "Hello" }] });
      return `curl ${location.origin}/v1/chat/completions \\\n  -H 'Content-Type: application/json' \\\n  -d '${body}'`;
    },

    // ------------------------------------------------------------ the last minutes

    get recent() {
      const since_s = Alpine.store("clock").now_s - RECENT_S;
      return this.rows.filter((row) => row.isRunning || row.ended_s >= since_s);
    },
    get tiles() {
      const recent = this.recent;
      const ended = recent.filter((row) => !row.isRunning);
      const failed = ended.filter((row) => this.isFailure(row));
      const sum = (of) => ended.reduce((total, row) => total + of(row), 0);
      return [
        { name: "Running", value: count(recent.length - ended.length) },
        { name: "Requests", value: count(ended.length) },
        { name: "Failed", value: share(failed.length, ended.length), isBad: failed.length > 0 },
        {
          name: "First byte",
          value: took(median(ended.filter((row) => row.first_byte_s).map((row) => row.first_byte_s - row.started_s))),
        },
        { name: "Tokens", value: short(sum((row) => input(row) + row.output_tokens)) },
        { name: "Cost", value: usd(sum((row) => row.cost_usd || 0)) },
      ];
    },

    // ------------------------------------------------------------ one row

    isFailure: (row) => !row.isRunning && (row.status >= 400 || row.status === 0 || Boolean(row.error)),
    time: (row) => time(row.started_s),
    served: (row) => (row.model && row.model !== row.model_asked ? `${row.provider}/${row.model}` : row.provider),
    tries: (row) => (row.isRunning ? "" : count(row.provider ? row.retries + 1 : 0)),
    tokens: (row) => (row.isRunning ? "" : `${short(input(row))} → ${short(row.output_tokens)}`),
    cached: (row) => (row.cache_read_tokens ? `${share(row.cache_read_tokens, input(row))} cached` : ""),
    cost: (row) => (row.isRunning ? "" : usd(row.cost_usd)),
    firstByte: (row) => took(row.first_byte_s - row.started_s),
    took: (row) =>
      row.isRunning ? left(Alpine.store("clock").now_s - row.started_s) : took(row.ended_s - row.started_s),
    status: (row) => (row.isRunning ? "running" : String(row.status || "cut")),
    tone(row) {
      if (row.isRunning) return "busy";
      return this.isFailure(row) ? "bad" : "good";
    },

    // ------------------------------------------------------------ the row that is opened

    isOpen(row) {
      return this.open === row.id;
    },
    async toggle(row) {
      this.open = this.isOpen(row) ? null : row.id;
      this.attempts = [];
      this.openFault = "";
      if (!this.open || row.isRunning) return;
      try {
        const attempts = await this.attemptsOf(row);
        if (this.open === row.id) this.attempts = attempts;
      } catch (error) {
        this.openFault = error.status === 404 ? "The ledger has nothing of it." : error.message;
      }
    },
    /** The attempts of an exchange, which the ledger has a moment after its end. */
    async attemptsOf(row, tries = LEDGER_TRIES) {
      try {
        return (await get(`exchanges/${encodeURIComponent(row.id)}`)).attempts;
      } catch (error) {
        if (error.status !== 404 || tries <= 1) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, LEDGER_PAUSE_MS));
      return this.attemptsOf(row, tries - 1);
    },
    facts: (row) =>
      [
        ["Id", row.id],
        ["Operation", [row.operation, row.stream ? "streamed" : ""].filter(Boolean).join(", ")],
        ["Formats", [row.client_format, row.upstream_format].filter(Boolean).join(" → ")],
        ["Effort", row.effort],
        ["Dropped", (row.dropped || []).join(", ")],
        ["Error", row.error],
      ]
        .filter(([, value]) => value)
        .map(([name, value]) => ({ name, value })),
    attemptTook: (attempt) => took(attempt.ended_s - attempt.started_s),
    attemptFirst: (attempt) => took(attempt.first_byte_s ? attempt.first_byte_s - attempt.started_s : null),
    attemptTone: (attempt) => (attempt.error || attempt.status >= 400 || !attempt.status ? "bad" : "good"),
    /** Its flows in mitmweb, the attempts among them: each carries the exchange's id. */
    flowsUrl(row) {
      const base = Alpine.store("session").health?.mitmweb_url;
      return base ? `${base.replace(/\/$/, "")}/#/flows?s=${encodeURIComponent(`~meta ${row.id}`)}` : null;
    },
    async log(row) {
      this.openFault = "";
      try {
        await download(`request-log-by-id/${encodeURIComponent(row.id)}`, {}, `${row.id}.log`);
      } catch (error) {
        this.openFault =
          error.status === 404
            ? "There is no log of this request. Switch on “request-log” in Config to have the next ones."
            : error.message;
      }
    },
  };
}

const input = (row) => row.fresh_tokens + row.cache_read_tokens + row.cache_write_tokens;

function matches(row, words) {
  if (!words.length) return true;
  const text = [row.id, row.client_key, row.model_asked, row.model, row.provider, row.credential, row.status, row.error]
    .join(" ")
    .toLowerCase();
  return words.every((word) => text.includes(word));
}

function median(values) {
  if (!values.length) return null;
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
}
