import "@angular/compiler"; // for the libraries, which `ng build` links beforehand; this page is compiled by ngc

import { HttpClient, type HttpErrorResponse, HttpContext, provideHttpClient, withInterceptors } from "@angular/common/http";
import { Component, effect, inject, provideZonelessChangeDetection, signal } from "@angular/core";
import { bootstrapApplication } from "@angular/platform-browser";

import type { BffError } from "@bff/client";
import { BffSession, SIGN_IN, bffInterceptor, signedInGuard } from "@bff/client/angular";

@Component({
  selector: "app-root",
  template: `
  <main [attr.data-status]="session.status()">
    @if (session.status() === "loading") { <p>One moment</p> }
    @if (session.status() === "signed-out") {
      <p id="end">@if (session.end(); as end) { {{ end.code }} {{ end.reason }} } @else { never }</p>
      <button type="button" (click)="session.login()">Enter</button>
    }
    @if (session.user(); as user) {
      <h1>{{ user.claims["name"] }}</h1>
      <p id="orders">{{ count() }}</p>
      <button type="button" (click)="session.logout()">Leave</button>
    }
  </main>`,
})
class App {
  session = inject(BffSession);
  count = signal("…");
  http = inject(HttpClient);

  constructor() {
    effect(() => {
      if (this.session.user()) {
        this.http.get<{ orders: unknown[] }>("/api/orders").subscribe(({ orders }) => this.count.set(String(orders.length)));
      }
    });
    // For the tests: a call that hands its 401 back, one that leaves for sign-in, and the guard.
    Object.assign(globalThis, { tries: {
      keeps: () => new Promise((resolve) => {
        const context = new HttpContext().set(SIGN_IN, false);
        this.http.get("/api/orders", { context }).subscribe({ error: ({ status, error }: HttpErrorResponse) => resolve([status, error.code]) });
      }),
      leaves: () => new Promise((resolve) => {
        this.http.get("/api/orders").subscribe({ error: ({ status, code }: BffError) => resolve([status, code]) });
      }),
      guard: () => signedInGuard(null, { url: "/angular/index.html?deep" }),
    } });
  }
}

bootstrapApplication(App, {
  providers: [provideZonelessChangeDetection(), provideHttpClient(withInterceptors([bffInterceptor]))],
});
