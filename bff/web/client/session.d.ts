/** Who is signed in, as one value that changes; the helpers for React, Vue and Angular are made of it. */

import type { SessionEnd, User } from "./client.js";

interface Parts<Status extends string, Who, End> {
  readonly status: Status;
  readonly user: Who;
  /** Why the session of this page ended, where it had one. */
  readonly end: End;
  /** Why the proxy could not be asked the last time (`BffError` or `TypeError`); it is asked again by itself. */
  readonly error: unknown;
}

/** Nobody has answered yet; or somebody is signed in; or nobody is. */
export type SessionState =
  | Parts<"loading", null, null>
  | Parts<"signed-in", User, null>
  | Parts<"signed-out", null, SessionEnd | null>;

export declare const LOADING: SessionState;

/** The value as it is now; the same object until it changes. */
export declare function current(): SessionState;

/**
 * Calls back after each change. The first follower has the proxy asked; on a server nothing happens.
 *
 * @returns a function that stops it.
 */
export declare function subscribe(callback: () => void): () => void;

/** Asks the proxy again; answers with the value then. With `slide: false` that is no activity of the user. */
export declare function reload(options?: { slide?: boolean }): Promise<SessionState>;

/** The value once it is known, for a router's guards. `loading` means that the proxy could not be asked. */
export declare function settled(): Promise<SessionState>;
