"""The headers that pass, in both directions: pure functions over lists of `(name, value)`.

Rule 1: a client cannot set a field that the proxy sets for a backend, in no spelling: `_` counts as `-`,
because CGI-like servers cannot tell them apart.
Rule 2: fields that `Connection` nominates are dropped from the client's, never from the proxy's own.
Rule 3: Host, framing, Expect and Upgrade belong to a connection, not to a request: neither passes.
Rule 4: names are judged by the tables in `bff.settings.dropped_headers`, which say why.
Rule 5: a backend's answer cannot open the origin that it is shown under (no CORS, no service worker scope,
no cookie of ours, no scriptable HTML unless the route says so).
"""

import re
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bff.policy.cookie_names import sets_own, without_own
from bff.policy.fields import Fields, Header
from bff.policy.forwarded_fields import ForwardedFields, client_fields
from bff.policy.public_origin import PublicOrigin
from bff.policy.redirects_and_cookies import PublicView
from bff.policy.route_access import headers_of
from bff.policy.routes import compile_route
from bff.policy.www_authenticate import passing_challenges
from bff.settings.dropped_headers import FROM_BACKEND, TO_BACKEND, Stopped, as_pattern, plain_name
from bff.settings.model import DevelopmentPage, RouteSettings

FROM_BROWSERS = frozenset(
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
        b"sec-gpc",
        b"user-agent",
    }
)
"""The fields that browsers send with every call: told apart by one look, the rest is looked at closely."""

_CACHE_RESPONSE = frozenset({b"cache-control", b"expires", b"pragma", b"surrogate-control"})
_PASSED_RESPONSE = frozenset(
    {
        b"content-encoding",
        b"content-language",
        b"content-type",
        b"etag",
        b"last-modified",
        b"vary",
    }
)
_LOOKED_INTO = frozenset({b"set-cookie", b"www-authenticate", b"location", b"content-location", b"refresh"})
"""Fields of an answer of which the value decides as well."""

_NOMINATE_NOTHING = frozenset({b"keep-alive", b"close"})
_NOSNIFF = (b"x-content-type-options", b"nosniff")
_NO_STORE = (b"cache-control", b"private, no-store")
_SANDBOX = (b"content-security-policy", b"sandbox")


class RequestIds(NamedTuple):
    """The ids of a request, and other fields that the proxy adds. `client` is an address, or `unknown`."""

    client: str
    request_id: bytes
    traceparent: bytes
    added: tuple[Header, ...] = ()  # by an application's hook


_MOST_NAMES, _LONGEST_NAME = 1024, 64


class NameFilter:
    """A filter of field names. Names repeat, so that verdicts are kept."""

    __slots__ = ("_known", "_stopped", "_through")

    def __init__(self, stopped: re.Pattern[str], through: frozenset[str]) -> None:
        self._stopped = stopped
        self._through = through
        self._known: dict[bytes, bool] = {}

    @property
    def through(self) -> frozenset[str]:
        """The names that pass all the same."""
        return self._through

    def stops(self, name: bytes) -> bool:
        """Returns True if a field of this name, in lower case, does not pass."""
        known = self._known.get(name)
        if known is None:
            plain = plain_name(name.decode("latin-1"))
            known = plain not in self._through and self._stopped.fullmatch(plain) is not None
            if len(name) <= _LONGEST_NAME:
                if len(self._known) >= _MOST_NAMES:
                    self._known.clear()
                self._known[name] = known
        return known


_FROM_BACKEND = as_pattern(FROM_BACKEND)


