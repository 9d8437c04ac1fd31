"use client";
/** React: a hook, and components that show what is for those who are signed in, and for those who are not. */

import { createElement, useSyncExternalStore } from "react";

import { login, logout } from "./client.js";
import { LOADING, current, subscribe } from "./session.js";

const atFirst = () => LOADING; // on a server, and until the page is hydrated

/** The session as it is; the component renders again when it changes. */
export function useUser() {
  return useSyncExternalStore(subscribe, current, atFirst);
}

/** Its children while somebody is signed in; a function as a child is given the user. */
export function SignedIn({ children }) {
  const { user } = useUser();
  if (user === null) return null;
  return typeof children === "function" ? children(user) : children;
}

/** Its children while nobody is signed in; a function as a child is given why the session ended, or `null`. */
export function SignedOut({ children }) {
  const { status, end } = useUser();
  if (status !== "signed-out") return null;
  return typeof children === "function" ? children(end) : children;
}

/** Its children until it is known whether somebody is signed in. */
export function SessionLoading({ children }) {
  return useUser().status === "loading" ? children : null;
}

/** A button that leaves for sign-in, and comes back to `returnTo`, by default the present page. */
export function SignInButton({ returnTo, parameters, onClick, children = "Sign in", ...rest }) {
  return createElement("button", { type: "button", ...rest, onClick: unless(onClick, () => login(returnTo, parameters)) }, children);
}

/** A button that signs out, here and at the provider. Without `onError` a failure is an unhandled rejection. */
export function SignOutButton({ onError, onClick, children = "Sign out", ...rest }) {
  const leave = () => (onError ? logout().catch(onError) : logout());
  return createElement("button", { type: "button", ...rest, onClick: unless(onClick, leave) }, children);
}

/** The page's own handler first, which may prevent ours. */
function unless(first, act) {
  return (event) => {
    first?.(event);
    if (!event.defaultPrevented) act();
  };
}
