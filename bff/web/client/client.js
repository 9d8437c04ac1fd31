/**
 * The browser's side of the session proxy: a module without dependencies, from `/bff/client.js` and from npm.
 *
 *     import { bffFetch, login, logout, onSessionEnded, user } from "@bff/client"; // or "/bff/client.js"
 *
 * It keeps nothing: no token ever reaches the page, and the session is a cookie that scripts cannot read.
 * The tabs of a browser share one stream of `/bff/events`: one of them reads it, and tells the others.
 * Types, and the meaning of each setting, are in `client.d.ts` beside it. The proxy serves its own settings.
 */

import { isReturnTo } from "./return_to.js";

const settings = { base: "/bff", csrfHeader: "X-CSRF", heartbeat: 20, notice: 120, taken: ["/bff"] };

/** An answer that says that something went wrong. `code` is the proxy's own word where it made the answer. */
export class BffError extends Error {
  constructor(status, problem = {}) {
    super(problem.detail || problem.title || `HTTP status ${status}`);
    const { code = "http_error", reason = null } = problem;
    Object.assign(this, { name: "BffError", status, code, reason, problem });
  }

  /** True when there is no session (any more), so that signing in again is the way on. */
  get signedOut() { return this.status === 401 && this.code.startsWith("session_"); }

  /** Reads an answer's problem document (RFC 9457); the answer itself stays readable. */
  static async from(response) {
    // A backend's own problem documents carry its own codes: they never speak for the session.
    const ours = response.headers.get("content-type")?.startsWith("application/problem+json") && !response.headers.has("BFF-Upstream");
    return new BffError(response.status, ours ? await response.clone().json().catch(() => ({})) : {});
  }
}

let signedInAs = null; // the `sub` that the proxy named last; this page shows that person's data
let leaving = false; // a navigation to sign-in or sign-out is under way: one is enough
let refused = false; // this page has read in its address that a sign-in came to nothing
const listeners = { ended: new Set(), ending: new Set(), extended: new Set(), refreshed: new Set() };
let known = { id: null, rotations: 0, ending: null, over: false }; // of the session, as its listeners were told
let watch = null; // while there are listeners
let succession = null; // while a new sign-in's cookie is waited for: what `supplanted` will say

/** Changes settings of a bundled copy, where they are not the defaults at the proxy. */
export function configure(changes) { Object.assign(settings, changes); }

/** The CSRF header for a request to this origin, which no foreign page can send unasked (RFC 10017, 6.1.3.3); else none. */
export function csrfHeaders(url = "") {
  return new URL(url, document.baseURI).origin === location.origin ? { [settings.csrfHeader]: "1" } : {};
}

/** `fetch`, with the CSRF header on requests to this origin, and `checkSession` on their answers. */
export async function bffFetch(input, { signIn = true, ...init } = {}) {
  let ours;
  const send = async () => {
    const request = new Request(input, init);
    ours = Object.entries(csrfHeaders(request.url));
    for (const [name, value] of ours) request.headers.set(name, value);
    return fetch(request);
  };
  const response = await send();
  return ours.length ? judged(response, signIn, send) : response;
}

/**
 * Looks at an answer of this origin. Where it says that the session is gone, the page leaves for sign-in, and this
 * rejects with a `BffError`; with `signIn: false` the answer is handed back instead, as any other one is.
 */
export function checkSession(response, { signIn = true } = {}) { return judged(response, signIn); }

async function judged(response, signIn, repeat, pauses = [300, 1000, 3000]) {
  if (response.status !== 401) return response;
  const error = await BffError.from(response);
  // The browser registers or renews its device's proof beside the page: nothing of the call was done, so it is asked again.
  if (error.code === "binding_required" && repeat && pauses.length) return rest(pauses[0]).then(repeat).then((again) => judged(again, signIn, repeat, pauses.slice(1)), () => { throw error; });
  const stepUp = error.code === "step_up_required" && signIn;
  if (!stepUp && !error.signedOut && (error.reason !== "not_proved" || !repeat)) return response;
  if (error.reason === "signed_in_again" && !leaving && (await (succession ??= supplanted(error.code)))) {
    // Nothing of the call was done, and the new cookie is here. A body that is used up cannot be sent again.
    if (repeat) return judged(await repeat().catch(() => { throw error; }), signIn);
    if (signIn) throw error;
    return response;
  }
  if (!stepUp) noticeEnd(error.code, error.reason);
  if (!signIn) return response;
  // After a refused sign-in, trying again at once would only go in circles: the page has to say it first.
  if (!refused && !new URLSearchParams(location.search).has("bff_error")) {
    await whenVisible();
    if (!leaving) login(here(), stepUp ? Object.fromEntries(new URL(error.problem.login_url, location).searchParams) : {});
  }
  throw error;
}
export { bffFetch as fetch };

