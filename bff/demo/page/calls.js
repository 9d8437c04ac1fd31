/** Calls through the proxy, each with its line in the activity panel. */

import { BffError, bffFetch } from "/bff/client.js";
import { byId, log } from "/page.js";

let underWay = 0;

/** `bffFetch` with the page's own way to say that the session is gone; `quiet` leaves the panel alone. */
export async function call(path, { quiet = false, ...init } = {}) {
  const began = performance.now();
  const line = `${init.method ?? "GET"} ${path}`;
  busy(1);
  try {
    const response = await bffFetch(path, { ...init, signIn: false });
    const took = performance.now() - began;
    if (!quiet) log(line, { outcome: response.status, className: response.ok ? "" : "bad", took });
    return response;
  } catch (error) {
    if (!quiet) log(line, { outcome: "failed", className: "bad" });
    throw error;
  } finally {
    busy(-1);
  }
}

/** The same, with a JSON body on the way there, and an error for every answer that is not a success. */
export async function callApi(path, { body, ...init } = {}) {
  if (body) {
    Object.assign(init, { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });
  }
  const response = await call(path, init);
  if (!response.ok) throw await BffError.from(response);
  return response;
}

/** What to tell the user about an error. */
export function inWords(error) {
  if (!(error instanceof BffError)) return "The site cannot be reached at the moment.";
  if (error.code === "store_unavailable") {
    return "The session store cannot be reached at the moment. Your session is untouched: it goes on when the store is back.";
  }
  if (error.code === "provider_unavailable") {
    return "The sign-in service cannot be reached at the moment. Your session is untouched.";
  }
  if (error.code === "http_error") return `The API answered with status ${error.status}.`;
  return `${error.message} (${error.code}).`;
}

function busy(change) {
  underWay += change;
  byId("path").classList.toggle("busy", underWay > 0);
}
