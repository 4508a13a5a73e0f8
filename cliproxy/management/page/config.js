// Config: config.yaml as it is, checked before it is written, and never over somebody else's change.

import Alpine from "./vendor/alpine.js";
import { call, get, put } from "./api.js";
import { ask } from "./dialogs.js";
import { on, whenShown } from "./state.js";

const YAML = { "Content-Type": "application/yaml" };
const SWITCHES = [
  { path: "usage-statistics-enabled", title: "Usage statistics" },
  { path: "request-log", title: "Log every request" },
  { path: "logging-to-file", title: "Log to files" },
  { path: "debug", title: "Debug" },
];

export function config() {
  return {
    text: "",
    /** The file as it was read. */
    original: "",
    etag: "",
    problems: [],
    warnings: [],
    isStale: false,
    isRead: false,
    isBusy: false,
    fault: "",
    notice: "",
    switches: SWITCHES.map((one) => ({ ...one, isOn: false, fault: "" })),

    init() {
      let isShown = false;
      whenShown("config", () => {
        isShown = true;
        if (!this.isDirty) this.load();
        this.readSwitches();
        return () => (isShown = false);
      });
      on("config", () => isShown && this.changedElsewhere());
      addEventListener("beforeunload", (event) => this.isDirty && event.preventDefault());
    },

    get isDirty() {
      return this.text !== this.original;
    },
    get lines() {
      const bad = new Set(this.problems.map((problem) => problem.line));
      return Array.from({ length: this.text.split("\n").length }, (_, at) => ({
        number: at + 1,
        isBad: bad.has(at + 1),
      }));
    },

    async load() {
      await this.try(async () => {
        const response = await call("GET", "config.yaml");
        this.etag = response.headers.get("etag") || "";
        this.text = this.original = await response.text();
        this.problems = [];
        this.warnings = inForce();
        this.isStale = false;
      });
      this.isRead = true;
    },
    async changedElsewhere() {
      if (this.isBusy) return;
      this.readSwitches();
      const response = await call("GET", "config.yaml");
      if ((response.headers.get("etag") || "") === this.etag) return;
      if (this.isDirty) this.isStale = true;
      else await this.load();
    },
    async reload() {
      if (this.isDirty && !(await ask("Load the file anew?", "What you have typed here is lost.", "Load it"))) return;
      await this.load();
    },

    check() {
      return this.try(async () => {
        const { warnings = [] } = await this.send({ query: { check: "true" } });
        this.warnings = warnings;
        this.notice = "This would be a valid configuration. It is not saved yet.";
      });
    },
    save() {
      return this.write({ "If-Match": this.etag });
    },
    async overwrite() {
      if (!(await ask("Write over the newer file?", "What the other change did is lost.", "Overwrite"))) return;
      await this.write({});
    },
    write(condition) {
      return this.try(async () => {
        const { warnings = [] } = await this.send({ headers: condition });
        const sent = this.text;
        const response = await call("GET", "config.yaml");
        this.etag = response.headers.get("etag") || "";
        this.original = await response.text();
        // The gateway may have changed what it was given: a plain management key is hashed.
        if (this.text === sent) this.text = this.original;
        this.warnings = warnings;
        this.isStale = false;
        this.notice = "Saved, and in force.";
      });
    },
    async send({ query, headers = {} }) {
      this.problems = [];
      return (await call("PUT", "config.yaml", { query, body: this.text, headers: { ...YAML, ...headers } })).json();
    },
    async try(action) {
      this.fault = this.notice = "";
      this.isBusy = true;
      try {
        await action();
      } catch (error) {
        this.isStale = error.status === 412;
        this.problems = error.body?.problems || [];
        // Problems say it better.
        this.fault = this.isStale || this.problems.length ? "" : error.message;
        if (this.problems.length) this.goTo(this.problems[0]);
      }
      this.isBusy = false;
    },

    /** Put the cursor where a problem is. */
    goTo({ line, column }) {
      const editor = this.$refs.editor;
      const lines = this.text.split("\n");
      const start = lines.slice(0, line - 1).reduce((sum, text) => sum + text.length + 1, 0);
      const length = (lines[line - 1] || "").length;
      editor.focus();
      editor.setSelectionRange(start + Math.min(Math.max(0, (column || 1) - 1), length), start + length);
      const height_px = editor.scrollHeight / lines.length;
      editor.scrollTop = Math.max(0, (line - 4) * height_px);
    },
    scrolled() {
      this.$refs.numbers.scrollTop = this.$refs.editor.scrollTop;
    },
    place: (problem) => (problem.line ? `Line ${problem.line}` : "The file"),

    // ------------------------------------------------------------ switches

    async readSwitches() {
      for (const one of this.switches) {
        try {
          one.isOn = (await get(one.path))[one.path];
        } catch (error) {
          one.fault = error.message;
        }
      }
    },
    async flip(one) {
      one.fault = "";
      try {
        await put(one.path, { value: one.isOn });
        await this.changedElsewhere();
      } catch (error) {
        one.isOn = !one.isOn;
        one.fault = error.message;
      }
    },
  };
}

/** What there is to know of the configuration in force. */
const inForce = () => Alpine.store("session").health?.checks.config.warnings || [];
