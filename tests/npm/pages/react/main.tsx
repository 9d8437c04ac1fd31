import { StrictMode, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";

import { bffFetch } from "@bff/client";
import { SessionLoading, SignInButton, SignOutButton, SignedIn, SignedOut, useUser } from "@bff/client/react";

function Orders() {
  const [count, setCount] = useState<number | null>(null);
  useEffect(() => {
    bffFetch("/api/orders").then((answer) => answer.json()).then(({ orders }) => setCount(orders.length), () => {});
  }, []);
  return <p id="orders">{count ?? "…"}</p>;
}

function App() {
  const { status } = useUser();
  return (
    <main data-status={status}>
      <SessionLoading><p>One moment</p></SessionLoading>
      <SignedOut>{(end) => <p id="end">{end === null ? "never" : `${end.code} ${end.reason}`}</p>}</SignedOut>
      <SignedOut><SignInButton>Enter</SignInButton></SignedOut>
      <SignedIn>{(user) => <h1>{String(user.claims.name)}</h1>}</SignedIn>
      <SignedIn><Orders /><SignOutButton>Leave</SignOutButton></SignedIn>
    </main>
  );
}

createRoot(document.getElementById("app")!).render(<StrictMode><App /></StrictMode>);
