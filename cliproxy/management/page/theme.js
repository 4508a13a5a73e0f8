// Light or dark, as the user chose or else as the system is. Loaded before the style sheet, so that nothing flashes.

(function () {
  const STORED = "cliproxy.theme";
  const root = document.documentElement;

  window.theme = {
    /** "light", "dark", or "" for the system's. */
    get chosen() {
      return root.dataset.theme || "";
    },
    set chosen(theme) {
      root.dataset.theme = theme;
      localStorage.setItem(STORED, theme);
    },
  };
  root.dataset.theme = localStorage.getItem(STORED) || "";
})();
