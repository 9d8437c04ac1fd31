/** Types of `@bff/client`, which is `/bff/client.js`. */

export interface Session {
  /** Names the session in logs and in the user's own list; opens nothing. */
  readonly id: string;
  /** Seconds since the epoch. */
  readonly created_at: number;
  /** Seconds until the session ends if nothing is done. */
  readonly idle_expires_in: number;
  /** Seconds until the session ends in any case. */
  readonly expires_in: number;
  /** Seconds until the access token on the server ends, where known. */
  readonly access_token_expires_in: number | null;
  /** How often the tokens were rotated in this session. */
  readonly rotations: number;
}

export interface User {
  readonly sub: string;
  readonly claims: Readonly<Record<string, unknown>>;
  readonly session: Session;
  /** For a plain link that signs out; it holds a proof that this session made it. */
  readonly logout_url: string;
}

/** The codes that the proxy gives its own error answers. */
export type Code =
  | "session_missing"
  | "session_expired"
  | "session_ended"
  | "csrf_rejected"
  | "not_allowed"
  | "step_up_required"
  | "binding_required"
  | "invalid_token"
  | "bearer_and_cookie"
  | "store_unavailable"
  | "provider_refused_client"
  | "provider_unavailable"
  | "upstream_unreachable"
  | "upstream_timeout"
  | "upstream_invalid"
  | "no_route"
  | "no_such_session"
  | "method_not_allowed"
  | "body_too_large"
  | "bad_request"
  | "bad_return_to"
  | "wrong_host"
  | "request_timeout"
  | "headers_too_large"
  | "expectation_failed"
  | "rate_limited"
  | "prefetch_refused"
  | "internal_error";

/** Why a session ended, where it is known. */
export type EndReason =
  | "logout"
  | "operator"
  | "provider_logout"
  | "security_signal"
  | "signed_out_elsewhere"
  | "session_limit"
  | "signed_in_again"
  | "invalid_grant"
  | "refresh_refused"
  | "refresh_lost"
  | "sign_in_required"
  | "identity_changed"
  | "not_allowed"
  | "provider_removed"
  | "idle"
  | "max_lifetime"
  | "expired"
  | "tampered"
  | "unknown";

/** Why a request was refused as `csrf_rejected`; the problem's `detail` says what to send. */
export type CsrfReason =
  | "csrf_header_missing"
  | "csrf_header_invalid"
  | "fetch_site"
  | "fetch_site_missing"
  | "fetch_mode"
  | "origin"
  | "sid";

/** A problem document (RFC 9457), with the members that the proxy adds. */
export interface Problem {
  readonly type?: string;
  readonly title?: string;
  readonly status?: number;
  readonly detail?: string;
  readonly code?: Code;
  readonly reason?: EndReason | CsrfReason;
  readonly login_url?: string;
  readonly [member: string]: unknown;
}

export declare class BffError extends Error {
  constructor(status: number, problem?: Problem);
  readonly status: number;
  /** `http_error` where the answer was not the proxy's own. */
  readonly code: Code | "http_error";
  readonly reason: EndReason | CsrfReason | null;
  readonly problem: Problem;
  /** True when there is no session (any more), so that signing in again is the way on. */
  get signedOut(): boolean;
  /** Reads an answer's problem document; the answer itself stays readable. */
  static from(response: Response): Promise<BffError>;
}

/** What is set at the proxy; the copy that it serves knows. */
export interface Settings {
  /** `server.csrf_header`: "X-CSRF". */
  readonly csrfHeader: string;
  /** `server.base_path` and "/bff": where the proxy's endpoints are. */
  readonly base: string;
  /** `server.events_heartbeat` in seconds: the stream of events is never silent for longer. */
  readonly heartbeat: number;
  /** `session.ending_notice` in seconds: a session is said to be ending so long before. */
  readonly notice: number;
  /** The paths of the proxy and of its routes, in lower case, where no sign-in may lead to: "/bff" alone. */
  readonly taken: readonly string[];
}

/** Changes settings of a bundled copy, where they are not the defaults at the proxy. Call it before anything else. */
export declare function configure(changes: Partial<Settings>): void;

/**
 * The header that a request to this origin needs, for clients that do not take a `fetch`; `{}` for any other origin:
 * it would cost a preflight there. Relative addresses are the document's; without one this origin is meant.
 */
export declare function csrfHeaders(url?: string): Record<string, string>;

/**
 * Looks at an answer of this origin as `bffFetch` does, for clients that do not take a `fetch`. Where it says that the
 * session is gone, the page leaves for sign-in, and this rejects with a `BffError`; with `signIn: false` the answer
 * is handed back instead, as any other one is. Its body stays readable. Where a new sign-in has just taken the session's
 * place, this waits for the new cookie and does not leave: the call can be made again then.
 */
export declare function checkSession(response: Response, options?: { signIn?: boolean }): Promise<Response>;

/**
 * Why a sign-in came to nothing, as `bff_error` in the address says it. The first four are the proxy's own: it did
 * not work (the audit log says why), it took too long, the user was signed out meanwhile, or the provider sent
 * something else than a code. The others are the provider's (RFC 6749 4.1.2.1, OpenID Connect Core 3.1.2.6), which
 * may have more. Where `spa.error_page` leads here, it is the code of the problem that a navigation met.
 */
