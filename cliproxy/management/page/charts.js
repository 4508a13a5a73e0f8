// Charts in the page's own colours. Chart.js is loaded by the page before its modules.

const { Chart } = globalThis;

const probe = document.body.appendChild(document.createElement("span"));
probe.hidden = true;

/** What a colour of the style sheet is now: a canvas knows no variables. */
function colour(name) {
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}

/** How many groups have a colour of their own; what comes after has the last. */
export const SERIES = 8;

/** The colour of the n-th group of a chart. */
export const series = (number) => colour(`--series-${Math.min(number, SERIES - 1)}`);

/**
 * Draw stacked bars over time.
 * labels: of the bars. groups: [{name, values}], a value a bar. write: a value → text.
 * Returns the Chart; `destroy()` it before another is drawn on the canvas.
 */
export function stackedBars(canvas, labels, groups, write) {
  const datasets = groups.map(({ name, values }, number) => ({
    label: name,
    data: values,
    backgroundColor: series(number),
    maxBarThickness: 36,
    borderRadius: 2,
  }));
  return new Chart(canvas, {
    type: "bar",
    data: { labels, datasets },
    options: options(write, { isStacked: true }),
  });
}

/** Draw lines over time; arguments as those of `stackedBars`. */
export function lines(canvas, labels, groups, write) {
  const datasets = groups.map(({ name, values }, number) => ({
    label: name,
    data: values,
    borderColor: series(number),
    backgroundColor: series(number),
    borderWidth: 2,
    pointRadius: 2,
    spanGaps: true,
    tension: 0.2,
  }));
  return new Chart(canvas, { type: "line", data: { labels, datasets }, options: options(write, { isStacked: false }) });
}

function options(write, { isStacked }) {
  const text = colour("--muted");
  const grid = { color: colour("--line"), drawTicks: false };
  const font = { family: getComputedStyle(document.body).fontFamily, size: 11 };
  return {
    animation: false,
    maintainAspectRatio: false,
    interaction: { mode: "index", intersect: false },
    scales: {
      x: {
        stacked: isStacked,
        grid: { display: false },
        border: { color: grid.color },
        ticks: { color: text, font, maxRotation: 0, autoSkipPadding: 14 },
      },
      y: {
        stacked: isStacked,
        beginAtZero: true,
        grid,
        border: { display: false },
        ticks: { color: text, font, padding: 6, maxTicksLimit: 6, callback: write },
      },
    },
    plugins: {
      // The table below says the same to those who cannot see it, and which colour is whose.
      legend: { display: false },
      tooltip: {
        backgroundColor: colour("--tip"),
        titleColor: colour("--tip-text"),
        bodyColor: colour("--tip-text"),
        bodyFont: font,
        filter: (item) => item.raw,
        callbacks: { label: (item) => ` ${item.dataset.label}: ${write(item.raw)}` },
      },
    },
  };
}
