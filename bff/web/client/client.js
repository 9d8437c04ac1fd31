/**
 * The browser's side of the session proxy: a module without dependencies, served at `/bff/client.js`.
 *
 *     import { bffFetch, login, logout, onSessionEnded, user } from "/bff/client.js";
 *
 * It keeps nothing: no token ever reaches the page, and the session is a cookie that scripts cannot read.
 * Types are in `client.d.ts` beside it.
 */

const BASE = "/bff";
const CSRF_HEADER = "X-CSRF"; // a custom header: no foreign page can send it without being asked (RFC 10017, 6.1.3.3)
const TAKEN = ["/bff"]; // the proxy's own paths and its routes: no sign-in leads there

/** An answer that says that something went wrong. `code` is the proxy's own word where it made the answer. */
export class BffError extends Error {
  constructor(status, problem = {}) {
    super(problem.detail || problem.title || `HTTP status ${status}`);
    this.name = "BffError";
    this.status = status;
    this.code = problem.code ?? "http_error";
    this.reason = problem.reason ?? null;
    this.problem = problem;
  }

  /** True when there is no session (any more), so that signing in again is the way on. */
  get signedOut() {
    return this.status === 401 && this.code.startsWith("session_");
  }

  /** Reads an answer's problem document (RFC 9457); the answer itself stays readable. */
  static async from(response) {
    const type = response.headers.get("content-type") ?? "";
    let problem = {};
    // A backend's own problem documents carry its own codes: they never speak for the session.
    if (type.startsWith("application/problem+json") && !response.headers.has("BFF-Upstream")) {
      problem = await response.clone().json().catch(() => ({}));
    }
    return new BffError(response.status, problem);
  }
}

let signedInAs = null; // the `sub` that the proxy named last; this page shows that person's data
let leaving = false; // a navigation to sign-in or sign-out is under way: one is enough
const watchers = new Set();

/**
 * `fetch`, with the CSRF header on requests to this origin. Where the session is gone it leaves for
 * sign-in and rejects with a `BffError`; with `signIn: false` it hands the 401 back instead. A
 * backend's own 401 is an answer like any other.
 */
export async function bffFetch(input, { signIn = true, ...init } = {}) {
  const request = new Request(input, init);
  if (new URL(request.url).origin === location.origin) request.headers.set(CSRF_HEADER, "1");
  const response = await fetch(request);
  if (response.status !== 401) return response;
  const error = await BffError.from(response);
  if (!error.signedOut) return response;
  noticeEnd(error.code, error.reason);
  if (!signIn) return response;
  // After a refused sign-in, trying again at once would only go in circles: the page has to say it first.
  if (!new URLSearchParams(location.search).has("bff_error")) {
    await whenVisible();
    if (!leaving) login();
  }
  throw error;
}

export { bffFetch as fetch };

/** Who is signed in, or `null`. With `slide: false` asking does not count as the user's activity. */
export async function user({ slide = true } = {}) {
  const response = await bffFetch(`${BASE}/user${slide ? "" : "?slide=false"}`, { signIn: false });
  return (await BffError.from(response)).signedOut ? null : readUser(response);
}

/** Rotates the tokens and reads the claims anew, now; answers as `user()`. */
export async function refresh() {
  return readUser(await bffFetch(`${BASE}/refresh`, { method: "POST", signIn: false }));
}

/** Leaves for sign-in; `returnTo` is a path of this site, by default the present one. Else it leads to `/`. */
export function login(returnTo = here(), parameters = {}) {
  leave();
  location.assign(`${BASE}/login?${new URLSearchParams({ ...parameters, return_to: isReturnTo(returnTo) ? returnTo : "/" })}`);
}

/** Ends the session, then leaves for the provider's sign-out. */
export async function logout() {
  leave(); // this end is no news
  const response = await bffFetch(`${BASE}/logout`, { method: "POST", signIn: false });
  if (!response.ok && response.status !== 401) {
    leaving = false;
    throw await BffError.from(response);
  }
  const { redirect = "/" } = response.ok ? await response.json() : {};
  leaveFor(redirect);
}

/** The user's sessions, this browser's first. With `slide: false` asking does not count as the user's activity. */
export async function sessions({ slide = true } = {}) {
  const response = await bffFetch(`${BASE}/sessions${slide ? "" : "?slide=false"}`, { signIn: false });
  return (await readAnswer(response)).sessions;
}

/** Ends one of them; where it is this browser's own, that is a sign-out, and the page is left as by `logout()`. */
export async function endSession(id) {
  const path = `${BASE}/sessions/${encodeURIComponent(id)}`;
  const { redirect } = await readAnswer(await bffFetch(path, { method: "DELETE", signIn: false }));
  if (redirect) leaveFor(redirect);
}

