/** What the declarations tell, against what TypeScript itself reads out of the modules. */

import type * as toldAngular from "@bff/client/angular";
import type * as toldClient from "@bff/client";
import type * as toldReact from "@bff/client/react";
import type * as toldSession from "@bff/client/session";
import type * as toldVue from "@bff/client/vue";

import * as angular from "../made/angular.js";
import * as client from "../made/client.js";
import * as react from "../made/react.js";
import * as session from "../made/session.js";
import * as vue from "../made/vue.js";

type Same<Made, Told> = [Exclude<keyof Made, keyof Told>, Exclude<keyof Told, keyof Made>] extends [never, never] ? true : never;

// No export without its type, and no type without its export.
export const complete: [
  Same<typeof client, typeof toldClient>,
  Same<typeof session, typeof toldSession>,
  Same<typeof react, typeof toldReact>,
  Same<typeof vue, typeof toldVue>,
  Same<typeof angular, typeof toldAngular>,
] = [true, true, true, true, true];

// Arguments and results are what they are said to be. (A class is compared by its use; see the tests in a browser.)
export const functions: Omit<typeof toldClient, "BffError"> = client;
export const store: Pick<typeof toldSession, "subscribe"> = session;
export const guard: Pick<typeof toldAngular, "signedInGuard" | "SIGN_IN"> = angular;
export const composable: Pick<typeof toldVue, "bff"> = vue;
