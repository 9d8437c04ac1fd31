/** Vue: a composable, components, and a plugin that registers these. */

import type { ComputedRef, DefineSetupFnComponent, Plugin, SlotsType } from "vue";

import type { SessionEnd, User, login, logout } from "./client.js";
import type { SessionState } from "./session.js";

export type { SessionState };

export interface UseUser {
  readonly status: ComputedRef<SessionState["status"]>;
  readonly user: ComputedRef<User | null>;
  /** Why the session of this page ended, where it had one. */
  readonly end: ComputedRef<SessionEnd | null>;
  /** Why the proxy could not be asked the last time; it is asked again by itself. */
  readonly error: ComputedRef<unknown>;
  readonly login: typeof login;
  readonly logout: typeof logout;
}

/** The session as refs, until the component is gone; outside of one, for good. */
export declare function useUser(): UseUser;

/** Its slot while somebody is signed in, with `user`. */
export declare const SignedIn: DefineSetupFnComponent<{}, {}, SlotsType<{ default?: { user: User } }>>;

/** Its slot while nobody is signed in, with `end`: why the session ended, or `null`. */
export declare const SignedOut: DefineSetupFnComponent<{}, {}, SlotsType<{ default?: { end: SessionEnd | null } }>>;

/** `app.use(bff)`: both components, and `$bff` in templates. */
export declare const bff: Plugin;

/** `$bff` of a template: what `useUser()` answers with, without `.value`. */
export type BffProperty = { readonly [Name in keyof UseUser]: UseUser[Name] extends ComputedRef<infer Value> ? Value : UseUser[Name] };

declare module "vue" {
  interface ComponentCustomProperties {
    $bff: BffProperty;
  }
  interface GlobalComponents {
    SignedIn: typeof SignedIn;
    SignedOut: typeof SignedOut;
  }
}
