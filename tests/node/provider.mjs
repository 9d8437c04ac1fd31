// A certified OpenID Provider (npm oidc-provider) for the proxy to sign in at.
//
// Asked for by one JSON argument: { issuer, port, clients, requirePushed, resources, mtls }. With mtls it takes
// certificates of clients at a port of its own (RFC 8705), as { port, cert, key }. Whoever signs in is alice, at
// once: what is tried here is the protocol. Asked for `acr_values` it signs in anew, and has "mfa" for whoever
// asks for that, else "pwd". GET /__events tells what happened. Says "ready" on standard output.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { exportJWK, generateKeyPair } from "jose";
import Provider, { errors, interactionPolicy } from "oidc-provider";

const { issuer, port, clients, requirePushed, resources, mtls } = JSON.parse(process.argv[2]);
const events = [];

async function signingKey(alg, kid) {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  return { ...(await exportJWK(privateKey)), alg, kid, use: "sig" };
}

const policy = interactionPolicy.base();
policy.get("login").checks.add(
  new interactionPolicy.Check("acr", "another sign-in is asked for", ({ oidc }) => {
    const wanted = oidc.params.acr_values?.split(" ") ?? [];
    return wanted.length > 0 && !wanted.includes(oidc.acr) && !oidc.result?.login;
  }),
);

const provider = new Provider(issuer, {
  acrValues: ["pwd", "mfa", "phr"],
  clients,
  jwks: { keys: [await signingKey("RS256", "rsa"), await signingKey("ES256", "ec")] },
  cookies: { keys: ["a-key-of-the-tests"] },
  claims: { openid: ["sub", "sid"], profile: ["name"], email: ["email"] },
  conformIdTokenClaims: false,
  extraTokenClaims: async (_, token) => ({
    acr: token.sessionUid && (await provider.Session.findByUid(token.sessionUid))?.acr,
  }),
  // Without the dispatcher that refuses loopback addresses: that is where the proxy is.
  fetch: (url, { dispatcher, ...options }) => globalThis.fetch(url, options),
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, name: "Alice Liddell", email: "alice@example.com" }),
  }),
  features: {
    backchannelLogout: { enabled: true },
    devInteractions: { enabled: false },
    dPoP: { enabled: true, nonceSecret: Buffer.alloc(32, 7), requireNonce: () => true },
    fapi: { enabled: true, profile: (_, client) => (client?.clientId.startsWith("by-fapi") ? "2.0" : undefined) },
    introspection: { enabled: true },
    mTLS: {
      enabled: true,
      certificateBoundAccessTokens: true,
      selfSignedTlsClientAuth: true,
      getCertificate: (ctx) => ctx.req.socket.getPeerX509Certificate?.(),
    },
    pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: requirePushed },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, resource) => {
        if (!resources.includes(resource)) throw new errors.InvalidTarget();
        return { scope: "openid profile", audience: resource, accessTokenFormat: "jwt" };
      },
      useGrantedResource: () => true,
    },
    requestObjects: { enabled: true },
    revocation: { enabled: true },
    richAuthorizationRequests: {
      enabled: true,
      types: {
        accounts: { validate: () => undefined },
        payment: {
          validate: (_, detail) => {
            if (!detail.instructedAmount) throw new errors.InvalidAuthorizationDetails("no instructedAmount");
          },
        },
      },
      authorizationDetailsForGrantSource: ({ oidc }) => oidc.params.authorization_details && oidc.grant.rar,
      authorizationDetailsForAccessToken: (_, __, source) => source.rar,
      authorizationDetailsForIntrospection: (_, token) => token.rar,
    },
    rpInitiatedLogout: { enabled: true },
  },
  clientAuthMethods: ["client_secret_basic", "client_secret_post", "private_key_jwt", "self_signed_tls_client_auth"],
  discovery: {
    mtls_endpoint_aliases: Object.fromEntries(
      Object.entries({
        token_endpoint: "token",
        revocation_endpoint: "token/revocation",
        userinfo_endpoint: "me",
        pushed_authorization_request_endpoint: "request",
      }).map(([name, path]) => [name, `https://localhost:${mtls.port}/${path}`]),
    ),
  },
  interactions: { policy, url: (_, interaction) => `/interaction/${interaction.uid}` },
  issueRefreshToken: () => true,
  rotateRefreshToken: true,
  ttl: {
    AccessToken: 60,
    AuthorizationCode: 60,
    Grant: 3600,
    IdToken: 60,
    Interaction: 600,
    RefreshToken: 3600,
    Session: 3600,
  },
});

for (const name of [
  "grant.success",
  "grant.error",
  "grant.revoked",
  "refresh_token.consumed",
  "pushed_authorization_request.success",
  "pushed_authorization_request.error",
  "authorization.error",
  "backchannel.success",
  "backchannel.error",
  "server_error",
]) {
  provider.on(name, (...what) => {
    const error = what.find((each) => each instanceof Error);
    const grant = what[0]?.oidc?.params?.grant_type;
    events.push({ name, grant, error: error && `${error.message}: ${error.error_detail ?? error.cause ?? ""}` });
  });
}

async function interact(request, response) {
  const { prompt, params, session, grantId } = await provider.interactionDetails(request, response);
  if (prompt.name === "login") {
    const acr = params.acr_values?.split(" ").includes("mfa") ? "mfa" : "pwd";
    await provider.interactionFinished(request, response, { login: { accountId: "alice", acr } });
    return;
  }
  const grant = grantId
    ? await provider.Grant.find(grantId)
    : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  for (const resource of [params.resource ?? []].flat()) grant.addResourceScope(resource, params.scope);
  grant.rar = prompt.details.rar ?? grant.rar;
  const consent = { grantId: await grant.save() };
  await provider.interactionFinished(request, response, { consent }, { mergeWithLastSubmission: true });
}

const handle = provider.callback();
const [cert, key] = [mtls.cert, mtls.key].map((path) => readFileSync(path));
createTlsServer({ cert, key, requestCert: true, rejectUnauthorized: false }, handle).listen(mtls.port, "127.0.0.1");
createServer((request, response) => {
  if (request.url === "/__events") {
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify(events));
  } else if (request.url.startsWith("/interaction/")) {
    interact(request, response).catch((error) => {
      response.statusCode = 500;
      response.end(String(error.stack));
    });
  } else {
    handle(request, response);
  }
}).listen(port, "127.0.0.1", () => process.stdout.write("ready\n"));
