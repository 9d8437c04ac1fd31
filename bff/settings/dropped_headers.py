"""The headers that do not pass between a client and a backend, each with its reason: data and look-ups.

A pattern is a field's name in lower case; a `*` stands for any characters, and `-` for `_` as well, since
CGI-like servers cannot tell the two apart. `fixed` headers are the proxy's own to write or to drop: no
setting lets them through.
"""

import re
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple


class Stopped(NamedTuple):
    """One row: a pattern of names that are stopped, and the reason."""

    pattern: str
    reason: str
    fixed: bool = False


_CONNECTION = "belongs to one connection, not to the request (RFC 9110, 7.6.1)"
_FRAMING = "says where a message ends: each connection writes its own"
_IDENTITY = "names who is signed in, and is believed by backends behind such a gateway"
_CERTIFICATE = "names the client's certificate, and is believed by backends behind a TLS proxy"
_ADDRESS = "names the client's address, which the proxy tells in X-Forwarded-For"
_SCHEME = "names the scheme, which the proxy tells in X-Forwarded-Proto"
_ROUTING = "names another path, host or method than the one that was judged here"
_INTERNAL = "is an order between a gateway or framework and its own parts"
_HTTPOXY = "becomes HTTP_PROXY in CGI programs, and their outgoing proxy (httpoxy)"
_OURS = "is written by the proxy"

