/** Vue: a composable, components, and a plugin that registers these. */

import { computed, defineComponent, effectScope, getCurrentScope, onScopeDispose, reactive, shallowRef } from "vue";

import { login, logout } from "./client.js";
import { LOADING, current, subscribe } from "./session.js";

/** The session as refs, until the component is gone; outside of one, for good. */
export function useUser() {
  const session = shallowRef(typeof document === "undefined" ? LOADING : current());
  const stop = subscribe(() => { session.value = current(); });
  if (getCurrentScope()) onScopeDispose(stop);
  const part = (name) => computed(() => session.value[name]);
  return { status: part("status"), user: part("user"), end: part("end"), error: part("error"), login, logout };
}

/** Its slot while somebody is signed in, with `user`. */
export const SignedIn = defineComponent({
  name: "SignedIn",
  setup(_, { slots }) {
    const { user } = useUser();
    return () => (user.value ? slots.default?.({ user: user.value }) : null);
  },
});

/** Its slot while nobody is signed in, with `end`: why the session ended, or `null`. */
export const SignedOut = defineComponent({
  name: "SignedOut",
  setup(_, { slots }) {
    const { status, end } = useUser();
    return () => (status.value === "signed-out" ? slots.default?.({ end: end.value }) : null);
  },
});

/** `app.use(bff)`: both components, and `$bff` in templates. */
export const bff = {
  install(app) {
    const scope = effectScope(true);
    app.config.globalProperties.$bff = reactive(scope.run(useUser));
    app.component("SignedIn", SignedIn);
    app.component("SignedOut", SignedOut);
    app.onUnmount?.(() => scope.stop());
  },
};
