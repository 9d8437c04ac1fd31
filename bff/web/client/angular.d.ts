/** Angular: an interceptor for `HttpClient`, a service of signals, and a guard for the router. */

import type { HttpContextToken, HttpInterceptorFn } from "@angular/common/http";
import type { InjectionToken, Signal } from "@angular/core";

import type { SessionEnd, User, login, logout } from "./client.js";
import type { SessionState } from "./session.js";

export type { SessionState };

/** In a request's context: `false` hands a 401 back, instead of leaving for sign-in. */
export declare const SIGN_IN: HttpContextToken<boolean>;

/**
 * For `provideHttpClient(withInterceptors([bffInterceptor]))`: the CSRF header goes on requests to this origin, and
 * where the session is gone the page leaves for sign-in and the request fails with a `BffError`.
 */
export declare const bffInterceptor: HttpInterceptorFn;

export interface BffSession {
  readonly status: Signal<SessionState["status"]>;
  readonly user: Signal<User | null>;
  /** Why the session of this page ended, where it had one. */
  readonly end: Signal<SessionEnd | null>;
  /** Why the proxy could not be asked the last time; it is asked again by itself. */
  readonly error: Signal<unknown>;
  readonly login: typeof login;
  readonly logout: typeof logout;
}

/** The session as signals: `inject(BffSession)`. */
export declare const BffSession: InjectionToken<BffSession>;

/** For `canActivate` of a route: who is not signed in leaves for sign-in, and comes back to the route. */
export declare function signedInGuard(route: unknown, state: { readonly url: string }): Promise<boolean>;