TO_BACKEND = (
    *(
        Stopped(name, _CONNECTION, fixed=True)
        for name in ("connection", "keep-alive", "te", "trailer", "trailers")
    ),
    Stopped("upgrade", _CONNECTION, fixed=True),
    Stopped("http2-settings", _CONNECTION, fixed=True),
    Stopped("content-length", _FRAMING, fixed=True),
    Stopped("transfer-encoding", _FRAMING, fixed=True),
    Stopped("expect", "is between the proxy and the backend: the client's is answered here", fixed=True),
    Stopped("host", "is the backend's own name", fixed=True),
    Stopped("authorization", "is the proxy's to write: it holds the session's token"),
    Stopped("dpop", "is the proxy's to write: it proves the session's key"),
    Stopped("cookie", "is decided by keep_cookies", fixed=True),
    Stopped("bff-*", _OURS, fixed=True),
    Stopped("x-request-id", _OURS, fixed=True),
    Stopped("traceparent", _OURS, fixed=True),
    Stopped("tracestate", "goes with its own traceparent only", fixed=True),
    Stopped("forwarded", _OURS, fixed=True),
    Stopped("x-forwarded-for", _OURS, fixed=True),
    Stopped("x-forwarded-host", _OURS, fixed=True),
    Stopped("x-forwarded-proto", _OURS, fixed=True),
    Stopped("x-forwarded-prefix", _OURS, fixed=True),
    Stopped("proxy", _HTTPOXY),
    Stopped("proxy-*", "is for a proxy, and this is the last one that a client may speak to"),
    Stopped("x-forwarded", _ADDRESS),
    Stopped("x-forwarded-*", "tells what a proxy saw or decided: port, user, groups, token, certificate"),
    Stopped("forwarded-*", _ADDRESS),
    # The signed-in user.
    Stopped("remote-*", _IDENTITY),  # Authelia, CGI's REMOTE_USER and REMOTE_ADDR
    Stopped("x-remote-*", _IDENTITY),
    Stopped("x-auth-request-*", _IDENTITY),  # oauth2-proxy
    Stopped("x-authenticated-*", _IDENTITY),
    Stopped("x-authentik-*", _IDENTITY),
    *(
        Stopped(f"x-auth-{what}", _IDENTITY)  # Gatekeeper; X-Auth-Token is many an API's own, and passes
        for what in ("audience", "email", "groups", "roles", "subject", "user", "userid", "username")
    ),
    Stopped("x-webauth-*", _IDENTITY),  # Grafana
    Stopped("x-vouch-*", _IDENTITY),
    Stopped("x-pomerium-*", _IDENTITY),
    Stopped("x-consumer-*", _IDENTITY),  # Kong
    Stopped("x-credential-*", _IDENTITY),
    Stopped("x-anonymous-consumer", _IDENTITY),
    Stopped("x-userinfo", _IDENTITY),  # lua-resty-openidc, APISIX
    Stopped("x-id-token", _IDENTITY),
    Stopped("x-access-token", _IDENTITY),
    Stopped("oidc-*", _IDENTITY),  # mod_auth_openidc
    Stopped("mellon-*", _IDENTITY),
    Stopped("x-shib-*", _IDENTITY),
    Stopped("cf-access-*", _IDENTITY),
    Stopped("x-goog-authenticated-user-*", _IDENTITY),
    Stopped("x-goog-iap-*", _IDENTITY),
    Stopped("x-amzn-oidc-*", _IDENTITY),
    Stopped("x-ms-client-principal*", _IDENTITY),
    Stopped("x-ms-token-*", _IDENTITY),
    Stopped("tailscale-*", _IDENTITY),
    # By which certificate.
    Stopped("ssl-*", _CERTIFICATE),
    Stopped("x-ssl-*", _CERTIFICATE),
    Stopped("client-cert*", _CERTIFICATE),  # RFC 9440
    Stopped("x-client-cert*", _CERTIFICATE),
    Stopped("x-client-dn", _CERTIFICATE),
    Stopped("x-client-s-dn", _CERTIFICATE),
    Stopped("x-client-verify", _CERTIFICATE),
    Stopped("x-tls-*", _CERTIFICATE),
    Stopped("x-amzn-mtls-*", _CERTIFICATE),
    Stopped("x-arr-*", _CERTIFICATE),
    # From where.
    Stopped("true-client-ip", _ADDRESS),
    Stopped("client-ip", _ADDRESS),
    Stopped("x-client-ip", _ADDRESS),
    Stopped("x-cluster-client-ip", _ADDRESS),
    Stopped("x-real-*", _ADDRESS),
    Stopped("x-originating-ip", _ADDRESS),
    Stopped("x-proxyuser-ip", _ADDRESS),
    Stopped("cf-connecting-*", _ADDRESS),
    Stopped("cf-pseudo-ipv4", _ADDRESS),
    Stopped("cf-ipcountry", _ADDRESS),
    Stopped("fastly-client-*", _ADDRESS),
    Stopped("fly-client-ip", _ADDRESS),
    Stopped("do-connecting-ip", _ADDRESS),
    Stopped("incap-client-ip", _ADDRESS),
    Stopped("x-azure-*", _ADDRESS),
    Stopped("x-appengine-*", _ADDRESS),
    Stopped("x-nf-client-connection-ip", _ADDRESS),
    Stopped("x-vercel-*", _ADDRESS),
    Stopped("x-sucuri-*", _ADDRESS),
    Stopped("wl-proxy-*", _ADDRESS),  # WebLogic: address and certificate
    # To where, and how.
    Stopped("x-original-*", _ROUTING),
    Stopped("x-rewrite-*", _ROUTING),
    Stopped("x-http-*-override", _ROUTING),
    Stopped("x-http-method", _ROUTING),
    Stopped("x-http-destinationurl", _ROUTING),
    Stopped("x-method-override", _ROUTING),
    Stopped("x-host", _ROUTING),
    Stopped("x-script-name", _ROUTING),
    Stopped("x-scheme", _SCHEME),
    Stopped("x-url-scheme", _SCHEME),
    Stopped("front-end-https", _SCHEME),
    Stopped("x-envoy-*", _INTERNAL),
    Stopped("x-middleware-*", _INTERNAL),  # Next.js skips its own checks for X-Middleware-Subrequest
    Stopped("x-invoke-*", _INTERNAL),
    Stopped("x-accel-*", _INTERNAL),  # Rack::Sendfile believes X-Accel-Mapping and X-Sendfile-Type
    Stopped("x-sendfile*", _INTERNAL),
)
"""Headers that a client cannot send to a backend."""

