// Dialogs: one question at a time, asked by any section, and what opens and closes a section's own.

import Alpine from "./vendor/alpine.js";

const question = {
  title: "",
  text: "",
  action: "",
  answer: () => {},

  /** Ask before something is done; resolves to whether to do it. action: what the button says. */
  ask(title, text, action) {
    Object.assign(this, { title, text, action });
    document.getElementById("question").showModal();
    return new Promise((resolve) => (this.answer = resolve));
  },
  yes() {
    this.answer(true);
    document.getElementById("question").close();
  },
  /** Whatever closes the dialog otherwise. */
  closed() {
    this.answer(false);
  },
};

/** Register what the page's expressions call `$store.question`, and what closes dialogs. */
export function registerDialogs() {
  Alpine.store("question", question);
  document.addEventListener("click", (event) => {
    const closing = event.target.closest("[data-closes]");
    if (closing) document.getElementById(closing.dataset.closes).close();
  });
}

export const ask = (title, text, action) => Alpine.store("question").ask(title, text, action);

/** Put a text on the clipboard; resolves to whether that was allowed. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
