// Keys: who may use the gateway, and how much. A key itself is seen once, when it is made.

import { get, patch, remove } from "./api.js";
import { ask, copy } from "./dialogs.js";
import { count, fill, usd } from "./format.js";
import { on, whenShown } from "./state.js";

const KEY_BYTES = 24;
/** The time of day where only a day is meant. */
const MIDNIGHT = "T00:00:00+00:00";

export function keys() {
  return {
    all: [],
    isRead: false,
    fault: "",
    draft: emptyDraft(),
    draftFault: "",
    /** A key that was made just now. */
    made: "",
    isCopied: false,

    init() {
      let isShown = false;
      whenShown("keys", () => {
        isShown = true;
        this.load();
        return () => {
          isShown = false;
          this.made = "";
        };
      });
      on("config", () => isShown && this.load());
    },
    async load() {
      try {
        this.all = (await get("client-keys"))["client-keys"];
        this.fault = "";
      } catch (error) {
        this.fault = error.message;
      }
      this.isRead = true;
    },

    name: (one) => one.name || "(no name)",
    may: (one) => [...one.models, ...one.providers.map((provider) => `${provider}/*`)].join(", ") || "everything",
    /** Those that stand in config.yaml. */
    canEdit: (one) => one.index !== null,
    limits: (one) =>
      [one.rpm ? `${count(one.rpm)} requests/min` : "", one.tpm ? `${count(one.tpm)} tokens/min` : ""]
        .filter(Boolean)
        .join("\n") || "none",
    spent: (one) => (one.budget_usd ? `${usd(one.spent_usd)} of ${usd(one.budget_usd)}` : "none"),
    spentShare: (one) => Math.min(1, one.spent_usd / one.budget_usd),
    fill,
    spentTone: (one) =>
      one.spent_usd >= one.budget_usd ? "bad" : one.spent_usd >= 0.8 * one.budget_usd ? "warn" : "good",
    expires: (one) => (one.expires ? one.expires.replace(MIDNIGHT, "").replace("T", " ") : "never"),

    get isNew() {
      return this.draft.index === null;
    },
    add() {
      this.edit({ ...emptyDraft(), key: freshKey() });
    },
    change(one) {
      this.edit({
        ...one,
        models: one.models.join(", "),
        providers: one.providers.join(", "),
        expires: one.expires || "",
        key: "",
      });
    },
    edit(draft) {
      this.draft = draft;
      this.draftFault = "";
      document.getElementById("key-editor").showModal();
    },
    async save() {
      const { draft } = this;
      const value = filled({
        name: draft.name.trim(),
        models: words(draft.models),
        providers: words(draft.providers),
        rpm: Number(draft.rpm),
        tpm: Number(draft.tpm),
        budget_usd: Number(draft.budget_usd),
        expires: draft.expires.trim(),
      });
      try {
        // What is not there to be replaced is added.
        if (this.isNew) await patch("api-keys", { old: draft.key, new: { ...value, key: draft.key } });
        // Without a key in it, the key stays.
        else await patch("api-keys", { index: draft.index, value });
        document.getElementById("key-editor").close();
        this.made = this.isNew ? draft.key : "";
        await this.load();
      } catch (error) {
        this.draftFault = error.message;
      }
    },
    async discard(one) {
      const words = "Whoever uses it is refused from now on. What it has spent stays in the ledger.";
      if (!(await ask(`Remove the key ${one.name || one.mask}?`, words, "Remove"))) return;
      try {
        await remove("api-keys", { index: one.index });
        await this.load();
      } catch (error) {
        this.fault = error.message;
      }
    },
    async copyMade() {
      this.isCopied = await copy(this.made);
    },
  };
}

const emptyDraft = () => ({
  index: null,
  name: "",
  key: "",
  models: "",
  providers: "",
  rpm: "",
  tpm: "",
  budget_usd: "",
  expires: "",
});

/** What says something: the file need not hold what is the default. */
const filled = (value) =>
  Object.fromEntries(Object.entries(value).filter(([, one]) => (Array.isArray(one) ? one.length : one)));

const words = (text) => text.split(/[\s,]+/).filter(Boolean);

function freshKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(KEY_BYTES));
  return `sk-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