BELIEVED = (
    *(row for row in TO_BACKEND if row.reason in {_IDENTITY, _ROUTING} and row.pattern != "x-original-*"),
    *(
        Stopped(f"x-forwarded-{what}", _IDENTITY)  # oauth2-proxy
        for what in ("access-token", "email", "groups", "preferred-username", "user")
    ),
    *(
        Stopped(name, _CERTIFICATE)  # of a client alone: some CDNs write x-arr-* and x-tls-* of each call
        for name in (
            "ssl-client-*",
            "x-ssl-client-*",
            "client-cert*",
            "x-client-cert*",
            "x-client-dn",
            "x-client-s-dn",
            "x-client-verify",
            "x-amzn-mtls-*",
            "x-arr-clientcert",
            "x-forwarded-client-cert",  # Envoy
            "x-forwarded-tls-client-cert*",  # Traefik
        )
    ),
    Stopped("x-middleware-*", _INTERNAL),
    Stopped("x-invoke-*", _INTERNAL),
    # Rack::Sendfile finds a file by X-Accel-Mapping and X-Sendfile-Type; the others belong to answers.
    # X-Accel-Internal passes: some servers write it into each request.
    Stopped("x-accel-mapping", _INTERNAL),
    Stopped("x-accel-redirect", _INTERNAL),
    Stopped("x-sendfile*", _INTERNAL),
    Stopped("proxy", _HTTPOXY),
)
"""Headers that backends may trust, and that reverse proxies write only if they are configured to."""

_ORIGIN = "speaks for the whole origin, which many backends share"
_FRONT = "is an order to the reverse proxy in front"

FROM_BACKEND = (
    *(
        Stopped(name, _CONNECTION, fixed=True)
        for name in ("connection", "keep-alive", "te", "trailer", "trailers")
    ),
    Stopped("upgrade", _CONNECTION, fixed=True),
    Stopped("transfer-encoding", _FRAMING, fixed=True),
    Stopped("proxy-*", "is a proxy's: Proxy-Authenticate opens a password prompt"),
    Stopped("www-authenticate", "opens a password prompt: `challenges` decides", fixed=True),
    Stopped("optional-www-authenticate", "opens a password prompt (RFC 8053)"),
    Stopped(
        "authentication-*", "goes on with an authentication that is not the browser's (RFC 9110, 11.6.3)"
    ),
    Stopped("bff-*", _OURS, fixed=True),
    Stopped("dpop-nonce", "is for the proxy, which makes the proofs"),
    Stopped("date", "is ours: own answers need one too, and two are too many", fixed=True),
    Stopped("server", "is ours: it would tell of the inside"),
    Stopped("x-content-type-options", "is set anew", fixed=True),
    Stopped("access-control-*", "would open the origin to other sites"),
    Stopped("service-worker-allowed", "would let a worker take over paths of others"),
    Stopped("clear-site-data", _ORIGIN),
    Stopped("alt-svc", "would move the whole origin to another server"),
    Stopped("nel", "would report all of the origin's traffic to the backend's choice"),
    Stopped("report-to", "would report all of the origin's traffic to the backend's choice"),
    Stopped("expect-ct", _ORIGIN),
    Stopped("public-key-pins*", _ORIGIN),
    Stopped("strict-transport-security", "is for the server that ends TLS"),
    Stopped("sec-session-*", "would bind the origin's session to a device (DBSC)"),
    Stopped("secure-session-*", "would bind the origin's session to a device (DBSC)"),
    Stopped("x-accel-*", _FRONT),  # nginx: reads files, calls locations, sets its caching and buffering
    Stopped("x-sendfile*", _FRONT),
    Stopped("x-lighttpd-*", _FRONT),
    Stopped("x-litespeed-*", _FRONT),
    Stopped("x-reproxy-*", _FRONT),
    Stopped("x-envoy-*", _FRONT),
)
"""Headers that a backend cannot send to a browser, or to a proxy between."""


def plain_name(name: str) -> str:
    """A field's name in the spelling of the tables."""
    return name.lower().replace("_", "-")


def row_of(table: Iterable[Stopped], name: str) -> Stopped | None:
    """Returns the row that stops a field, the most exact one first; None for a field that passes."""
    plain = plain_name(name)
    found = [row for row in table if as_pattern([row]).fullmatch(plain)]
    return max(found, key=lambda row: (row.fixed, len(row.pattern)), default=None)


def as_pattern(table: Iterable[Stopped]) -> re.Pattern[str]:
    """All names that a table stops."""
    return re.compile("|".join(_piece(row.pattern) for row in table))


@cache
def _piece(pattern: str) -> str:
    return re.escape(pattern).replace(r"\*", ".*")
