/** Two things to try: a token that the API forgot, and fifty calls that need a new one at once. */

import { user } from "/bff/client.js";
import { call, callApi, inWords } from "/calls.js";
import { byId, element, log } from "/page.js";
import { showSession } from "/session.js";

const CALLS = 50;

export function prepareTrials() {
  attempt("revoke", revoke);
  attempt("fifty", fifty);
}

export function forgetTrials() {
  for (const id of ["revoke-result", "fifty-result", "fifty-cells"]) byId(id).replaceChildren();
}

async function revoke() {
  const before = await rotations();
  await callApi("/api/revoke-my-token", { method: "POST" });
  const began = performance.now();
  const response = await call("/api/orders");
  const milliseconds = Math.round(performance.now() - began);
  const after = await rotations();
  if (!response.ok) {
    return `The call was answered ${response.status}: a token this young is not rotated for a 401. Try once more in a few seconds.`;
  }
  return `Healed: the call was answered ${response.status} after ${milliseconds} ms; rotations ${before} → ${after}.`;
}

async function fifty() {
  const cells = Array.from({ length: CALLS }, () => element("i"));
  byId("fifty-cells").replaceChildren(...cells);
  const before = await rotations();
  if (byId("fifty-revoke").checked) await callApi("/api/revoke-my-token", { method: "POST" });
  const began = performance.now();
  const statuses = await Promise.all(cells.map(async (cell) => {
    const status = await call("/api/orders", { quiet: true }).then((response) => response.status, () => 0);
    cell.className = status === 200 ? "good" : "bad";
    return status;
  }));
  const took = performance.now() - began;
  const turned = (await rotations()) - before;
  const counted = Object.entries(Object.groupBy(statuses, (status) => status || "failed"))
    .map(([status, ones]) => `${ones.length} × ${status}`).join(", ");
  const className = counted === `${CALLS} × 200` ? "" : "bad";
  log(`${CALLS} × GET /api/orders`, { outcome: counted, className, took });
  return `${counted} in ${Math.round(took)} ms, with ${turned} rotation${turned === 1 ? "" : "s"}.`;
}

async function rotations() {
  const answer = await user({ slide: false });
  if (answer) showSession(answer);
  return answer?.session.rotations ?? 0;
}

/** The button's name is the result's too; while it works it cannot be pressed again. */
function attempt(name, work) {
  const button = byId(name);
  const result = byId(`${name}-result`);
  button.addEventListener("click", async () => {
    button.disabled = true;
    result.className = "result";
    try {
      result.textContent = await work();
    } catch (error) {
      if (error.signedOut) return;
      result.classList.add("bad");
      result.textContent = inWords(error);
    } finally {
      button.disabled = false;
      button.focus();
    }
  });
}
