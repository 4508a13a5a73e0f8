// Models: what clients are offered, and by whom.

import { get } from "./api.js";
import { copy } from "./dialogs.js";
import { short } from "./format.js";
import { on, soon, whenShown } from "./state.js";

export function models() {
  return {
    all: [],
    search: "",
    isRead: false,
    fault: "",
    copied: "",

    init() {
      let isShown = false;
      const reload = soon(() => isShown && this.load());
      whenShown("models", () => {
        isShown = true;
        this.load();
        return () => (isShown = false);
      });
      for (const event of ["config", "credential-gone"]) on(event, reload);
    },
    async load() {
      try {
        this.all = (await get("models")).models;
        this.fault = "";
      } catch (error) {
        this.fault = error.message;
      }
      this.isRead = true;
    },
    get shown() {
      const words = this.search.toLowerCase().split(/\s+/).filter(Boolean);
      return this.all.filter((model) =>
        words.every((word) => `${model.id} ${model.display_name} ${model.provider}`.toLowerCase().includes(word)),
      );
    },
    title: (model) => (model.display_name && model.display_name !== model.id ? model.display_name : ""),
    context: (model) => short(model.context_tokens || null),
    output: (model) => short(model.max_output_tokens || null),
    thinking: (model) => (Array.isArray(model.thinking) ? model.thinking.join(", ") : model.thinking ? "yes" : ""),
    async copyId(model) {
      if (await copy(model.id)) this.copied = model.id;
    },
  };
}
