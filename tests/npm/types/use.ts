/** The types as a page's author meets them: each line here compiles, each one behind `@ts-expect-error` must not. */

import { type HttpInterceptorFn, provideHttpClient, withInterceptors } from "@angular/common/http";
import { inject } from "@angular/core";
import { createApp, defineComponent } from "vue";

import { BffError, type Code, bffFetch, configure, onSessionEnded, signInError } from "@bff/client";
import { BffSession, bffInterceptor, signedInGuard } from "@bff/client/angular";
import { current } from "@bff/client/session";
import { bff, useUser } from "@bff/client/vue";

export const interceptor: HttpInterceptorFn = bffInterceptor;
export const providers = provideHttpClient(withInterceptors([bffInterceptor]));
export const route = { path: "account", canActivate: [signedInGuard] };
export const name = (): string | undefined => inject(BffSession).user()?.sub;

createApp(defineComponent({
  setup: () => ({ who: useUser().user }),
  computed: { heading(): string { return this.who?.sub ?? this.$bff.status; } },
})).use(bff);

configure({ csrfHeader: "X-Shop" });
// @ts-expect-error -- there is no such setting
configure({ csrf: "X-Shop" });

export async function call(): Promise<Code | "http_error" | null> {
  try {
    await bffFetch("/api/orders", { method: "POST", signIn: false });
  } catch (error) {
    // @ts-expect-error -- no code of ours
    if (error instanceof BffError && error.code === "no_such_code") return null;
    if (error instanceof BffError) return error.code;
  }
  return null;
}

onSessionEnded(({ code, reason }) => {
  // @ts-expect-error -- a session does not end by that
  if (code === "csrf_rejected") return reason;
  return code;
});

const state = current();
// @ts-expect-error -- whether there is a user is to be asked first
export const unasked: string = state.user.sub;
export const asked: string = state.status === "signed-in" ? state.user.sub : (state.end?.reason ?? "");
export const denied: boolean = signInError() === "access_denied";
