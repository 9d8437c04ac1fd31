import { createApp, onMounted, ref } from "vue";

import { bffFetch } from "@bff/client";
import { bff, useUser } from "@bff/client/vue";

const Orders = {
  setup() {
    const count = ref(null);
    onMounted(async () => { count.value = (await (await bffFetch("/api/orders")).json()).orders.length; });
    return { count };
  },
  template: `<p id="orders">{{ count ?? "…" }}</p>`,
};

createApp({
  components: { Orders },
  setup: () => ({ status: useUser().status }),
  template: `
    <main :data-status="status">
      <p v-if="status === 'loading'">One moment</p>
      <SignedOut v-slot="{ end }">
        <p id="end">{{ end === null ? "never" : end.code + " " + end.reason }}</p>
        <button type="button" @click="$bff.login()">Enter</button>
      </SignedOut>
      <SignedIn v-slot="{ user }">
        <h1>{{ user.claims.name }}</h1>
        <Orders />
        <button type="button" @click="$bff.logout()">Leave</button>
      </SignedIn>
    </main>`,
}).use(bff).mount("#app");
