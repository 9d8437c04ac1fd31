/** The live view of the session: what the proxy said last, counted down every second in between. */

import { byId, clock, describe, flash, log, say } from "/page.js";

let shown = null; // the session of the last answer
let heardAt = 0; // when it came, on the clock that cannot be set
let longest = { token: 1, idle: 1 }; // the most that was ever left: what a full ring or bar means

/** Takes an answer of `/bff/user`. */
export function showSession({ sub, claims, session }) {
  if (shown?.id !== session.id) {
    longest = { token: 1, idle: 1 };
    describe(byId("claims"), [["sub", sub], ...Object.entries(claims).filter(([name]) => name !== "sub").map(
      ([name, value]) => [name, inWords(name, value)])]);
    const name = String(claims.name ?? claims.preferred_username ?? claims.email ?? sub);
    byId("account-name").textContent = name;
    byId("avatar").textContent = name.split(/\s+/).slice(0, 2).map((word) => word[0]).join("").toUpperCase();
    byId("session-id").textContent = session.id;
    byId("created").textContent = new Date(session.created_at * 1000).toLocaleTimeString([], { hour12: false });
  } else if (session.rotations > shown.rotations) {
    flash(byId("rotations"), "pulse", 1600);
    flash(byId("path"), "rotated", 1600);
    log(`tokens rotated: ${shown.rotations} → ${session.rotations}`, { className: "event" });
    say(`The tokens were rotated. Rotations so far: ${session.rotations}.`);
  }
  byId("rotations").textContent = session.rotations;
  shown = session;
  heardAt = performance.now();
  longest.token = Math.max(longest.token, session.access_token_expires_in ?? 0);
  longest.idle = Math.max(longest.idle, session.idle_expires_in);
  tick();
}

/** Nothing of the session stays on the page. */
export function forgetSession() {
  shown = null;
  for (const id of ["claims", "account-name", "avatar", "session-id", "created", "rotations", "log",
    "token-left", "idle-left", "life-left"]) byId(id).replaceChildren();
}

/** Draws what is left at this moment. */
export function tick() {
  if (!shown) return;
  const passed = (performance.now() - heardAt) / 1000;
  const token = (shown.access_token_expires_in ?? 0) - passed;
  const ring = byId("token-ring");
  ring.style.setProperty("--part", part(token, longest.token));
  ring.classList.toggle("low", token > 0 && token < longest.token / 4);
  ring.classList.toggle("over", token <= 0);
  byId("token-left").textContent = token > 0 ? clock(token) : "over";
  byId("token-hint").textContent = token > 0
    ? "Looking at it, as this page does every two seconds, does not keep it alive: only calls do."
    : "The access token's time is over. The next call rotates it first, and does not notice.";
  bar("idle", shown.idle_expires_in - passed, longest.idle);
  const life = Date.now() / 1000 - shown.created_at + shown.expires_in - passed;
  bar("life", shown.expires_in - passed, Math.max(life, 1));
}

function bar(name, left, whole) {
  const meter = byId(`${name}-bar`);
  meter.style.setProperty("--part", part(left, whole));
  meter.setAttribute("aria-valuenow", Math.round(part(left, whole) * 100));
  meter.setAttribute("aria-valuetext", clock(left));
  byId(`${name}-left`).textContent = clock(left);
}

/** A claim's value as people write it: times by the clock, lists with commas. */
function inWords(name, value) {
  if (Number.isFinite(value) && /_(time|at)$/.test(name)) return new Date(value * 1000).toLocaleString([], { hour12: false });
  if (Array.isArray(value)) return value.join(", ");
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

const part = (left, whole) => Math.min(1, Math.max(0, left / whole));
