"""The tables of headers that do not pass: one row a name, written by hand (H-15).

A name that leaves a table is missed here; a row of a table that no name here shows is found as well.
"""

from functools import cache

import pytest

from bff.policy.fields import Fields
from bff.policy.header_rules import HeaderRules, RequestIds
from bff.policy.public_origin import PublicOrigin
from bff.settings.dropped_headers import FROM_BACKEND, TO_BACKEND, Stopped, row_of
from bff.settings.model import RouteSettings

IDS = RequestIds("1.2.3.4", b"req-12345", b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01")

REQUEST = [
    "dpop",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "trailers",
    "upgrade",
    "http2-settings",
    "content-length",
    "transfer-encoding",
    "expect",
    "host",
    "authorization",
    "cookie",
    "bff-upstream",
    "bff-retry",
    "x-request-id",
    "traceparent",
    "tracestate",
    "x-csrf",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-prefix",
    "proxy",
    "proxy-authorization",
    "proxy-connection",
    "x-forwarded",
    "x-forwarded-port",
    "x-forwarded-server",
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
    "x-forwarded-access-token",
    "x-forwarded-client-cert",
    "x-forwarded-ssl",
    "forwarded-for",
    "remote-user",
    "remote-groups",
    "remote-addr",
    "x-remote-user",
    "x-auth-request-user",
    "x-auth-request-email",
    "x-auth-request-access-token",
    "x-authenticated-user",
    "x-authenticated-userid",
    "x-authentik-username",
    "x-auth-audience",
    "x-auth-email",
    "x-auth-groups",
    "x-auth-roles",
    "x-auth-subject",
    "x-auth-user",
    "x-auth-userid",
    "x-auth-username",
    "x-webauth-user",
    "x-vouch-user",
    "x-pomerium-jwt-assertion",
    "x-consumer-id",
    "x-consumer-username",
    "x-credential-identifier",
    "x-anonymous-consumer",
    "x-userinfo",
    "x-id-token",
    "x-access-token",
    "oidc-claim-sub",
    "oidc-access-token",
    "mellon-name-id",
    "x-shib-user",
    "cf-access-jwt-assertion",
    "x-goog-authenticated-user-email",
    "x-goog-iap-jwt-assertion",
    "x-amzn-oidc-data",
    "x-ms-client-principal",
    "x-ms-client-principal-name",
    "x-ms-token-aad-id-token",
    "tailscale-user-login",
    "ssl-client-cert",
    "ssl-client-verify",
    "ssl-client-s-dn",
    "x-ssl-client-cert",
    "x-ssl-cert",
    "client-cert",
    "client-cert-chain",
    "x-client-cert",
    "x-client-cert-chain",
    "x-client-dn",
    "x-client-s-dn",
    "x-client-verify",
    "x-tls-client-cert",
    "x-amzn-mtls-clientcert",
    "x-arr-clientcert",
    "true-client-ip",
    "client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-real-ip",
    "x-real-port",
    "x-originating-ip",
    "x-proxyuser-ip",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "cf-pseudo-ipv4",
    "cf-ipcountry",
    "fastly-client-ip",
    "fly-client-ip",
    "do-connecting-ip",
    "incap-client-ip",
    "x-azure-clientip",
    "x-appengine-user-ip",
    "x-nf-client-connection-ip",
    "x-vercel-forwarded-for",
    "x-sucuri-clientip",
    "wl-proxy-client-ip",
    "wl-proxy-client-cert",
    "x-original-url",
    "x-original-uri",
    "x-original-host",
    "x-original-method",
    "x-original-forwarded-for",
    "x-rewrite-url",
    "x-rewrite-uri",
    "x-http-method-override",
    "x-http-path-override",
    "x-http-host-override",
    "x-http-method",
    "x-http-destinationurl",
    "x-method-override",
    "x-host",
    "x-script-name",
    "x-scheme",
    "x-url-scheme",
    "front-end-https",
    "x-envoy-original-path",
    "x-envoy-external-address",
    "x-middleware-subrequest",
    "x-invoke-path",
    "x-accel-mapping",
    "x-sendfile-type",
]

RESPONSE = [
    "dpop-nonce",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "trailers",
    "upgrade",
    "transfer-encoding",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-connection",
    "proxy-status",
    "optional-www-authenticate",
    "authentication-info",
    "authentication-control",
    "bff-upstream",
    "bff-retry",
    "date",
    "server",
    "x-content-type-options",
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-expose-headers",
    "service-worker-allowed",
    "clear-site-data",
    "alt-svc",
    "nel",
    "report-to",
    "expect-ct",
    "public-key-pins",
    "public-key-pins-report-only",
    "strict-transport-security",
    "sec-session-registration",
    "secure-session-registration",
    "x-accel-redirect",
    "x-accel-expires",
    "x-accel-limit-rate",
    "x-accel-buffering",
    "x-accel-charset",
    "x-sendfile",
    "x-sendfile2",
    "x-sendfile-temporary",
    "x-lighttpd-send-file",
    "x-lighttpd-send-tempfile",
    "x-litespeed-location",
    "x-reproxy-url",
    "x-reproxy-file",
    "x-envoy-immediate-health-check-fail",
    "cache-control",
    "expires",
    "pragma",
    "surrogate-control",
    "cdn-cache-control",
]

PASS_TO_BACKEND = [
    "accept",
    "content-type",
    "x-auth-token",
    "x-api-key",
    "x-client-version",
    "x-user",
    "x-requested-with",
    "x-amzn-trace-id",
    "x-goog-api-key",
    "x-b3-traceid",
    "idempotency-key",
    "if-match",
    "user-name",
    "via",
    "remote",
    "x-forwarding",
    "proxied",
]

PASS_FROM_BACKEND = [
    "content-type",
    "etag",
    "vary",
    "location",
    "link",
    "x-own",
    "x-ratelimit-limit",
    "retry-after",
    "content-disposition",
    "reporting-endpoints",
    "sourcemap",
    "accept-ranges",
    "allow",
    "age",
]


def rules(**route: object) -> HeaderRules:
    settings = RouteSettings.model_validate({"path": "/api", "upstream": "http://x", **route})
    return HeaderRules.compiled(settings, PublicOrigin.parse("https://app.example.com"), b"x-csrf")


def sent(name: str, **route: object) -> list[bytes]:
    """The values that a backend gets of this field from a client."""
    headers = rules(**route).request(Fields([(name.encode(), b"forged")]), IDS)
    return [value for found, value in headers if found == name.encode() and value == b"forged"]


def told(name: str, **route: object) -> list[bytes]:
    """The values that a client gets of this field from a backend."""
    headers = rules(**route).response(200, [(name.encode(), b"forged")])
    return [value for found, value in headers if found == name.encode() and value == b"forged"]


@pytest.mark.requirement("H-15", "B-12", "B-15")
@pytest.mark.parametrize("name", REQUEST)
def test_a_client_cannot_tell_a_backend(name: str) -> None:
    """Neither as it is usually written, nor as servers that make variables of names read it."""
    assert [] == sent(name)
    assert [] == sent(name.replace("-", "_"))
    assert [] == sent(name.replace("-", "_", 1))


@pytest.mark.requirement("H-15", "H-14", "B-34")
@pytest.mark.parametrize("name", RESPONSE)
def test_a_backend_cannot_tell_a_client(name: str) -> None:
    """In no spelling."""
    assert [] == told(name)
    if "cache" not in name and name != "surrogate-control":  # caches read one spelling
        assert [] == told(name.replace("-", "_"))


@pytest.mark.parametrize("name", PASS_TO_BACKEND)
def test_what_is_nobodys_but_the_apis_reaches_it(name: str) -> None:
    """Names that look like those of the table, and are not."""
    assert [b"forged"] == sent(name)


@pytest.mark.parametrize("name", PASS_FROM_BACKEND)
def test_what_is_the_apis_own_comes_back(name: str) -> None:
    """An answer keeps all else."""
    assert [b"forged"] == told(name)


@cache
def rows_of(table: tuple[Stopped, ...], names: tuple[str, ...]) -> set[Stopped | None]:
    """The rows that stop these fields."""
    return {row_of(table, name) for name in names}


@pytest.mark.parametrize("row", TO_BACKEND, ids=lambda row: row.pattern)
def test_each_row_of_requests_is_shown(row: Stopped) -> None:
    """A row that no hand-written name needs could leave the table unnoticed."""
    assert row in rows_of(TO_BACKEND, tuple(REQUEST))
    assert row.reason


@pytest.mark.parametrize("row", FROM_BACKEND, ids=lambda row: row.pattern)
def test_each_row_of_answers_is_shown(row: Stopped) -> None:
    """The same for answers; challenges have tests of their own."""
    assert row in rows_of(FROM_BACKEND, (*RESPONSE, "www-authenticate"))
    assert row.reason


@pytest.mark.requirement("H-15")
def test_a_setting_lets_one_through() -> None:
    """The named header passes on that route, in each spelling, and its neighbours do not."""
    through = {"pass_request_headers": ["X-HTTP-Method-Override", "remote_user"]}
    assert [b"forged"] == sent("x-http-method-override", **through)
    assert [b"forged"] == sent("remote-user", **through)
    assert [b"forged"] == sent("x_http_method_override", **through)
    assert [] == sent("x-http-path-override", **through)
    back = {"pass_response_headers": ["X-Accel-Buffering"]}
    assert [b"forged"] == told("x-accel-buffering", **back)
    assert [] == told("x-accel-redirect", **back)


def test_many_names_do_not_change_a_verdict() -> None:
    """What is remembered of names is bounded."""
    judged = rules()
    fields = Fields([(b"x-own-%d" % number, b"1") for number in range(3000)] + [(b"proxy", b"1")])
    names = [name for name, _ in judged.request(fields, IDS)]
    assert 3000 == sum(name.startswith(b"x-own-") for name in names)
    assert b"proxy" not in names