export type SignInError =
  | "login_failed"
  | "login_expired"
  | "session_ended"
  | "server_error"
  | "access_denied"
  | "login_required"
  | "consent_required"
  | "interaction_required"
  | "account_selection_required"
  | "temporarily_unavailable"
  | "unmet_authentication_requirements"
  | "invalid_request"
  | "invalid_scope"
  | "invalid_target"
  | "unauthorized_client"
  | (string & {});

/**
 * Why a sign-in that led to this page came to nothing; else `null`. It is taken out of the address, and until the
 * page is left no call leaves for sign-in by itself: the page has to say it, and the user to try again.
 */
export declare function signInError(): SignInError | null;

export interface BffRequestInit extends RequestInit {
  /** Whether to leave for sign-in when the session is gone; `true` unless said otherwise. */
  signIn?: boolean;
}

/**
 * `fetch`, with the CSRF header on requests to this origin. Where the session is gone it leaves for
 * sign-in and rejects with a `BffError`; with `signIn: false` it hands the 401 back instead. Where a
 * new sign-in has just taken the session's place, the call is made once more when the new cookie is
 * here, unless its body was used up. A backend's own 401 is an answer like any other.
 */
export declare function bffFetch(input: RequestInfo | URL, init?: BffRequestInit): Promise<Response>;
export { bffFetch as fetch };

/**
 * Who is signed in, or `null`. With `slide: false` asking does not count as the user's activity.
 * Rejects with a `BffError` on any other answer, as when Redis is down (`store_unavailable`).
 */
export declare function user(options?: { slide?: boolean }): Promise<User | null>;

/** Rotates the tokens and reads the claims anew, now. Rejects with a `BffError` where that fails. */
export declare function refresh(): Promise<User>;

/**
 * Leaves for sign-in.
 *
 * @param returnTo a path of this site, at most 1,024 bytes; by default the present one. Where the proxy would
 *     refuse it (a route, an encoded slash, no UTF-8) sign-in leads to the start page.
 * @param parameters further ones that the proxy passes on, as `prompt` or `login_hint`.
 */
export declare function login(returnTo?: string, parameters?: Record<string, string>): void;

/** Ends the session, then leaves for the provider's sign-out. Rejects with a `BffError` where that fails. */
export declare function logout(): Promise<void>;

/** One of the user's sessions. Times are in seconds since the epoch. */
export interface OwnSession {
  /** For `endSession`; the same as `Session.id`. */
  readonly id: string;
  readonly created_at: number;
  /** When it was last used, to the minute. */
  readonly last_seen_at: number;
  /** When it ends in any case. */
  readonly ends_at: number;
  /** The address that it was begun from. */
  readonly address: string;
  /** As "Firefox 128"; `null` where the browser did not say. */
  readonly browser: string | null;
  /** As "Windows" or "iPhone"; `null` where the browser did not say. */
  readonly system: string | null;
  /** True for the session of this browser. */
  readonly current: boolean;
  /** Bound to its device (`session.device_binding`). */
  readonly bound: boolean;
}

/**
 * The user's sessions, at most a hundred: this browser's first, then by their last use. With `slide: false`
 * asking does not count as the user's activity. Rejects with a `BffError` where that fails.
 */
export declare function sessions(options?: { slide?: boolean }): Promise<readonly OwnSession[]>;

/**
 * Ends one of the user's sessions, at once; its page is told `signed_out_elsewhere`. Where it is this browser's
 * own, that is a sign-out: the page is left as by `logout()`. Rejects with a `BffError` where that fails:
 * `no_such_session` where it is none of theirs, or has ended meanwhile.
 */
export declare function endSession(id: string): Promise<void>;

/** Ends all of the user's sessions but this browser's; answers with how many. Rejects with a `BffError`. */
export declare function endOtherSessions(): Promise<number>;

export interface SessionEnd {
  readonly code: "session_missing" | "session_expired" | "session_ended";
  readonly reason: EndReason | null;
}

/**
 * Calls back once the session has ended, or is found to be another person's. The proxy tells of it, within a second
 * and in all tabs, which share one stream of `/bff/events`. Where it cannot tell it is asked, every `interval`
 * milliseconds (30,000 unless said otherwise) while the page is seen, and at once when it is seen again or comes
 * back from the history. Neither counts as activity. A new sign-in of the same person is no end.
 *
 * @returns a function that stops it.
 */
export declare function onSessionEnded(
  callback: (end: SessionEnd) => void,
  options?: { interval?: number },
): () => void;

export interface SessionEnding {
  /** Seconds until the end. */
  readonly seconds: number;
  /** `idle`: any use of the session, as `user()`, moves the end; `max_lifetime`: nothing does. */
  readonly reason: "idle" | "max_lifetime";
}

/**
 * Calls back once when the session is about to end (`session.ending_notice` before it).
 *
 * @returns a function that stops it.
 */
export declare function onSessionEnding(callback: (ending: SessionEnding) => void): () => void;

/**
 * Calls back when a session that was about to end goes on, because it was used, in this tab or another one.
 *
 * @returns a function that stops it.
 */
export declare function onSessionExtended(callback: (extended: { readonly seconds: number }) => void): () => void;

/**
 * Calls back when the tokens were rotated: the claims that `user()` answers with may be new.
 *
 * @returns a function that stops it.
 */
export declare function onRefreshed(callback: (refreshed: { readonly rotations: number }) => void): () => void;
