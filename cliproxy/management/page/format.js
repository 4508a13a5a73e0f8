// How figures are written: short, in fixed places, and a dash for what is not known.

const NONE = "–";

const wholes = new Intl.NumberFormat("en");
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const shares = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 1 });
const prices = new Intl.NumberFormat("en", { style: "currency", currency: "USD" });
const smallPrices = new Intl.NumberFormat("en", { style: "currency", currency: "USD", maximumSignificantDigits: 2 });
const days = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const clockWithSeconds = new Intl.DateTimeFormat(undefined, { timeStyle: "medium", hourCycle: "h23" });
const moments = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });

const isMissing = (value) => value === null || value === undefined;

/** 12345 → "12,345". */
export const count = (value) => (isMissing(value) ? NONE : wholes.format(value));

/** 12345 → "12.3K". */
export const short = (value) => (isMissing(value) ? NONE : compact.format(value));

/** US dollars; below a cent with two significant digits. */
export function usd(value) {
  if (isMissing(value)) return NONE;
  return (value !== 0 && Math.abs(value) < 0.01 ? smallPrices : prices).format(value);
}

/** 0.123 → "12.3%"; of nothing: a dash. */
export const share = (part, whole) => (whole ? shares.format(part / whole) : NONE);

/** How long something took: seconds → "340 ms", "3.2 s", "2 m 05 s". */
export function took(seconds) {
  if (isMissing(seconds)) return NONE;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)} m ${String(whole % 60).padStart(2, "0")} s`;
}

/** How long it is until something: seconds → "45 s", "12 m", "3 h 20 m", "6 d 4 h". */
export function left(seconds) {
  const whole = Math.max(0, Math.ceil(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.ceil(whole / 60);
  if (minutes < 60) return `${minutes} m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${minutes % 60} m`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** How long ago something was; UTC epoch seconds. */
export function ago(time_s, now_s) {
  if (!time_s) return "never";
  return now_s - time_s < 5 ? "now" : `${left(now_s - time_s)} ago`;
}

/** UTC epoch seconds → local time of day, with the date where that is not today. */
export function time(time_s) {
  if (!time_s) return NONE;
  const then = new Date(time_s * 1000);
  const isToday = then.toDateString() === new Date().toDateString();
  return isToday ? clockWithSeconds.format(then) : `${days.format(then)}, ${clock.format(then)}`;
}

/** UTC epoch seconds → local date and time. */
export const moment = (time_s) => (time_s ? moments.format(time_s * 1000) : NONE);

/** A tick of an axis: hours as the time of day, days as the date. */
export const tick = (time_s, isDay) => (isDay ? days : clock).format(time_s * 1000);

/** Bytes → "1.2 MB". */
export function size(bytes) {
  if (isMissing(bytes)) return NONE;
  if (bytes < 1000) return `${bytes} B`;
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** The style of the filled part of a gauge. */
export const fill = (part) => ({ inlineSize: `${100 * Math.min(1, Math.max(0, part))}%` });