/** Why a sign-in came to nothing: the `bff_error` of this page's address, which is taken out of it; else `null`. */
export function signInError() {
  const url = new URL(location.href), code = url.searchParams.get("bff_error");
  url.searchParams.delete("bff_error");
  if (code !== null) history.replaceState(history.state, "", url);
  refused ||= code !== null;
  return code;
}

/** Who is signed in, or `null`. With `slide: false` asking does not count as the user's activity. */
export async function user({ slide = true } = {}) {
  const answer = await readAnswer(await bffFetch(`${settings.base}/user?anonymous=ok${slide ? "" : "&slide=false"}`, { signIn: false }));
  const found = answer.signed_in !== false ? answer : answer.reason === "signed_in_again" && (await successor());
  return found ? readUser(found) : noticeEnd(answer.code, answer.reason ?? null) ?? null;
}

/** Rotates the tokens and reads the claims anew, now; answers as `user()`. */
export async function refresh() {
  return readUser(await readAnswer(await bffFetch(`${settings.base}/refresh`, { method: "POST", signIn: false })));
}

/** Leaves for sign-in; `returnTo` is a path of this site, by default the present one. Else it leads to `/`. */
export function login(returnTo = here(), parameters = {}) {
  leave();
  location.assign(`${settings.base}/login?${new URLSearchParams({ ...parameters, return_to: isReturnTo(returnTo, settings.taken) ? returnTo : "/" })}`);
}

/** Ends the session, then leaves for the provider's sign-out. */
export async function logout() {
  leave(); // this end is no news
  const response = await bffFetch(`${settings.base}/logout`, { method: "POST", signIn: false });
  if (!response.ok && response.status !== 401) {
    leaving = false;
    throw await BffError.from(response);
  }
  const { redirect = "/" } = response.ok ? await response.json() : {};
  leaveFor(redirect);
}

/** The user's sessions, this browser's first. With `slide: false` asking does not count as the user's activity. */
export async function sessions({ slide = true } = {}) {
  const response = await bffFetch(`${settings.base}/sessions${slide ? "" : "?slide=false"}`, { signIn: false });
  return (await readAnswer(response)).sessions;
}

/** Ends one of them; where it is this browser's own, that is a sign-out, and the page is left as by `logout()`. */
export async function endSession(id) {
  const path = `${settings.base}/sessions/${encodeURIComponent(id)}`;
  const { redirect } = await readAnswer(await bffFetch(path, { method: "DELETE", signIn: false }));
  if (redirect) leaveFor(redirect);
}

/** Ends all of them but this browser's own; answers with how many there were. */
export async function endOtherSessions() {
  return (await readAnswer(await bffFetch(`${settings.base}/sessions`, { method: "DELETE", signIn: false }))).ended;
}

/**
 * Calls back with `{code, reason}` once the session has ended, or is found to be another person's; answers with
 * a function that stops it. Where the proxy cannot tell, it is asked every `interval` milliseconds.
 */
export function onSessionEnded(callback, { interval = 30_000 } = {}) { return listen("ended", callback, interval); }

/** Calls back with `{seconds, reason}` when the session is about to end: `idle`, or `max_lifetime` in any case. */
export function onSessionEnding(callback) { return listen("ending", callback); }

/** Calls back with `{seconds}` when a session that was about to end goes on, because it was used in some tab. */
export function onSessionExtended(callback) { return listen("extended", callback); }

/** Calls back with `{rotations}` when the tokens were rotated; the claims may be new. */
export function onRefreshed(callback) { return listen("refreshed", callback); }

function listen(kind, callback, interval = 30_000) {
  const one = { callback, interval };
  listeners[kind].add(one);
  (watch ??= new Watch()).wind();
  return () => { if (listeners[kind].delete(one) && !all().length) watch = watch.stop() ?? null; };
}

const all = () => Object.values(listeners).flatMap((some) => [...some]);
function tell(kind, detail) { for (const { callback } of [...listeners[kind]]) callback(detail); }

