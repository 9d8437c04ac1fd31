/** One call by each client that takes a `fetch`: how many orders it gets, or the code of the error. */

import { QueryClient } from "@tanstack/query-core";
import axios from "axios";
import ky from "ky";
import createClient from "openapi-fetch";

import { BffError, bffFetch, signInError } from "@bff/client";

const api = createClient({ baseUrl: "/", fetch: bffFetch });
const short = ky.create({ fetch: bffFetch, retry: 0 });
const http = axios.create({ adapter: "fetch", env: { fetch: bffFetch } });
const queries = new QueryClient({
  defaultOptions: { queries: { retry: (count, error) => !error.signedOut && count < 3 } },
});

const calls = {
  openapi: async () => (await api.GET("/api/orders")).data,
  ky: () => short.get("/api/orders").json(),
  axios: async () => (await http.get("/api/orders")).data,
  query: () => queries.fetchQuery({
    queryKey: ["orders"],
    queryFn: async () => (await bffFetch("/api/orders")).json(),
  }),
};

globalThis.refusal = signInError();
globalThis.tries = async () => Object.fromEntries(await Promise.all(Object.entries(calls).map(async ([name, call]) => {
  try {
    return [name, (await call()).orders.length];
  } catch (thrown) {
    const error = thrown instanceof BffError ? thrown : thrown.cause;
    return [name, error instanceof BffError ? error.code : String(thrown)];
  }
})));
document.title = "ready";
