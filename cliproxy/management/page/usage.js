// Usage: what was asked for, what it cost, and how well it went, over time and by whom.

import Alpine from "./vendor/alpine.js";
import { SERIES, series, lines, stackedBars } from "./charts.js";
import { call, download, get, put } from "./api.js";
import { count, share, short, tick, took, usd } from "./format.js";
import { on, soon, whenShown } from "./state.js";

const HOUR_S = 3600;
const DAY_S = 86400;
const SPANS = [
  { name: "24 hours", length_s: DAY_S, over: "hour" },
  { name: "7 days", length_s: 7 * DAY_S, over: "day" },
  { name: "30 days", length_s: 30 * DAY_S, over: "day" },
  { name: "90 days", length_s: 90 * DAY_S, over: "day" },
];
const GROUPS = [
  { by: "model", title: "Model" },
  { by: "credential", title: "Account" },
  { by: "key", title: "Client key" },
  { by: "provider", title: "Provider" },
];
const MEASURES = [
  { name: "Cost", of: (row) => row.cost_usd, write: usd },
  { name: "Tokens", of: (row) => input(row) + row.output_tokens, write: short },
  { name: "Requests", of: (row) => row.exchanges, write: count },
];
const SUMMED = [
  "exchanges", "failures", "retries", "failovers", "fresh_tokens", "cache_read_tokens", "cache_write_tokens",
  "output_tokens", "reasoning_tokens", "cost_usd", "unpriced",
]; // prettier-ignore
const PERCENTILES = ["p50", "p90", "p99"];
/** By then the ledger has what was told, and a busy gateway is not asked all the time. */
const RELOADED_AFTER_MS = 2000;

// Chart.js must see its own objects, not Alpine's proxies of them.
let charts = [];