/** Follows the session for the listeners of this page: by the stream of events, and by asking where there is none. */
class Watch {
  #stopped = new AbortController();
  #place = null; // in the queue of the tabs that would read the stream; aborted when this one leaves it
  #channel = null;
  #leads = null; // the place by which this tab reads the stream
  #heardAt = 0; // when something came of the stream, read by whichever tab
  #timer;

  constructor() {
    const { signal } = this.#stopped;
    for (const type of ["focus", "online", "pageshow"]) addEventListener(type, this.#look, { signal });
    document.addEventListener("visibilitychange", this.#look, { signal });
    addEventListener("pagehide", () => this.leave(), { signal }); // a page in the history holds no lock
    if (signedInAs !== null) this.join();
  }

  stop() {
    this.#stopped.abort();
    clearTimeout(this.#timer);
    this.leave();
  }

  /** Looks when it is time; soon where nobody has asked yet who is signed in. */
  wind(next = known.id === null && !known.over ? 1000 : Infinity) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#look, Math.min(next, ...all().map(({ interval }) => interval)));
  }

  /** Asks the proxy, while the page is seen and the stream is silent, and at once when the page is seen again. */
  #look = async (event) => {
    if (event?.type === "pageshow" && !event.persisted) return; // a fresh page, not one from the history
    if (event?.type === "pageshow" || event?.type === "online") this.#heardAt = 0;
    clearTimeout(this.#timer);
    let next = Infinity;
    const hears = Date.now() - this.#heardAt < 2500 * settings.heartbeat;
    if (document.visibilityState === "visible" && !leaving && !hears) {
      // Unreachable, or 503, says nothing about the session.
      const now = await user({ slide: false }).catch(() => null);
      if (now) {
        const left = Math.min(now.session.idle_expires_in, now.session.expires_in);
        next = left * 1000 + 500;
        notice({ type: "refreshed", rotations: now.session.rotations });
        const reason = left < now.session.expires_in ? "idle" : "max_lifetime";
        notice(left <= settings.notice ? { type: "session-ending", seconds: left, reason } : { type: "session-extended", seconds: left });
      }
    }
    if (!this.#stopped.signal.aborted) this.wind(next);
  };

  /** Takes a place among the tabs; the first of them reads the stream. */
  join() {
    if (this.#place || !navigator.locks || !globalThis.BroadcastChannel) return;
    const { signal } = this.#place = new AbortController();
    this.#channel = new BroadcastChannel(`bff-events:${settings.base}`);
    this.#channel.onmessage = ({ data }) => this.#heard(data, signal);
    this.#channel.postMessage({ type: "hello" });
    navigator.locks.request(`bff-events:${settings.base}`, { signal }, () => this.#lead(signal)).catch(() => {});
  }

  leave() {
    this.#place?.abort();
    this.#channel?.close();
    this.#place = this.#channel = null;
    this.#heardAt = 0;
  }

  /** Says something to all tabs, this one included. */
  say(message) {
    this.#channel?.postMessage(message);
    notice(message);
  }

  #heard(message, signal) {
    if (signal.aborted) return;
    if (message.type !== "hello") {
      this.#heardAt = Date.now();
      notice(message);
    } else if (this.#leads === signal) {
      const { reason, at } = known.ending ?? {};
      this.#channel.postMessage(reason ? { type: "session-ending", reason, seconds: Math.round((at - Date.now()) / 1000) } : {});
    }
  }

  async #lead(signal) {
    this.#leads = signal;
    for (let pause = 1000; !signal.aborted; pause = Math.min(2 * pause, 60_000)) {
      const began = Date.now();
      const retry = await this.#read(signal).catch(() => null);
      if (signal.aborted) return;
      if (retry !== null && Date.now() - began > 10_000) pause = 1000; // it was good for a while
      await rest(Math.max(retry ?? 0, pause) * (1 + Math.random() / 4), signal);
    }
  }

  /** Reads the stream to its end; answers with the milliseconds after which to come back. */
  async #read(signal) {
    const stop = new AbortController(), abort = () => stop.abort();
    signal.addEventListener("abort", abort);
    let silence = setTimeout(abort, 3000 * settings.heartbeat);
    try {
      const response = await fetch(`${settings.base}/events`, { headers: { [settings.csrfHeader]: "1" }, cache: "no-store", signal: stop.signal });
      if (!response.ok) {
        const error = await BffError.from(response);
        if (error.signedOut) this.say({ type: "session-ended", code: error.code, reason: error.reason });
        return response.status === 404 ? 300_000 : 1000 * Number(response.headers.get("retry-after") ?? 5);
      }
      let text = "", retry = 1000;
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let part; !(part = await reader.read()).done; ) {
        clearTimeout(silence);
        silence = setTimeout(abort, 3000 * settings.heartbeat);
        this.#heardAt = Date.now();
        this.say({ type: "alive" });
        const blocks = (text + part.value).split("\n\n");
        text = blocks.pop();
        for (const block of blocks) {
          const field = (name) => block.match(new RegExp(`^${name}: (.*)$`, "m"))?.[1];
          retry = Number(field("retry") ?? retry);
          if (field("event")) this.say({ type: field("event"), ...JSON.parse(field("data")) });
        }
      }
      return retry;
    } finally {
      clearTimeout(silence);
      signal.removeEventListener("abort", abort);
    }
  }
}

/** Tells this page's listeners what is news to them, whichever way it came. */
function notice({ type, code, reason, seconds, rotations }) {
  if (type === "session-ended" && reason === "signed_in_again") succession ??= supplanted(code);
  else if (type === "session-ended") noticeEnd(code, reason);
  else if (type === "session-ending" && known.ending?.reason !== reason) {
    known.ending = { reason, at: Date.now() + 1000 * seconds };
    tell("ending", { seconds, reason });
  } else if (type === "session-extended" && known.ending) {
    known.ending = null;
    tell("extended", { seconds });
  } else if (type === "refreshed" && rotations > known.rotations) {
    known.rotations = rotations;
    tell("refreshed", { rotations });
  }
}

/** Waits for so many milliseconds, or until the signal aborts. */
const rest = (time, signal) => new Promise((resolve) => { signal?.addEventListener("abort", resolve, { once: true }); setTimeout(resolve, time); });

/** A new sign-in has taken the session's place: no end for this page, and true, if it was the same person's. */
async function supplanted(code) {
  watch?.leave();
  const answer = await successor();
  const same = answer !== undefined && (signedInAs === null || signedInAs === answer.sub);
  succession = null;
  same ? met(answer) : noticeEnd(code, "signed_in_again");
  return same;
}

/** Who has signed in in this session's place, once the new cookie, which may be on its way, is here; else nothing. */
async function successor() {
  for (const pause of [0, 250, 500, 1000, 2000, 4000]) {
    await rest(pause);
    const answer = await fetch(`${settings.base}/user?anonymous=ok&slide=false`, { headers: { [settings.csrfHeader]: "1" } }).then((it) => it.ok && it.json()).catch(() => null);
    if (answer && answer.signed_in !== false) return answer;
  }
}

/** The session as the proxy has just named it. */
function met({ sub, session }) {
  signedInAs = sub;
  if (known.id !== session.id) known = { id: session.id, rotations: session.rotations, ending: null, over: false };
  known.over = false;
  watch?.join();
}

/** The JSON of a good answer; else a `BffError`. */
async function readAnswer(response) {
  if (!response.ok) throw await BffError.from(response);
  const stray = { detail: "No answer of the session proxy: is this page open at its public_url?" };
  return response.json().catch(() => { throw new BffError(response.status, stray); });
}

function readUser(answer) {
  if (signedInAs !== null && signedInAs !== answer.sub) noticeEnd("session_ended", "signed_in_again");
  met(answer);
  return answer;
}

/** Tells the listeners, once; a visitor who never was signed in has lost nothing. */
function noticeEnd(code, reason) {
  watch?.leave();
  if (leaving || known.over || (signedInAs === null && code === "session_missing")) return;
  signedInAs = null;
  known = { id: null, rotations: 0, ending: null, over: true };
  tell("ended", { code, reason });
}

/** Leaves after a sign-out, for the provider's. */
function leaveFor(redirect) {
  leave();
  signedInAs = null;
  watch?.say({ type: "session-ended", code: "session_ended", reason: "logout" }); // to the other tabs
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
  if (url.searchParams.has("bff_error")) url.searchParams.delete("bff_error"); // else the query stays to the letter
  return (url.pathname + url.search + url.hash).replaceAll("\\", "%5C"); // queries may hold it bare
}

/** Tabs in the background wait, or all of them would start a sign-in at the same moment. */
const whenVisible = () => new Promise((resolve) => {
  const look = () => document.visibilityState === "visible" && resolve(document.removeEventListener("visibilitychange", look));
  document.addEventListener("visibilitychange", look);
  look();
});
