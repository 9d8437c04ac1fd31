/**
 * The demo's page. It is in one of four states, named on the body: `loading`, `out`, `in`, `ended`.
 * What belongs to the signed-in user is on the page in the state `in` only.
 */

import {
  login, logout, onRefreshed, onSessionEnded, onSessionEnding, onSessionExtended, refresh, user,
} from "/bff/client.js";
import { callApi, inWords } from "/calls.js";
import { forgetDevices, loadDevices, prepareDevices } from "/devices.js";
import { showHoldings } from "/holds.js";
import { forgetOrders, loadOrders, prepareOrders } from "/orders.js";
import { byId, clock, log, notice, say } from "/page.js";
import { forgetSession, showSession, tick } from "/session.js";
import { forgetTrials, prepareTrials } from "/trials.js";

const LOOK_EVERY = 2000; // milliseconds, for the times that are left; an ordinary page is told what it needs
const CALL_EVERY = 5000;

const ENDINGS = {
  logout: "You signed out, here or in another tab.",
  operator: "An administrator ended your session.",
  provider_logout: "You signed out at the sign-in service.",
  security_signal: "The sign-in service ended it to protect your account.",
  signed_out_elsewhere: "You ended it from another device.",
  session_limit: "You signed in on more devices than are allowed, and it was the oldest.",
  signed_in_again: "A new sign-in in this browser has taken its place.",
  invalid_grant: "The sign-in service no longer accepts it: it was signed out there, or its time was over.",
  refresh_refused: "The sign-in service refused to renew it, again and again.",
  sign_in_required: "The sign-in service wants you to sign in again before it renews it.",
  refresh_lost: "The proxy was interrupted in the middle of a rotation, and could not save the new tokens.",
  identity_changed: "The sign-in service suddenly named somebody else.",
  not_allowed: "By what the sign-in service says of you now, you may not sign in here any more.",
  provider_removed: "The sign-in service that you used is no longer offered here.",
  idle: "It was not used for too long.",
  max_lifetime: "Its time was over, however busy it was.",
  expired: "The token that the sign-in service gave for it is over, and cannot be renewed.",
  tampered: "Its record was changed by somebody else than the proxy, and is not trusted any more.",
  unknown: "It was removed from the session store, as an operator does with redis-cli.",
};

const REFUSALS = {
  access_denied: "The sign-in was refused or cancelled.",
  login_required: "The sign-in service wants you to sign in there first.",
  consent_required: "The sign-in service wants your consent first.",
  server_error: "The sign-in service had a problem of its own.",
  temporarily_unavailable: "The sign-in service is busy. Try again in a moment.",
};

const state = () => document.body.dataset.state;

function enter(next) {
  if (next !== "in") {
    forgetSession();
    forgetOrders();
    forgetDevices();
    forgetTrials();
    byId("keep-calling").checked = false;
  }
  document.body.dataset.state = next;
}

/** Asks who is signed in, without that counting as activity, and shows what belongs to the answer. */
async function look() {
  try {
    const answer = await user({ slide: false });
    if (byId("notice").dataset.passing) clearTrouble();
    if (answer) {
      const arrived = state() !== "in";
      if (arrived) enter("in");
      showSession(answer);
      if (arrived) await Promise.all([loadOrders(), loadDevices()]);
    } else if (state() !== "ended") {
      enter("out");
    }
  } catch (error) {
    if (error.signedOut) return; // said by `ended`
    notice(inWords(error));
    byId("notice").dataset.passing = "yes";
  }
}

function clearTrouble() {
  delete byId("notice").dataset.passing;
  notice("");
}

function ended({ code, reason }) {
  extended();
  const known = Object.hasOwn(ENDINGS, reason ?? "") ? ENDINGS[reason] : null;
  enter("ended");
  byId("ended-reason").textContent = known ?? (code === "session_expired" ? ENDINGS.expired : "You are not signed in any more.");
  byId("ended-code").textContent = reason ? `${code} (${reason})` : code;
  say(`Your session has ended. ${byId("ended-reason").textContent}`);
  byId("ended-title").focus({ preventScroll: true });
  scrollTo({ top: 0 });
}

/** The end is near: of an idle session any use of it, in whichever tab, moves it. */
function ending({ seconds, reason }) {
  const idle = reason === "idle";
  byId("stay").hidden = !idle;
  notice(`Your session ends in ${clock(seconds)}${idle ? ", unless it is used." : ", however busy it is: save your work."}`);
}

function extended() {
  byId("stay").hidden = true;
  notice("");
}

async function stay() {
  try {
    await user(); // asking as an activity is a use
    extended();
  } catch (error) {
    notice(inWords(error));
  }
}

/** The proxy hands a refused sign-in back in the address, where it does not belong for long. */
function sayRefusal() {
  const address = new URL(location.href);
  const code = address.searchParams.get("bff_error");
  if (code === null) return;
  address.searchParams.delete("bff_error");
  history.replaceState(history.state, "", address);
  const named = /^[a-z_]{1,40}$/.test(code) ? ` (${code})` : "";
  notice(`You are not signed in. ${Object.hasOwn(REFUSALS, code) ? REFUSALS[code] : "The sign-in did not work."}${named}`);
}

async function rotateNow() {
  try {
    showSession(await refresh());
    log("POST /bff/refresh", { outcome: 200 });
  } catch (error) {
    if (!error.signedOut) notice(inWords(error));
  }
}

async function signOut() {
  try {
    byId("sign-out").disabled = true;
    await logout();
    enter("loading"); // the browser may keep this page as it is for the back button
  } catch (error) {
    notice(inWords(error));
  } finally {
    byId("sign-out").disabled = false;
  }
}

byId("sign-in").addEventListener("click", () => login("/"));
byId("sign-in-again").addEventListener("click", () => login("/"));
byId("sign-out").addEventListener("click", signOut);
byId("rotate").addEventListener("click", rotateNow);
byId("look").addEventListener("click", showHoldings);
byId("notice-close").addEventListener("click", extended);
byId("stay").addEventListener("click", stay);
prepareOrders();
prepareDevices();
prepareTrials();
onSessionEnded(ended);
onSessionEnding(ending);
onSessionExtended(extended);
onRefreshed(() => state() === "in" && look());
sayRefusal();

setInterval(tick, 1000);
setInterval(() => {
  if (document.visibilityState === "visible" && ["in", "loading"].includes(state())) look();
}, LOOK_EVERY);
setInterval(() => {
  if (byId("keep-calling").checked) callApi("/api/orders").catch(() => {}); // its line in the panel says it
}, CALL_EVERY);
addEventListener("pagehide", () => enter("loading"));
addEventListener("pageshow", (event) => event.persisted && look());
addEventListener("focus", () => {
  if (state() === "out") look(); // signed in meanwhile, in another tab?
  if (state() === "in") loadDevices().catch(() => {}); // or on another device?
});

showHoldings();
look();
