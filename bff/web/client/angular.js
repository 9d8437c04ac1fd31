/** Angular: an interceptor for `HttpClient`, a service of signals, and a guard for the router. */

import { HttpContextToken, HttpErrorResponse } from "@angular/common/http";
import { DestroyRef, InjectionToken, computed, inject, signal } from "@angular/core";
import { catchError, from, switchMap, throwError } from "rxjs";

import { checkSession, csrfHeaders, login, logout } from "./client.js";
import { current, settled, subscribe } from "./session.js";

/** In a request's context: `false` hands a 401 back, instead of leaving for sign-in. */
export const SIGN_IN = new HttpContextToken(() => true);

/** For `provideHttpClient(withInterceptors([bffInterceptor]))`: `HttpClient` does what `bffFetch` does. */
export function bffInterceptor(request, next) {
  const headers = csrfHeaders(request.url);
  if (!Object.keys(headers).length) return next(request);
  return next(request.clone({ setHeaders: headers })).pipe(catchError((error) => {
    const refused = () => throwError(() => error);
    if (!(error instanceof HttpErrorResponse) || error.status !== 401) return refused();
    return from(checkSession(answerOf(error), { signIn: request.context.get(SIGN_IN) })).pipe(switchMap(refused));
  }));
}

/** The session as signals, and `login` and `logout`: `inject(BffSession)`. */
export const BffSession = new InjectionToken("BffSession", {
  providedIn: "root",
  factory: () => {
    const session = signal(current());
    inject(DestroyRef).onDestroy(subscribe(() => session.set(current())));
    const part = (name) => computed(() => session()[name]);
    return { status: part("status"), user: part("user"), end: part("end"), error: part("error"), login, logout };
  },
});

/** For `canActivate`: who is not signed in leaves for sign-in, and comes back to the route. */
export async function signedInGuard(_route, state) {
  const { status } = await settled();
  if (status === "signed-out") login(state.url);
  return status === "signed-in";
}

/** The answer that Angular has read, as `fetch` would give it. */
function answerOf({ error, headers, status }) {
  const raw = typeof error === "string" || error instanceof Blob || error instanceof ArrayBuffer;
  const fields = headers.keys().map((name) => [name, headers.get(name)]);
  return new Response(raw ? error : JSON.stringify(error ?? {}), { status, headers: fields });
}
