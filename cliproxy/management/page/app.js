// The dashboard: puts the sections together and starts the page.

import Alpine from "./vendor/alpine.js";
import { key } from "./api.js";
import { accounts } from "./accounts.js";
import { config } from "./config.js";
import { registerDialogs } from "./dialogs.js";
import { keys } from "./keys.js";
import { live } from "./live.js";
import { login } from "./login.js";
import { logs } from "./logs.js";
import { models } from "./models.js";
import { registerStores } from "./state.js";
import { usage } from "./usage.js";

/** The form in which the management key is entered. */
function entrance() {
  return {
    typed: "",
    enter() {
      key.set(this.typed.trim());
      this.typed = "";
      return this.$store.session.open();
    },
  };
}

/** Light, dark, or as the system is. */
function appearance() {
  return {
    theme: window.theme.chosen,
    choose() {
      window.theme.chosen = this.theme;
      dispatchEvent(new Event("themechange"));
    },
    init() {
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
        dispatchEvent(new Event("themechange")),
      );
    },
  };
}

for (const [name, section] of Object.entries({
  accounts,
  appearance,
  config,
  entrance,
  keys,
  live,
  login,
  logs,
  models,
  usage,
})) {
  Alpine.data(name, section);
}
registerDialogs();
registerStores();
Alpine.start();