@dataclass(frozen=True, slots=True)
class HeaderRules:
    """The rules of one route, with everything worked out that no single request decides."""

    route: bytes  # the route's path, which names these rules
    to_backend: NameFilter
    from_backend: NameFilter
    keep_cookies: bool
    map_cookies: bool
    map_locations: bool
    challenges: frozenset[bytes] | None  # None: all pass
    view: PublicView
    authenticated: bool
    no_store: bool
    response_extra: tuple[Header, ...]
    forwarded: ForwardedFields
    bearer: bool  # the backend gets the access token
    claims: tuple[tuple[bytes, str], ...]  # headers, each with the claim that it tells
    selective: bool  # True: a client's field that passes on other routes may be stopped here

    @classmethod
    def compiled(
        cls,
        route: RouteSettings,
        public: PublicOrigin,
        csrf_header: bytes,
        added: Sequence[str] = (),
        told: Collection[str] = (),
    ) -> "HeaderRules":
        """The rules of `route` behind `public`. `csrf_header` is in lower case.

        `added` are the names of fields that an application's hook sets, `told` those that routes to the same
        backend make of claims: a client's own never pass.
        """
        set_here = {plain_name(name) for name in (*added, *told, *route.headers)}
        through = frozenset(map(plain_name, route.pass_request_headers)) - set_here
        # A cache in front sees no token of ours, and would keep what was got by one (RFC 9111 3.5).
        authenticated = route.auth != "none" or route.token_kind() == "client"
        names = (plain_name(csrf_header.decode("ascii")), *set_here)
        ours = [Stopped(name, "is read or written by the proxy", fixed=True) for name in names]
        return cls(
            route=route.path.encode("ascii"),
            to_backend=NameFilter(as_pattern([*TO_BACKEND, *ours]), through),
            from_backend=NameFilter(_FROM_BACKEND, frozenset(map(plain_name, route.pass_response_headers))),
            keep_cookies=route.keep_cookies,
            map_cookies=route.keep_cookies and route.map_cookies,
            map_locations=route.map_locations,
            challenges=None
            if "authorization" in through
            else frozenset(scheme.lower().encode("ascii") for scheme in route.challenges),
            view=PublicView.of(compile_route(route), public),
            authenticated=authenticated,
            no_store=authenticated and not route.allow_cache,
            response_extra=(_NOSNIFF, *_content_policy(route)),
            forwarded=ForwardedFields.of(route, public),
            bearer=route.token_kind() != "none",
            claims=headers_of(route),
            selective=bool(route.headers or told),
        )

    def request(self, fields: Fields, ids: RequestIds) -> list[Header]:
        """The headers for a backend: the client's that may pass, then ours.

        Framing, Host and Expect are the connection's, the token and the claims are `bff.credentials`'.
        """
        headers = [
            *self._passed(fields.headers),
            *client_fields(ids.client, self.forwarded.tail),
            *self.forwarded.same,
            (b"x-request-id", ids.request_id),
            (b"traceparent", ids.traceparent),
            *ids.added,
        ]
        if fields.values(b"traceparent") == [ids.traceparent]:
            headers += [(b"tracestate", value) for value in fields.values(b"tracestate")]
        return headers

    def _passed(self, headers: Sequence[Header]) -> list[Header]:
        passed: list[Header] = []
        connection: list[bytes] = []
        for header in headers:
            name = header[0]
            if name in FROM_BROWSERS:
                passed.append(header)
            elif name == b"connection":
                connection.append(header[1])
            elif name == b"cookie" and self.keep_cookies:
                if (rest := without_own(header[1])) is not None:
                    passed.append((name, rest))
            elif not self.to_backend.stops(name):
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
            elif (back := self.passed_back(header)) is not None:
                passed.append(back)
        passed = _without_nominated(passed, connection)
        return [*passed, *self.response_tail(cacheable=any(name == b"cache-control" for name, _ in passed))]

    def answer_key(self) -> Hashable:
        """Returns the values that decide how an answer's lines fare: equal where the lines fare alike.

        The fields that `looks_into` names are left out: paths and other settings decide about these.
        """
        return self.from_backend.through, self.authenticated, self.no_store, self.response_extra

    @staticmethod
    def looks_into(name: bytes) -> bool:
        """Returns True for a field of an answer whose value is looked into, by the route's own rules."""
        return name in _LOOKED_INTO

    def passed_back(self, header: Header) -> Header | None:
        """One field of a backend's answer as it passes, or None; framing is judged elsewhere."""
        name = header[0]
        if name in _PASSED_RESPONSE:
            return header
        if name in _LOOKED_INTO:
            return self._looked_into(header)
        if self.from_backend.stops(name):
            return None
        if self.no_store and (name in _CACHE_RESPONSE or name.endswith(b"-cache-control")):
            return None
        return header

    def _looked_into(self, header: Header) -> Header | None:
        name, value = header
        new: bytes | None = value
        if name == b"www-authenticate":
            new = value if self.challenges is None else passing_challenges(value, self.challenges)
        elif name == b"set-cookie":
            new = None if sets_own(value) else self.view.cookie(value) if self.map_cookies else value
        elif self.map_locations:
            new = self.view.refresh(value) if name == b"refresh" else self.view.url(value)
        return None if new is None else (name, new)

    def response_tail(self, *, cacheable: bool) -> tuple[Header, ...]:
        """The fields that we add; `cacheable` says that a `Cache-Control` of the backend's has passed."""
        if self.no_store or (self.authenticated and not cacheable):
            return (*self.response_extra, _NO_STORE)
        return self.response_extra

    def passes_on(self, name: bytes) -> bool:
        """Returns True if a client's field of this name is passed on, `Connection` and `Cookie` aside."""
        return name in FROM_BROWSERS or not self.to_backend.stops(name)


def _without_nominated(headers: list[Header], connection: list[bytes]) -> list[Header]:
    """Drops the fields that `Connection` nominates (RFC 9110 7.6.1); framing is not open to nomination."""
    if not connection or (len(connection) == 1 and connection[0].lower() in _NOMINATE_NOTHING):
        return headers
    nominated = {token.strip(b" \t").lower() for value in connection for token in value.split(b",")}
    nominated -= {b"keep-alive", b"close", b"upgrade", b"", b"content-length"}
    if not nominated:
        return headers
    return [header for header in headers if header[0] not in nominated]


def _content_policy(route: RouteSettings) -> tuple[Header, ...]:
    """The Content-Security-Policy of a route's answers: "sandbox", or our page's own."""
    if isinstance(route, DevelopmentPage):
        if route.csp_header is None:
            return ()
        return ((route.csp_header.encode("ascii"), route.csp.encode("utf-8")),)
    return () if route.html else (_SANDBOX,)
