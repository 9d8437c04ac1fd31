/** The orders: a list from the API, and a form that adds one. */

import { callApi, inWords } from "/calls.js";
import { byId, element, notice, say } from "/page.js";

export async function loadOrders() {
  const { orders } = await (await callApi("/api/orders")).json();
  byId("orders").replaceChildren(...orders.map(row).reverse());
  byId("orders-empty").hidden = orders.length > 0;
}

export function forgetOrders() {
  byId("orders").replaceChildren();
  byId("order-form").reset();
}

export function prepareOrders() {
  byId("orders-reload").addEventListener("click", () => attempt(loadOrders));
  byId("order-form").addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(() => create(event.target));
  });
}

async function create(form) {
  const field = byId("order-item");
  const item = field.value.trim();
  const quantity = byId("order-quantity").valueAsNumber;
  if (!item) return field.focus();
  const made = await (await callApi("/api/orders", { method: "POST", body: { item, quantity } })).json();
  form.reset();
  field.focus();
  await loadOrders();
  byId("orders").firstElementChild?.classList.add("fresh");
  say(`Ordered: ${made.quantity} × ${made.item}.`);
}

async function attempt(work) {
  try {
    await work();
    notice("");
  } catch (error) {
    if (!error.signedOut) notice(inWords(error)); // its end is said by the page as a whole
  }
}

function row(order) {
  return element("tr", "",
    element("td", "", order.id),
    element("td", "", order.item),
    element("td", "number", order.quantity),
    element("td", "", element("span", "tag", order.status)));
}
