"""Forward-auth: the client's request, read from the question of a reverse proxy that forwards it. Pure.

A reverse proxy tells of the client's request in one of three ways: by its path behind ours (Envoy), by
`X-Forwarded-Method` and `X-Forwarded-Uri` (Traefik, Caddy), or by `X-Original-Method` and `X-Original-URI` or
`X-Original-URL` (nginx). The other fields of the client's request come along.

Rule 1: all that tells of one thing has to agree, byte for byte, and each field may come once: a client that
adds a field of its own can only have itself refused.
Rule 2: what is not told is not guessed: a question without method or path is refused.
Rule 3: a path that two readers could take differently is refused, also where the route takes it otherwise:
here the reverse proxy has chosen the backend, by a reading of its own.
Rule 4: a field that a backend may believe, and that forwarding ourselves would drop, is refused: nobody says
that the reverse proxy drops it. With `_` in its name, each that forwarding would drop is refused: a CGI-like
backend takes it for the field with `-`, and that is the one that reverse proxies write or drop.
Rule 5: a WebSocket or event stream of a session, or of a client's own token, is refused: nobody would end it
with that.
"""

import hashlib
import hmac
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from bff.errors import Problem
from bff.policy.admission import Admitted, Denied, RequestHead, admit
from bff.policy.csrf import Guard
from bff.policy.fields import Fields, Header
from bff.policy.header_rules import NameFilter
from bff.policy.paths import path_problem
from bff.policy.public_origin import PublicOrigin
from bff.policy.routes import RouteTable, Upstream
from bff.settings.dropped_headers import BELIEVED, TO_BACKEND, Stopped, as_pattern, plain_name
from bff.settings.model import RouteSettings
from bff.settings.route_check import parser_takes

FORWARD_AUTH = b"/bff/forward-auth"
"""The path of the endpoint; a path behind it is that of the client's request."""

SECRET = b"bff-forward-auth"
"""The field by which a reverse proxy proves itself."""

ROUTE = b"bff-forward-auth-route"
"""The field that names the route that the reverse proxy means; a request for another one is refused."""

UNAUTHORIZED_ONLY = b"refusal=401"
"""The query that asks for 401 in place of every other refusal: nginx knows 401 and 403 alone."""

_UNDER = FORWARD_AUTH + b"/"
_METHODS = frozenset({b"x-forwarded-method", b"x-original-method"})
_URIS = frozenset({b"x-forwarded-uri", b"x-original-uri"})
_URL = b"x-original-url"
_HOST = b"x-forwarded-host"
_TOLD = _METHODS | _URIS | {_URL, _HOST, SECRET, ROUTE}
_WEBSOCKET, _STREAM = b"sec-websocket-key", b"text/event-stream"
_DROPPED = as_pattern(TO_BACKEND)
_ASKING = frozenset({"x-auth-request-redirect"})  # ingress-nginx writes it into its question


def is_forward_auth(raw_path: bytes) -> bool:
    """Returns True for the endpoint's path, and for one with a client's path behind it."""
    return raw_path == FORWARD_AUTH or raw_path.startswith(_UNDER)


def wants_unauthorized(request_line: bytes) -> bool:
    """Returns True for the first line of a question that asks for 401 in place of every refusal."""
    _, _, rest = request_line.partition(b" ")
    return rest.partition(b" ")[0] == FORWARD_AUTH + b"?" + UNAUTHORIZED_ONLY


def digest_of(secret: bytes) -> bytes:
    """Returns a secret in the form in which it is compared."""
    return hashlib.sha256(secret).digest()


def no_proof(question: RequestHead, digests: Sequence[bytes]) -> str | None:
    """Returns why a question does not come from our reverse proxy, which knows a secret; None if it does."""
    values = [value for name, value in question.fields.headers if name == SECRET]
    if len(values) != 1:
        return "secret_missing" if not values else "secret_repeated"
    digest = digest_of(values[0])
    good = [hmac.compare_digest(digest, known) for known in digests]
    return None if any(good) else "secret_wrong"


NOTHING_TOLD: Mapping[Upstream, Collection[str]] = MappingProxyType({})


class Asked(NamedTuple):
    """The client's request, and what was found about it."""

    request: RequestHead
    verdict: Admitted | Denied