/** Ends all of them but this browser's own; answers with how many there were. */
export async function endOtherSessions() {
  return (await readAnswer(await bffFetch(`${BASE}/sessions`, { method: "DELETE", signIn: false }))).ended;
}

/**
 * Calls back with `{code, reason}` once the session is found to have ended, or to be another
 * person's; answers with a function that stops the watch. `interval` is in milliseconds.
 */
export function onSessionEnded(callback, { interval = 30_000 } = {}) {
  watchers.add(callback);
  const stopLooking = lookNowAndThen(interval);
  return () => {
    watchers.delete(callback);
    stopLooking();
  };
}

/** Asks the proxy at intervals while the page is seen, and at once when it is seen again. */
function lookNowAndThen(interval) {
  let timer;
  const look = async (event) => {
    if (event?.type === "pageshow" && !event.persisted) return; // a fresh page, not one from the history
    clearTimeout(timer);
    let next = interval;
    if (document.visibilityState === "visible" && !leaving) {
      // Unreachable, or 503, says nothing about the session.
      const now = await user({ slide: false }).catch(() => null);
      if (now) next = Math.min(interval, Math.min(now.session.idle_expires_in, now.session.expires_in) * 1000 + 500);
    }
    clearTimeout(timer); // another look may have begun meanwhile
    if (!stopped.signal.aborted) timer = setTimeout(look, next);
  };
  const stopped = new AbortController();
  for (const type of ["focus", "online", "pageshow"]) {
    addEventListener(type, look, { signal: stopped.signal });
  }
  document.addEventListener("visibilitychange", look, { signal: stopped.signal });
  timer = setTimeout(look, interval);
  return () => {
    stopped.abort();
    clearTimeout(timer);
  };
}

/** The JSON of a good answer; else a `BffError`. */
async function readAnswer(response) {
  if (!response.ok) throw await BffError.from(response);
  return response.json();
}

async function readUser(response) {
  const answer = await readAnswer(response);
  if (signedInAs !== null && signedInAs !== answer.sub) noticeEnd("session_ended", "signed_in_again");
  signedInAs = answer.sub;
  return answer;
}

/** Tells the watchers, once; a visitor who never was signed in has lost nothing. */
function noticeEnd(code, reason) {
  if (leaving || (signedInAs === null && code === "session_missing")) return;
  signedInAs = null;
  for (const callback of [...watchers]) callback({ code, reason });
}

/** Leaves after a sign-out, for the provider's. */
function leaveFor(redirect) {
  leave();
  signedInAs = null;
  location.assign(redirect);
}

/** Quiet until the navigation has happened, and no longer: it may come to nothing. */
function leave() {
  leaving = true;
  setTimeout(() => { leaving = false; }, 5000);
}

/** This page's path. */
function here() {
  const url = new URL(location.href);
  if (url.searchParams.has("bff_error")) url.searchParams.delete("bff_error");
  return (url.pathname + url.search + url.hash).replaceAll("\\", "%5C"); // queries may hold it bare
}

/** Whether the proxy takes this as `return_to`; it decodes as often, and one list of cases tests both. */
function isReturnTo(value) {
  let path = value.split(/[?#]/, 1)[0];
  if (value.length > 1024 || !/^\/[!-[\]-~]*$/.test(value) || /%(?![0-9a-f]{2})/i.test(path)) return false;
  for (let round = 0, encoded; round < 4; round += 1) {
    if (isOdd(path) || isOdd(path.normalize("NFKC"))) return false;
    try { path = (encoded = path).replace(/(?:%[0-9a-f]{2})+/gi, decodeURIComponent); } catch { return false; }
    if (path === encoded) return true;
  }
  return false;
}

/** Whether some reader would see dots, slashes or escapes in this path, or one of the proxy's own. */
function isOdd(path) {
  const bytes = String.fromCharCode(...new TextEncoder().encode(path)).replace(/[\x00-\x20\x7f-\xa0]/g, "");
  const reading = bytes.replace(/;[^/]*/g, "").replace(/\/+/g, "/").toLowerCase();
  return /\/\/|[\\\uff05\ufe6a\p{Cc}\p{Zl}\p{Zp}]/u.test(path) || /\/\.\.?(?:\/|$)/.test(reading)
    || TAKEN.some((taken) => taken === "/" || `${reading}/`.startsWith(`${taken}/`));
}

/** Tabs in the background wait, or all of them would start a sign-in at the same moment. */
function whenVisible() {
  return new Promise((resolve) => {
    const look = () => {
      if (document.visibilityState !== "visible") return;
      resolve(document.removeEventListener("visibilitychange", look));
    };
    document.addEventListener("visibilitychange", look);
    look();
  });
}