export function usage() {
  return {
    spans: SPANS,
    groups: GROUPS,
    measures: MEASURES.map(({ name }) => name),
    span: "7 days",
    by: "model",
    measure: "Cost",
    rows: [],
    total: emptyRow(),
    latency: {},
    latencies: [],
    isOff: false,
    isRead: false,
    isAsking: false,
    fault: "",
    notice: "",

    init() {
      const reload = soon(() => this.load(), RELOADED_AFTER_MS);
      let isShown = false;
      whenShown("usage", () => {
        isShown = true;
        this.load();
        return () => (isShown = false);
      });
      on("exchange", () => isShown && reload());
      addEventListener("themechange", () => this.draw());
    },

    async load() {
      if (this.isAsking) return;
      this.isAsking = true;
      const { over, since_s, until_s } = this.reach;
      const range = { since_s, until_s, offset_s: offset_s() };
      try {
        const [groups, times, latencies, latency, paces] = await Promise.all([
          get("usage/totals", { ...range, by: this.by }),
          get("usage/totals", { ...range, by: this.by, over }),
          get("usage/latencies", { ...range, by: "model" }),
          get("usage/latencies", { ...range, by: "all" }),
          get("usage/latencies", { ...range, by: over }),
        ]);
        this.rows = groups.rows.map((row, number) => ({ ...row, name: row[this.by], number }));
        this.total = groups.rows.reduce(plus, emptyRow());
        this.latencies = latencies.rows;
        this.latency = latency.rows[0] || {};
        this.times = times.rows;
        this.paces = paces.rows;
        this.isOff = false;
        this.fault = "";
      } catch (error) {
        this.isOff = error.status === 404;
        this.fault = this.isOff ? "" : error.message;
      }
      this.isRead = true;
      this.isAsking = false;
      // The canvas has no size before it is shown.
      this.$nextTick(() => this.draw());
    },

    /** The span that is asked for: whole hours or days up to now. */
    get reach() {
      const { length_s, over } = SPANS.find((span) => span.name === this.span);
      const step_s = over === "day" ? DAY_S : HOUR_S;
      const shift_s = over === "day" ? offset_s() : 0;
      const now_s = Date.now() / 1000;
      const last_s = Math.floor((now_s + shift_s) / step_s) * step_s - shift_s;
      return { over, step_s, since_s: last_s - length_s + step_s, last_s, until_s: Math.ceil(now_s) };
    },

    // ------------------------------------------------------------ figures

    get hasAny() {
      return this.total.exchanges > 0;
    },
    get tiles() {
      const { total, latency } = this;
      return [
        { name: "Requests", value: count(total.exchanges), note: `${count(total.failures)} failed` },
        { name: "Success", value: share(total.exchanges - total.failures, total.exchanges), note: "answered well" },
        {
          name: "Failover",
          value: share(total.failovers, total.exchanges),
          note: `${count(total.retries)} further attempts`,
        },
        {
          name: "Input tokens",
          value: short(input(total)),
          note: `${share(total.cache_read_tokens, input(total))} from cache`,
        },
        {
          name: "Output tokens",
          value: short(total.output_tokens),
          note: `${short(total.reasoning_tokens)} reasoning`,
        },
        {
          name: "Cost",
          value: usd(total.cost_usd),
          note: total.unpriced ? `${count(total.unpriced)} without a price` : "at list prices",
        },
        {
          name: "First byte",
          value: took(latency.first_byte_p50),
          note: `p90 ${took(latency.first_byte_p90)}, p99 ${took(latency.first_byte_p99)}`,
        },
        {
          name: "Total time",
          value: took(latency.total_p50),
          note: `p90 ${took(latency.total_p90)}, p99 ${took(latency.total_p99)}`,
        },
      ];
    },
    get groupTitle() {
      return GROUPS.find((group) => group.by === this.by).title;
    },
    name: (row) => row.name || "(none)",
    exchanges: (row) => count(row.exchanges),
    success: (row) => share(row.exchanges - row.failures, row.exchanges),
    failover: (row) => share(row.failovers, row.exchanges),
    input: (row) => short(input(row)),
    cached: (row) => share(row.cache_read_tokens, input(row)),
    output: (row) => short(row.output_tokens),
    cost: (row) => usd(row.unpriced && !row.cost_usd ? null : row.cost_usd),
    swatch: (row) => `swatch series-${Math.min(row.number, SERIES - 1)}`,
    pace: (row, kind) => PERCENTILES.map((quantile) => ({ quantile, text: took(row[`${kind}_${quantile}`]) })),

    // ------------------------------------------------------------ charts

    times: [],
    paces: [],

    draw() {
      for (const chart of charts.splice(0)) chart.destroy();
      if (!this.hasAny || !Alpine.store("view").is("usage")) return;
      const { over, step_s, since_s, last_s } = this.reach;
      const starts = [];
      for (let start_s = since_s; start_s <= last_s; start_s += step_s) starts.push(start_s);
      const slot = (row) => Math.round((row[over] - since_s) / step_s);
      // Days are named by their noon: where the clock was changed, they do not begin at midnight.
      const isDay = over === "day";
      const labels = starts.map((start_s) => tick(isDay ? start_s + step_s / 2 : start_s, isDay));
      const { of, write } = MEASURES.find((measure) => measure.name === this.measure);

      const byName = new Map(this.rows.slice(0, SERIES).map((row) => [row.name, new Array(starts.length).fill(0)]));
      const others = new Array(starts.length).fill(0);
      for (const row of this.times) (byName.get(row[this.by]) || others)[slot(row)] += of(row);
      const groups = [...byName].map(([name, values]) => ({ name: name || "(none)", values }));
      if (others.some(Boolean)) groups.push({ name: "others", values: others });
      charts.push(stackedBars(this.$refs.bars, labels, groups, write));

      const paces = PERCENTILES.map((quantile) => {
        const values = new Array(starts.length).fill(null);
        for (const row of this.paces) values[slot(row)] = row[`first_byte_${quantile}`];
        return { name: quantile, values };
      });
      charts.push(lines(this.$refs.lines, labels, paces, took));
    },

    // ------------------------------------------------------------ what one can do

    async switchOn() {
      await this.try(async () => {
        await put("usage-statistics-enabled", { value: true });
        await this.load();
      });
    },
    async exportAll() {
      await this.try(() => download("usage/export", {}, "usage.json"));
    },
    async importFile(event) {
      const [file] = event.target.files;
      event.target.value = "";
      if (!file) return;
      await this.try(async () => {
        const headers = { "Content-Type": "application/json" };
        const { added, skipped } = await (await call("POST", "usage/import", { body: file, headers })).json();
        this.notice = `${count(added)} added, ${count(skipped)} known already.`;
        await this.load();
      });
    },
    async try(action) {
      this.fault = this.notice = "";
      try {
        await action();
      } catch (error) {
        this.fault = error.message;
      }
    },
  };
}

const input = (row) => row.fresh_tokens + row.cache_read_tokens + row.cache_write_tokens;
const emptyRow = () => Object.fromEntries(SUMMED.map((name) => [name, 0]));
const plus = (total, row) => Object.fromEntries(SUMMED.map((name) => [name, total[name] + (row[name] || 0)]));
const offset_s = () => -60 * new Date().getTimezoneOffset();
