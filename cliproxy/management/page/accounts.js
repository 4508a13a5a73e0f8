// Accounts: who can be asked, who cannot and why, how much is left, and what to do about it.

import Alpine from "./vendor/alpine.js";
import { call, download, get, patch, post, remove } from "./api.js";
import { ask } from "./dialogs.js";
import { ago, count, fill, left, moment, share } from "./format.js";
import { on, whenShown } from "./state.js";

const TONES = { ready: "good", cooling: "warn", disabled: "off" };
const KINDS = [
  { kind: "account", title: "Logged in" },
  { kind: "key", title: "API keys in config.yaml" },
  { kind: "member", title: "Connected pages" },
  { kind: "demo", title: "Built in" },
];
const RELOADED_EVERY_MS = 10_000;
const NEARLY_USED = 0.8;
const EDITED = ["note", "prefix", "priority", "weight"];

export function accounts() {
  return {
    all: [],
    isRead: false,
    fault: "",
    notice: "",
    /** Troubles of one account: by its auth_index. */
    faults: {},
    busy: {},
    edited: null,
    draft: {},
    draftFault: "",

    init() {
      on("credential", (credential) => this.take(credential));
      on("credential-gone", ({ auth_index }) => this.drop(auth_index));
      on("hello", () => this.load());
      on("lagged", () => this.load());
      whenShown("accounts", () => {
        this.load();
        // Events tell what differs from the second before; what comes and goes in between stands in no event.
        const reloading = setInterval(() => this.load(), RELOADED_EVERY_MS);
        return () => clearInterval(reloading);
      });
    },

    async load() {
      try {
        this.all = (await get("credentials")).credentials;
        this.fault = "";
      } catch (error) {
        this.fault = error.message;
      }
      this.isRead = true;
    },
    take(credential) {
      const at = this.all.findIndex((known) => known.auth_index === credential.auth_index);
      if (at < 0) this.all.push(credential);
      else this.all[at] = credential;
    },
    drop(auth_index) {
      this.all = this.all.filter((known) => known.auth_index !== auth_index);
    },
    get kinds() {
      return KINDS.map(({ kind, title }) => ({ title, list: this.all.filter((one) => one.kind === kind) })).filter(
        ({ list }) => list.length,
      );
    },
    get hasOnlyDemo() {
      return this.isRead && this.all.every((one) => one.kind === "demo");
    },

    // ------------------------------------------------------------ how one is

    title: (one) => one.email || one.label,
    plan: (one) => one.plan || one.quota?.plan || "",
    tone: (one) => TONES[one.state] || "bad",
    /** Cooldowns say it themselves. */
    why: (one) => (["ready", "disabled"].includes(one.state) || one.cooldowns.length ? "" : one.reason),
    get now() {
      return Alpine.store("clock").now_s;
    },
    origin: (one) =>
      [one.name || one.base_url, one.linked ? "linked" : "", one.prefix ? `prefix ${one.prefix}` : "", one.note]
        .filter(Boolean)
        .join(" · "),
    rank: (one) =>
      [
        one.priority ? `priority ${one.priority}` : "",
        one.weight !== 1 && one.weight !== null ? `weight ${one.weight}` : "",
      ]
        .filter(Boolean)
        .join(" · "),
    token(one) {
      if (!one.expires_at_s) return "";
      const renewed = one.last_refresh_s ? `, renewed ${ago(one.last_refresh_s, this.now)}` : "";
      const until =
        one.expires_at_s > this.now ? `token good for ${left(one.expires_at_s - this.now)}` : "token has expired";
      return until + renewed;
    },
    windows: (one) => (one.quota?.windows || []).filter((window) => window.used !== null),
    fill,
    windowName: (window) => window.name.replaceAll("_", " "),
    used: (window) => `${share(window.used, 1)} used`,
    usedTone: (window) => (window.used >= 1 ? "bad" : window.used >= NEARLY_USED ? "warn" : "good"),
    resets(window) {
      return window.resets_at_s ? `resets in ${left(window.resets_at_s - this.now)}` : "";
    },
    asked(one) {
      return one.quota ? `asked ${ago(one.quota.asked_s, this.now)}` : "not asked yet";
    },
    /** Models that wait for the same reason and equally long stand together. */
    cooldowns(one) {
      const groups = new Map();
      for (const cooldown of one.cooldowns) {
        const key = [this.cooldownWhy(cooldown), this.cooldownLeft(cooldown)].join();
        if (!groups.has(key)) groups.set(key, { ...cooldown, key, models: [] });
        groups.get(key).models.push(cooldown.model || "every model");
      }
      return [...groups.values()];
    },
    cooldownOf: (cooldown) => cooldown.models.join(", "),
    cooldownWhy: (cooldown) => [cooldown.reason, cooldown.status || "", cooldown.message].filter(Boolean).join(" · "),
    cooldownLeft(cooldown) {
      const whole = `${left(cooldown.until_s - this.now)} left`;
      return cooldown.next_try_s < cooldown.until_s
        ? `${whole}, next try in ${left(cooldown.next_try_s - this.now)}`
        : whole;
    },
    cooldownUntil: (cooldown) => moment(cooldown.until_s),
    counts: (one) => `${count(one.success)} answered, ${count(one.failed)} failed`,
    /** Heights of the bars of the last hours, as shares of the highest. */
    bars(one) {
      const slots = one.recent_requests || [];
      const most = Math.max(1, ...slots.map((slot) => slot.success + slot.failed));
      return slots.map((slot, number) => ({
        number,
        good: { height: `${(100 * slot.success) / most}%` },
        bad: { height: `${(100 * slot.failed) / most}%` },
      }));
    },
    isBusy(one) {
      return one.auth_index in this.busy;
    },
    canRemove: (one) => one.kind === "account",
    canToggle: (one) => (one.kind === "account" && one.state !== "broken") || one.kind === "key",
    canEdit: (one) => one.kind === "account" && one.state !== "broken",

    // ------------------------------------------------------------ what to do with one

    async act(one, action) {
      this.busy[one.auth_index] = true;
      delete this.faults[one.auth_index];
      try {
        await action();
      } catch (error) {
        this.faults[one.auth_index] = error.message;
      }
      delete this.busy[one.auth_index];
    },
    async refresh(one) {
      const { credentials } = await get("credentials", { auth_index: one.auth_index });
      credentials.forEach((credential) => this.take(credential));
    },
    toggle(one) {
      return this.act(one, async () => {
        await patch("auth-files/status", { auth_index: one.auth_index, name: one.name, disabled: !one.disabled });
        await this.refresh(one);
      });
    },
    clear(one) {
      return this.act(one, async () => {
        await post("reset-quota", { auth_index: one.auth_index });
        await this.refresh(one);
      });
    },
    askQuota(one) {
      return this.act(one, async () => this.take(await post(`credentials/${one.auth_index}/quota`)));
    },
    renew(one) {
      return this.act(one, async () => this.take(await post(`credentials/${one.auth_index}/renew`)));
    },
    save(one) {
      return this.act(one, () => download("auth-files/download", { name: one.name }, one.name));
    },
    async discard(one) {
      const what = one.linked
        ? "The link is removed; the tool's own login stays."
        : "Its file is deleted. Download it first if you may want it back.";
      if (!(await ask(`Remove ${this.title(one)}?`, what, "Remove"))) return;
      await this.act(one, async () => {
        await remove("auth-files", { name: one.name });
        this.drop(one.auth_index);
      });
    },
    async upload(event) {
      const files = [...event.target.files];
      event.target.value = "";
      if (!files.length) return;
      this.fault = this.notice = "";
      const form = new FormData();
      for (const file of files) form.append("file", file, file.name);
      try {
        const { failed = [] } = await (await call("POST", "auth-files", { body: form })).json();
        this.fault = failed.map(({ name, error }) => `${name}: ${error}`).join(" · ");
        if (failed.length < files.length) this.notice = `${count(files.length - failed.length)} uploaded.`;
        await this.load();
      } catch (error) {
        this.fault = `${files.map(({ name }) => name).join(", ")}: ${error.message}`;
      }
    },

    edit(one) {
      this.edited = one;
      this.draftFault = "";
      this.draft = Object.fromEntries(EDITED.map((field) => [field, one[field] ?? ""]));
      document.getElementById("account-editor").showModal();
    },
    async saveEdited() {
      const numbers = {
        priority: Number(this.draft.priority || 0),
        weight: this.draft.weight === "" ? null : Number(this.draft.weight),
      };
      try {
        await patch("auth-files/fields", { ...this.draft, ...numbers, name: this.edited.name });
        document.getElementById("account-editor").close();
        await this.refresh(this.edited);
      } catch (error) {
        this.draftFault = error.message;
      }
    },
  };
}
