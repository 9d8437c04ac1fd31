/** What a script, this one or an injected one, finds in the browser. */

import { byId, describe } from "/page.js";

export async function showHoldings() {
  const found = [
    ["document.cookie", document.cookie],
    ["localStorage", Object.keys(localStorage).join(", ")],
    ["sessionStorage", Object.keys(sessionStorage).join(", ")],
    ["IndexedDB", (await indexedDB.databases?.() ?? []).map((database) => database.name).join(", ")],
    ["Caches", (await globalThis.caches?.keys() ?? []).join(", ")],
    ["Service workers", (await navigator.serviceWorker?.getRegistrations() ?? []).map((one) => one.scope).join(", ")],
  ];
  describe(byId("holds"), found.map(([place, what]) => [place, what || "nothing", what ? "found" : ""]));
}
