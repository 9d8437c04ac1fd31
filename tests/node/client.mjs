// A certified client (npm openid-client) at the issuer of this project.
//
// Asked for by one JSON argument: { issuer, clientId, secret or jwk, redirectUri, landing, scope, audience, pushed }.
// Twice it says where a browser has to go, as { authorize }, reads where the browser came back to, and says what came
// of it. The library checks each answer by itself; whatever it does not like ends the program.

import { createInterface } from "node:readline";
import { importJWK } from "jose";
import * as client from "openid-client";

const asked = JSON.parse(process.argv[2]);
const EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token";

function tell(document) {
  process.stdout.write(`${JSON.stringify(document)}\n`);
}

async function refusal(promise) {
  try {
    await promise;
    return null;
  } catch (error) {
    return error.error ?? String(error);
  }
}

async function authentication() {
  if (asked.secret) return client.ClientSecretBasic(asked.secret);
  return client.PrivateKeyJwt({ key: await importJWK(asked.jwk, "ES256"), kid: asked.jwk.kid });
}

const config = await client.discovery(new URL(asked.issuer), asked.clientId, {}, await authentication(), {
  execute: [client.allowInsecureRequests, client.enableNonRepudiationChecks],
});

const pkceCodeVerifier = client.randomPKCECodeVerifier();
const expectedState = client.randomState();
const expectedNonce = client.randomNonce();
const parameters = {
  redirect_uri: asked.redirectUri,
  scope: asked.scope,
  state: expectedState,
  nonce: expectedNonce,
  code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
  code_challenge_method: "S256",
};
const build = asked.pushed ? client.buildAuthorizationUrlWithPAR : client.buildAuthorizationUrl;
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function signIn() {
  tell({ authorize: (await build(config, parameters)).href });
  return new URL((await lines.next()).value);
}

const callback = await signIn();
const checks = { pkceCodeVerifier, expectedState, expectedNonce, idTokenExpected: true };
const first = await client.authorizationCodeGrant(config, callback, checks);
const again = await refusal(client.authorizationCodeGrant(config, callback, checks)); // ends what the code began

tell({ claims: first.claims(), scope: first.scope, expiresIn: first.expiresIn(), codeAgain: again });

const tokens = await client.authorizationCodeGrant(config, await signIn(), checks);
const rotated = await client.refreshTokenGrant(config, tokens.refresh_token);
const user = await client.fetchUserInfo(config, rotated.access_token, tokens.claims().sub);
const about = await client.tokenIntrospection(config, rotated.access_token);
const exchanged = await client.genericGrantRequest(config, EXCHANGE, {
  subject_token: rotated.access_token,
  subject_token_type: ACCESS_TOKEN,
  audience: asked.audience,
});
const aboutExchanged = await client.tokenIntrospection(config, exchanged.access_token);
const goodBefore = (await client.tokenIntrospection(config, rotated.refresh_token)).active;
await client.tokenRevocation(config, rotated.refresh_token);
const goodAfter = (await client.tokenIntrospection(config, rotated.refresh_token)).active;
const afterwards = await refusal(client.refreshTokenGrant(config, rotated.refresh_token));
const signOut = client.buildEndSessionUrl(config, {
  post_logout_redirect_uri: asked.landing,
  id_token_hint: rotated.id_token ?? tokens.id_token,
});
tell({
  user,
  about,
  aboutExchanged,
  rotated: rotated.refresh_token !== tokens.refresh_token,
  goodBefore,
  goodAfter,
  afterwards,
  signOut: signOut.href,
});
process.exit(0);
