/** Where the user is signed in: one row for each session, and a button that ends it. */

import { endOtherSessions, endSession, sessions } from "/bff/client.js";
import { inWords } from "/calls.js";
import { byId, element, log, notice, say } from "/page.js";

export async function loadDevices() {
  show(await sessions({ slide: false })); // looking is no use of the session
}

export function forgetDevices() {
  byId("devices").replaceChildren();
  byId("end-others").disabled = true;
}

export function prepareDevices() {
  byId("end-others").addEventListener("click", () => attempt(byId("end-others"), async () => {
    const ended = await endOtherSessions();
    log("DELETE /bff/sessions", { outcome: 200 });
    await told(`All other sessions have ended: ${ended}.`);
  }));
}

function show(all) {
  if (document.body.dataset.state !== "in") return; // it has ended meanwhile
  byId("devices").replaceChildren(...all.map(row));
  byId("end-others").disabled = all.length < 2;
}

function row(one) {
  const name = [one.browser ?? "An unknown browser", one.system].filter(Boolean).join(" on ");
  const here = one.current ? [" ", element("span", "tag", "This browser")] : [];
  const button = element("button", "", "End");
  button.type = "button";
  button.setAttribute("aria-label", `End the session of ${one.current ? "this browser" : name}, begun ${when(one.created_at)}`);
  button.addEventListener("click", () => (one.current ? byId("sign-out").click() : attempt(button, () => end(one, name))));
  return element("li", "",
    element("div", "",
      element("p", "", element("strong", "", name), ...here),
      element("p", "hint", `Begun ${when(one.created_at)}, last used ${when(one.last_seen_at)}, from ${one.address}`)),
    button);
}

async function end(one, name) {
  await endSession(one.id);
  log(`DELETE /bff/sessions/${one.id}`, { outcome: 200 });
  await told(`The session of ${name} has ended.`);
}

/** Says what was done; the button that did it is gone, so that the focus goes to the list's heading. */
async function told(text) {
  await loadDevices();
  byId("devices-title").focus({ preventScroll: true });
  say(text);
}

async function attempt(button, work) {
  button.disabled = true;
  try {
    await work();
    notice("");
  } catch (error) {
    if (error.signedOut) return; // its end is said by the page as a whole
    notice(inWords(error));
    await loadDevices().catch(() => {}); // it may have ended meanwhile
  } finally {
    button.disabled = button.id === "end-others" && byId("devices").children.length < 2;
  }
}

/** "19:04" today, else with the day. */
function when(seconds) {
  const moment = new Date(seconds * 1000);
  const today = moment.toDateString() === new Date().toDateString();
  const time = { hour: "2-digit", minute: "2-digit", hour12: false };
  return today ? moment.toLocaleTimeString([], time) : moment.toLocaleString([], { day: "numeric", month: "short", ...time });
}
