/** The page's own small vocabulary. Whatever came from a server is shown as text, never as markup. */

export const byId = (id) => document.getElementById(id);

/** A new element; strings among the children become text. */
export function element(tag, className = "", ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** Rows of a description list: pairs of a term and a text, or a term, a text and a class. */
export function describe(list, rows) {
  list.replaceChildren(...rows.map(([term, text, className]) =>
    element("div", "", element("dt", "", term), element("dd", className, text))));
}

/** "54 s", "29:41", "11:59:03": whole seconds, never below zero. */
export function clock(seconds) {
  const whole = Math.max(0, Math.ceil(seconds));
  if (whole < 60) return `${whole} s`;
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (parts[0] === 0) parts.shift();
  return parts.map((part, place) => (place ? String(part).padStart(2, "0") : part)).join(":");
}

/** Lets a screen reader say it; the page shows it elsewhere. */
export const say = (text) => { byId("said").textContent = text; };

/** One entry in the activity panel, newest first; `took` is in milliseconds. */
export function log(what, { outcome = "", className = "", took = null } = {}) {
  const now = new Date();
  const time = element("time", "", now.toLocaleTimeString([], { hour12: false }));
  time.dateTime = now.toISOString();
  const detail = took === null ? [] : [element("small", "", `${Math.round(took)} ms`)];
  const panel = byId("log");
  panel.prepend(element("li", className, time, element("span", "", what, ...detail), element("b", "", outcome)));
  while (panel.children.length > 60) panel.lastChild.remove();
}

/** A problem above everything else, until it is dismissed or over. */
export function notice(text) {
  byId("notice-text").textContent = text;
  byId("notice").hidden = text === "";
}

/** Starts a CSS animation anew. */
export function flash(target, className, milliseconds) {
  target.classList.remove(className);
  void target.offsetWidth; // the browser has to see it gone
  target.classList.add(className);
  setTimeout(() => target.classList.remove(className), milliseconds);
}
