import "@angular/compiler"; // templates are compiled in the browser: `ng build` does it beforehand

import { HttpClient, HttpContext, provideHttpClient, withInterceptors } from "@angular/common/http";
import { Component, effect, inject, provideZonelessChangeDetection, signal } from "@angular/core";
import { bootstrapApplication } from "@angular/platform-browser";

import { BffSession, SIGN_IN, bffInterceptor, signedInGuard } from "@bff/client/angular";

class App {
  session = inject(BffSession);
  count = signal("…");
  http = inject(HttpClient);

  constructor() {
    effect(() => {
      if (this.session.user()) this.http.get("/api/orders").subscribe(({ orders }) => this.count.set(orders.length));
    });
    // For the tests: a call that hands its 401 back, one that leaves for sign-in, and the guard.
    globalThis.tries = {
      keeps: () => new Promise((resolve) => {
        const context = new HttpContext().set(SIGN_IN, false);
        this.http.get("/api/orders", { context }).subscribe({ error: (error) => resolve([error.status, error.error.code]) });
      }),
      leaves: () => new Promise((resolve) => {
        this.http.get("/api/orders").subscribe({ error: (error) => resolve([error.status, error.code]) });
      }),
      guard: () => signedInGuard(null, { url: "/angular/index.html?deep" }),
    };
  }
}

const template = `
  <main [attr.data-status]="session.status()">
    @if (session.status() === "loading") { <p>One moment</p> }
    @if (session.status() === "signed-out") {
      <p id="end">{{ session.end() ? session.end().code + " " + session.end().reason : "never" }}</p>
      <button type="button" (click)="session.login()">Enter</button>
    }
    @if (session.user(); as user) {
      <h1>{{ user.claims.name }}</h1>
      <p id="orders">{{ count() }}</p>
      <button type="button" (click)="session.logout()">Leave</button>
    }
  </main>`;

bootstrapApplication(Component({ selector: "app-root", template })(App), {
  providers: [provideZonelessChangeDetection(), provideHttpClient(withInterceptors([bffInterceptor]))],
});