@dataclass(frozen=True, slots=True)
class Asking:
    """The rules, for one origin and its routes.

    `hosts` are the spellings of the origin's host; `believed` has, by a route's path, the fields of Rule 4.
    """

    origin: bytes
    hosts: frozenset[bytes]
    routes: RouteTable
    guard: Guard
    believed: Mapping[bytes, "Believed"]

    @classmethod
    def compiled(
        cls,
        public: PublicOrigin,
        routes: RouteTable,
        guard: Guard,
        added: Sequence[str] = (),
        told: Mapping[Upstream, Collection[str]] = NOTHING_TOLD,
    ) -> "Asking":
        """The rules for these routes.

        `added` are the names of fields that an application's hook sets, `told` those that routes to a backend
        make of claims.
        """
        believed = {
            route.path: _believed(route.settings, (*added, *told.get(route.upstream, ())))
            for route in routes.routes
        }
        return cls(public.origin, public.hosts, routes, guard, believed)

    def judge(self, question: RequestHead) -> Asked:
        """Reads the client's request from the question of a proven reverse proxy, and judges it.

        Where it cannot be read, the request is the question.
        """
        told: dict[bytes, bytes] = {}
        fields: list[Header] = []
        for header in question.fields.headers:
            name = header[0]
            if name not in _TOLD:
                fields.append(header)
            elif name in told:
                return Asked(question, _unclear(f"more than one {name.decode('ascii')}"))
            else:
                told[name] = header[1]
        host = told.get(_HOST) or next((value for name, value in fields if name == b"host"), b"")
        if host.lower() not in self.hosts:
            return Asked(question, Denied(Problem.WRONG_HOST, "host"))
        method, target = _method(question, told), _target(question, told, self.origin)
        if isinstance(method, Denied):
            return Asked(question, method)
        if isinstance(target, Denied):
            return Asked(question, target)
        path, _, query = target.partition(b"?")
        request = RequestHead(method, path, query, Fields(fields), question.peer)
        return Asked(request, self._admitted(request, told.get(ROUTE)))

    def _admitted(self, request: RequestHead, meant: bytes | None) -> Admitted | Denied:
        if (problem := path_problem(request.raw_path)) is not None:
            return _unclear(problem)
        verdict = admit(request, self.routes, self.guard)
        if isinstance(verdict, Denied):
            return verdict
        route = verdict.route
        if meant is not None and meant.rstrip(b"/") != route.path:
            return _unclear("the reverse proxy takes this path for another route")
        believed, lasts = self.believed[route.path], verdict.signed or verdict.bearer is not None
        for name, value in request.fields.headers:
            if believed.named.stops(name) or (b"_" in name and believed.spelled.stops(name)):
                return _unclear(f"the field {name.decode('ascii')} may not go to a backend")
            if lasts and (name == _WEBSOCKET or (name == b"accept" and _STREAM in value.lower())):
                return _unclear("a WebSocket or event stream, which has to end with its session or token")
        return verdict


def asked_place(headers: Iterable[Header], raw_path: bytes) -> tuple[bytes, bytes]:
    """Returns the host and the path that a question is about, as far as it tells; `judge` decides.

    It tells a frontend's rules from another's, and nothing else: `judge` refuses what is told twice.
    """
    told = dict(headers)
    host = told.get(_HOST) or told.get(b"host", b"")
    target = next((told[name] for name in _URIS if name in told), raw_path[len(FORWARD_AUTH) :])
    if _URL in told and not target:
        target = b"/" + told[_URL].partition(b"://")[2].partition(b"/")[2]
    return host, target.partition(b"?")[0]


class Believed(NamedTuple):
    """The fields of Rule 4 of a route: in any spelling, and with `_` in their names."""

    named: NameFilter
    spelled: NameFilter


def _believed(route: RouteSettings, added: Sequence[str]) -> Believed:
    """The fields of Rule 4 for a route: those that are written here are believed above all."""
    written = frozenset(map(plain_name, (*added, *route.headers)))
    pattern = as_pattern([*BELIEVED, *(Stopped(name, "is written by the proxy") for name in written)])
    passed = frozenset(map(plain_name, route.pass_request_headers))
    return Believed(NameFilter(pattern, (_ASKING | passed) - written), NameFilter(_DROPPED, passed))


def _unclear(reason: str) -> Denied:
    return Denied(Problem.BAD_REQUEST, reason)


def _method(question: RequestHead, told: Mapping[bytes, bytes]) -> bytes | Denied:
    """The one method that is told; the question's own where the path is behind ours."""
    methods = {told[name] for name in _METHODS if name in told}
    if question.raw_path != FORWARD_AUTH:
        methods.add(question.method)
    if len(methods) != 1:
        return _unclear("two methods are told" if methods else "no method is told")
    (method,) = methods
    return method if parser_takes(method.decode("latin-1")) else _unclear("unknown method")


def _target(question: RequestHead, told: Mapping[bytes, bytes], origin: bytes) -> bytes | Denied:
    """The one path and query that is told."""
    targets = {told[name] for name in _URIS if name in told}
    if _URL in told:
        url = told[_URL]
        targets.add(url[len(origin) :] if url.startswith(origin + b"/") else url)
    if question.raw_path != FORWARD_AUTH:
        query = b"?" + question.query if question.query else b""
        targets.add(question.raw_path[len(FORWARD_AUTH) :] + query)
    if len(targets) != 1:
        return _unclear("two paths are told" if targets else "no path is told")
    (target,) = targets
    return target
