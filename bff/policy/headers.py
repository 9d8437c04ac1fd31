"""Which headers pass, in both directions: pure functions over lists of `(name, value)`.

Rule 1: what the proxy sets for a backend, a client cannot set, in no spelling: `_` counts as `-`, because
CGI-like servers cannot tell them apart.
Rule 2: what `Connection` nominates is dropped from what the client sent, never from what the proxy sets.
Rule 3: Host, framing, Expect and Upgrade belong to a connection, not to a request: neither passes.
Rule 4: a backend's answer cannot open the origin that it is shown under (no CORS, no service worker scope,
no cookie of ours, no scriptable HTML unless the route says so).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bff.policy.cookies import sets_own, without_own
from bff.policy.fields import Fields, Header
from bff.policy.origin import PublicOrigin
from bff.settings.model import RouteSettings

_HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"te", b"trailer", b"trailers", b"transfer-encoding", b"upgrade"}
)
_DROPPED_REQUEST = _HOP_BY_HOP | {
    b"host",
    b"content-length",
    b"expect",
    b"http2-settings",
    b"authorization",
    b"cookie",
    b"forwarded",
    b"x-real-ip",
    b"x-request-id",
    b"traceparent",
    b"tracestate",  # passed on beside its own traceparent only
    b"x-http-method-override",
    b"x-http-method",
    b"x-method-override",
    b"x-original-url",
    b"x-rewrite-url",
}
_DROPPED_REQUEST_PREFIXES = (b"proxy-", b"x-forwarded-", b"bff-")
_PASSED_REQUEST = frozenset(
    {
        b"accept",
        b"accept-encoding",
        b"accept-language",
        b"cache-control",
        b"content-type",
        b"dnt",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"origin",
        b"pragma",
        b"priority",
        b"range",
        b"referer",
        b"sec-ch-ua",
        b"sec-ch-ua-mobile",
        b"sec-ch-ua-platform",
        b"sec-fetch-dest",
        b"sec-fetch-mode",
        b"sec-fetch-site",
        b"sec-fetch-user",
        b"user-agent",
    }
)
"""What browsers send with every call: told apart by one look, the rest is looked at closely."""

_DROPPED_RESPONSE = _HOP_BY_HOP | {
    b"alt-svc",  # would move the whole origin to another server
    b"clear-site-data",
    b"date",  # ours, as with nginx: own answers need one too, and two are too many
    b"server",
    b"nel",  # would report all of the origin's traffic to the backend's choice
    b"report-to",
    b"public-key-pins",
    b"service-worker-allowed",
    b"strict-transport-security",  # a matter of whoever ends TLS
    b"x-accel-redirect",  # orders to the reverse proxy in front of us
    b"x-sendfile",
    b"x-content-type-options",  # set anew
}
_DROPPED_RESPONSE_PREFIXES = (b"proxy-", b"access-control-", b"bff-")
_CACHE_RESPONSE = frozenset(
    {b"cache-control", b"expires", b"pragma", b"surrogate-control", b"x-accel-expires"}
)
_PASSED_RESPONSE = frozenset(
    {
        b"content-encoding",
        b"content-language",
        b"content-type",
        b"etag",
        b"last-modified",
        b"location",
        b"vary",
    }
)
_NOMINATE_NOTHING = frozenset({b"keep-alive", b"close"})
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_NO_STORE = (b"cache-control", b"private, no-store")
_SANDBOX = (b"content-security-policy", b"sandbox")


class Hop(NamedTuple):
    """What a request gets from this hop. `client` is an address, or `unknown`."""

    client: str
    request_id: bytes
    traceparent: bytes


@dataclass(frozen=True, slots=True)
class HeaderRules:
    """The rules of one route, with everything worked out that no single request decides."""

    route: bytes  # the route's path, which names these rules
    dropped_request: frozenset[bytes]
    keep_cookies: bool
    authenticated: bool
    no_store: bool
    response_extra: tuple[Header, ...]
    forwarded_tail: bytes
    forwarded_host_proto: tuple[Header, Header]

    @classmethod
    def compiled(cls, route: RouteSettings, public: PublicOrigin, csrf_header: bytes) -> "HeaderRules":
        """The rules of `route` behind `public`. `csrf_header` is in lower case."""
        quoted = b'"' + public.host + b'"' if b":" in public.host else public.host
        return cls(
            route=route.path.encode("ascii"),
            dropped_request=frozenset(_DROPPED_REQUEST | {csrf_header}),
            keep_cookies=route.keep_cookies,
            authenticated=route.auth != "none",
            no_store=route.auth != "none" and not route.allow_cache,
            response_extra=(_NOSNIFF,) if route.html else (_NOSNIFF, _SANDBOX),
            forwarded_tail=b";host=" + quoted + b";proto=" + public.scheme,
            forwarded_host_proto=((b"x-forwarded-host", public.host), (b"x-forwarded-proto", public.scheme)),
        )

    def request(self, fields: Fields, hop: Hop, bearer: bytes | None) -> list[Header]:
        """The headers for a backend: the client's that may pass, then ours.

        Framing, Host and Expect are the connection's. `bearer` is an access token, or None to send none.
        """
        return [*self.lasting(fields, hop.client), *self.fleeting(fields, hop, bearer)]

    def lasting(self, fields: Fields, client: str) -> list[Header]:
        """Those that are the same for every request with these fields from this client."""
        address = client.encode("ascii")
        node = b'"[' + address + b']"' if b":" in address else address
        return [
            *self._passed(fields.headers),
            (b"forwarded", b"for=" + node + self.forwarded_tail),
            (b"x-forwarded-for", address),
            *self.forwarded_host_proto,
        ]

    def fleeting(self, fields: Fields, hop: Hop, bearer: bytes | None) -> list[Header]:
        """Those that are another request's another time."""
        headers = [(b"x-request-id", hop.request_id), (b"traceparent", hop.traceparent)]
        if bearer is not None:
            headers.append((b"authorization", b"Bearer " + bearer))
        if fields.values(b"traceparent") == [hop.traceparent]:
            headers += [(b"tracestate", value) for value in fields.values(b"tracestate")]
        return headers

    def _passed(self, headers: Sequence[Header]) -> list[Header]:
        passed: list[Header] = []
        connection: list[bytes] = []
        for header in headers:
            name = header[0]
            if name in _PASSED_REQUEST:
                passed.append(header)
            elif name == b"connection":
                connection.append(header[1])
            elif name == b"cookie" and self.keep_cookies:
                if (rest := without_own(header[1])) is not None:
                    passed.append((name, rest))
            elif self._may_pass(name):
                passed.append(header)
        return _without_nominated(passed, connection)

    def response(self, status: int, headers: Sequence[Header]) -> list[Header]:
        """The headers for the client: the backend's that may pass, then ours.

        Content-Length passes, so that answers to HEAD and 304 keep it, but not on 204 (RFC 9110 8.6).
        """
        passed: list[Header] = []
        connection: list[bytes] = []
        for header in headers:
            name, value = header
            if name == b"content-length":
                if status != 204:  # noqa: PLR2004 - No Content
                    passed.append(header)
            elif name == b"connection":
                connection.append(value)
            elif self.passes_back(name, value):
                passed.append(header)
        passed = _without_nominated(passed, connection)
        return [*passed, *self.response_tail(cacheable=any(name == b"cache-control" for name, _ in passed))]

    def passes_back(self, name: bytes, value: bytes) -> bool:
        """Whether one field of a backend's answer may pass; framing and `Connection` are judged elsewhere."""
        if name in _PASSED_RESPONSE:
            return True
        if name == b"set-cookie":
            return not sets_own(value)
        return not (
            name in _DROPPED_RESPONSE
            or name.startswith(_DROPPED_RESPONSE_PREFIXES)
            or (self.no_store and (name in _CACHE_RESPONSE or name.endswith(b"-cache-control")))
        )

    def response_tail(self, *, cacheable: bool) -> tuple[Header, ...]:
        """What we add; `cacheable` says that a `Cache-Control` of the backend's has passed."""
        if self.no_store or (self.authenticated and not cacheable):
            return (*self.response_extra, _NO_STORE)
        return self.response_extra

    def _may_pass(self, name: bytes) -> bool:
        plain = name.replace(b"_", b"-") if b"_" in name else name
        return plain not in self.dropped_request and not plain.startswith(_DROPPED_REQUEST_PREFIXES)


def _without_nominated(headers: list[Header], connection: list[bytes]) -> list[Header]:
    """Drops what `Connection` nominates (RFC 9110 7.6.1); framing is not open to nomination."""
    if not connection or (len(connection) == 1 and connection[0].lower() in _NOMINATE_NOTHING):
        return headers
    nominated = {token.strip(b" \t").lower() for value in connection for token in value.split(b",")}
    nominated -= {b"keep-alive", b"close", b"upgrade", b"", b"content-length"}
    if not nominated:
        return headers
    return [header for header in headers if header[0] not in nominated]
