/**
 * Who is signed in, as one value that changes: what the helpers for React, Vue and Angular share.
 *
 * Rule 1: a value is never changed, only replaced; `current()` is the same object until then.
 * Rule 2: after an end nobody is signed in until the proxy names somebody in answer to a later question, so that what
 * was shown of one person is off the page before another one's is shown.
 */

import { onRefreshed, onSessionEnded, user } from "./client.js";

const FIRST_PAUSE = 2_000, LONGEST_PAUSE = 60_000; // milliseconds between questions that nobody answers
const LINGER = 1_000; // milliseconds: one component goes, the next one comes, and nothing begins anew

export const LOADING = Object.freeze({ status: "loading", user: null, end: null, error: null });

let session = LOADING;
let ends = 0; // so many ends were told: an answer to an older question is out of date
let asking = null; // the question under way
let pause = FIRST_PAUSE;
let timer;
let stop = null; // while somebody follows
const followers = new Set();

/** The value as it is now. */
export function current() { return session; }

/** Calls back after each change, until the function that it answers with is called. On a server it does nothing. */
export function subscribe(callback) {
  if (typeof document === "undefined") return () => {};
  const follower = () => callback();
  followers.add(follower);
  stop ??= start();
  return () => {
    if (followers.delete(follower) && !followers.size) setTimeout(rest, LINGER);
  };
}

function rest() {
  if (!followers.size) stop = stop?.() ?? null;
}

/** Asks the proxy again; answers with the value then. With `slide: false` that is no activity of the user. */
export function reload({ slide = true } = {}) {
  asking ??= ask(slide).finally(() => { asking = null; });
  return asking;
}

/** The value once it is known, for a router's guards. */
export async function settled() {
  if (session.status === "loading" || stop === null) await reload();
  return session;
}

async function ask(slide) {
  const before = ends;
  clearTimeout(timer);
  try {
    const found = await user({ slide });
    pause = FIRST_PAUSE;
    if (before !== ends) return session;
    if (found) replace({ status: "signed-in", user: found, end: null, error: null });
    else replace({ status: "signed-out", user: null, end: session.end, error: null });
  } catch (error) { // unreachable, or 503: it says nothing about the session
    if (before === ends) replace({ ...session, error });
    if (stop) timer = setTimeout(() => reload({ slide: false }), pause);
    pause = Math.min(2 * pause, LONGEST_PAUSE);
  }
  return session;
}

function start() {
  const gone = new AbortController(), { signal } = gone;
  const look = () => {
    // Signed in meanwhile, in another tab?
    if (document.visibilityState === "visible" && session.status === "signed-out") reload({ slide: false });
  };
  addEventListener("focus", look, { signal });
  document.addEventListener("visibilitychange", look, { signal });
  const stops = [
    onSessionEnded((end) => {
      ends += 1;
      replace({ status: "signed-out", user: null, end, error: null });
    }),
    onRefreshed(() => reload({ slide: false })),
  ];
  reload();
  return () => {
    gone.abort();
    clearTimeout(timer);
    for (const each of stops) each();
  };
}

function replace(next) {
  session = Object.freeze(next);
  for (const follower of [...followers]) follower();
}
