// Logs: what the gateway says, as it says it, and the files that it keeps of requests that failed.

import { download, get } from "./api.js";
import { moment, size, time } from "./format.js";
import { alsoFollow, on, whenShown } from "./state.js";

const KEPT = 1000;
const LEVELS = ["debug", "info", "warning", "error"];
const TONES = { debug: "off", info: "info", warning: "warn", error: "bad", critical: "bad" };

export function logs() {
  return {
    levels: LEVELS,
    records: [],
    files: [],
    level: "info",
    search: "",
    isFollowing: true,
    isRead: false,
    fault: "",
    fileFault: "",

    init() {
      let isShown = false;
      on("log", (record) => isShown && this.take([record]));
      // What was said before is read after the stream has begun.
      for (const event of ["hello", "lagged"]) on(event, () => isShown && this.load());
      whenShown("logs", () => {
        isShown = true;
        this.loadFiles();
        const unfollow = alsoFollow("log");
        return () => {
          isShown = false;
          unfollow();
        };
      });
      // Once the new lines are laid out.
      this.$watch("shown", () => this.isFollowing && requestAnimationFrame(() => this.toEnd()));
    },
    async load() {
      try {
        const { records } = await get("logs/recent", { limit: KEPT });
        this.records = [];
        this.take(records);
        this.fault = "";
      } catch (error) {
        this.fault = error.message;
      }
      this.isRead = true;
    },
    take(arrived) {
      const last = this.records.at(-1)?.seq ?? -1;
      this.records = [...this.records, ...arrived.filter((record) => record.seq > last)].slice(-KEPT);
    },
    async loadFiles() {
      try {
        this.files = (await get("request-error-logs")).files;
        this.fileFault = "";
      } catch (error) {
        this.fileFault = error.message;
      }
    },

    get shown() {
      const least = LEVELS.indexOf(this.level);
      const words = this.search.toLowerCase().split(/\s+/).filter(Boolean);
      return this.records.filter((record) => {
        const text = `${record.logger} ${record.text}`.toLowerCase();
        return rank(record) >= least && words.every((word) => text.includes(word));
      });
    },
    time: (record) => time(record.time_s),
    level_: (record) => record.level.toLowerCase(),
    tone: (record) => TONES[record.level.toLowerCase()] || "info",
    toEnd() {
      this.$refs.list.scrollTop = this.$refs.list.scrollHeight;
    },
    /** Whoever scrolls up wants to read. */
    scrolled() {
      const { scrollTop, scrollHeight, clientHeight } = this.$refs.list;
      this.isFollowing = scrollHeight - scrollTop - clientHeight < 40;
    },

    fileTime: (file) => moment(file.modified),
    fileSize: (file) => size(file.size),
    async save(file) {
      this.fileFault = "";
      try {
        await download(`request-error-logs/${encodeURIComponent(file.name)}`, {}, file.name);
      } catch (error) {
        this.fileFault = error.message;
      }
    },
  };
}

function rank(record) {
  const at = LEVELS.indexOf(record.level.toLowerCase());
  return at < 0 ? LEVELS.length : at;
}
