// Adding an account: choose whose and how, act where the provider says, and wait for what comes of it.

import Alpine from "./vendor/alpine.js";
import { get, post, remove } from "./api.js";
import { copy } from "./dialogs.js";
import { left } from "./format.js";
import { on } from "./state.js";

const FLOWS = {
  browser: "In the browser",
  device: "With a code",
  "codex-device": "With a code",
  token: "Paste a token",
  "api-key": "Paste an API key",
  "service-account": "Paste a service account's key file",
};
const PASTED = ["token", "api-key", "service-account"];
const ASKED_EVERY_MS = 2000;
const LOOPBACK = ["127.0.0.1", "localhost", "[::1]"];

export function login() {
  return {
    providers: [],
    provider: null,
    flow: "",
    /** What the API answered when the login began. */
    begun: null,
    /** "choose", "wait" or "done". */
    step: "choose",
    pasted: "",
    secret: "",
    fault: "",
    isBusy: false,
    isCopied: false,
    expires_at_s: null,

    init() {
      on("login", (login) => this.begun && login.state === this.begun.state && this.settle(login));
    },

    async open() {
      Object.assign(this, { provider: null, flow: "", begun: null, step: "choose", pasted: "", secret: "", fault: "" });
      this.dialog.showModal();
      await this.try(
        async () => (this.providers = (await get("providers")).providers.filter((one) => one.flows.length)),
      );
    },
    get dialog() {
      return document.getElementById("login-dialog");
    },
    close() {
      this.dialog.close();
    },
    /** However the dialog was closed: a login that nobody waits for is given up. */
    closed() {
      if (this.step === "wait") giveUp(this.begun.state);
      this.step = "choose";
      this.begun = null;
      this.secret = "";
    },

    choose(provider) {
      this.provider = provider;
      this.fault = "";
      this.flow = provider.possible[0] || "";
    },
    isChosen(provider) {
      return this.provider?.name === provider.name;
    },
    get ways() {
      return (this.provider?.flows || []).map((flow) => ({
        flow,
        title: FLOWS[flow] || flow,
        isPossible: this.provider.possible.includes(flow),
      }));
    },
    get needsClient() {
      return this.ways.some((way) => !way.isPossible);
    },
    get clientSetting() {
      return this.provider ? `providers.${this.provider.name}.oauth.client-id` : "";
    },
    get isPasted() {
      return PASTED.includes(this.flow);
    },
    get secretLabel() {
      return { token: "Token", "api-key": "API key", "service-account": "JSON of the key file" }[this.flow] || "";
    },
    get isDevice() {
      return this.begun?.flow === "device";
    },
    get left() {
      return this.expires_at_s ? left(this.expires_at_s - Alpine.store("clock").now_s) : "";
    },

    async begin() {
      const { provider, flow } = this;
      await this.try(async () => {
        if (this.isPasted) {
          await post("logins", { provider: provider.name, flow, secret: this.secret });
          this.secret = "";
          this.step = "done";
          return;
        }
        const is_webui = LOOPBACK.includes(location.hostname) ? 1 : "";
        const begun = await get(provider.auth_url || `${provider.name}-auth-url`, { is_webui, flow });
        if (!this.dialog.open) return giveUp(begun.state);
        this.begun = begun;
        this.expires_at_s = this.begun.expires_in ? Date.now() / 1000 + this.begun.expires_in : null;
        this.step = "wait";
        this.watch(this.begun.state);
      });
    },

    /** Ask now and then: an event may be missed. */
    async watch(state) {
      while (this.step === "wait" && this.begun?.state === state) {
        await new Promise((resolve) => setTimeout(resolve, ASKED_EVERY_MS));
        if (this.step !== "wait" || this.begun?.state !== state) return;
        await get("get-auth-status", { state }).then(
          (answer) => this.settle(answer),
          () => {},
        );
      }
    },
    settle({ status, error }) {
      if (this.step !== "wait" || status === "wait") return;
      this.step = status === "ok" ? "done" : "choose";
      this.fault = status === "ok" ? "" : `The login failed: ${error || "nobody knows why"}.`;
      this.begun = null;
    },

    paste() {
      return this.try(async () => {
        await post("oauth-callback", {
          provider: this.provider.name,
          state: this.begun.state,
          redirect_url: this.pasted,
        });
        this.pasted = "";
      });
    },
    async copyCode() {
      this.isCopied = await copy(this.begun.user_code);
      setTimeout(() => (this.isCopied = false), 2000);
    },

    async try(action) {
      this.fault = "";
      this.isBusy = true;
      try {
        await action();
      } catch (error) {
        this.fault = error.message;
      }
      this.isBusy = false;
    },
  };
}

/** Have a login end that nobody waits for; the gateway ends it by itself later where it cannot be told. */
const giveUp = (state) => remove("oauth-session", { state }).catch(() => {});
