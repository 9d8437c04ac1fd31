/** React: a hook, and components that show what is for those who are signed in, and for those who are not. */

import type { ButtonHTMLAttributes, ReactNode } from "react";

import type { SessionEnd, User } from "./client.js";
import type { SessionState } from "./session.js";

export type { SessionState };

/** The session as it is; the component renders again when it changes. No provider is needed around it. */
export declare function useUser(): SessionState;

/** Its children while somebody is signed in; a function as a child is given the user. */
export declare function SignedIn(props: { children?: ReactNode | ((user: User) => ReactNode) }): ReactNode;

/** Its children while nobody is signed in; a function as a child is given why the session ended, or `null`. */
export declare function SignedOut(props: {
  children?: ReactNode | ((end: SessionEnd | null) => ReactNode);
}): ReactNode;

/** Its children until it is known whether somebody is signed in. */
export declare function SessionLoading(props: { children?: ReactNode }): ReactNode;

export interface SignInButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  /** A path of this site, by default the present one. */
  returnTo?: string;
  /** Further ones of the sign-in, as `prompt` or `login_hint`. */
  parameters?: Record<string, string>;
}

/** A button that leaves for sign-in. */
export declare function SignInButton(props: SignInButtonProps): ReactNode;

export interface SignOutButtonProps extends Omit<ButtonHTMLAttributes<HTMLButtonElement>, "onError"> {
  /** Is given the `BffError` of a sign-out that failed; without it a failure is an unhandled rejection. */
  onError?: (error: unknown) => void;
}

/** A button that signs out, here and at the provider. */
export declare function SignOutButton(props: SignOutButtonProps): ReactNode;
