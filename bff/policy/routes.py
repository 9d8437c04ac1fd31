"""The route table: the only function that maps a raw path to a backend.

Rule 1: matching is done on the raw path, on whole segments, longest prefix first; host and path prefix of
the destination come from the settings alone.
Rule 2: a path that two parsers could read differently is refused, never repaired (`bff.policy.paths`).
Rule 3: a path that would reach another route once a backend has decoded it is refused as well, so that one
route's methods and session rules cannot be walked around by way of another's.
Rule 4: a path of our own endpoints is no route's, not even the route `/`'s.
Rule 5: a path that is only unusual (`//`, an encoded slash), and in no reading a route's or ours, is the
page's.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from bff.policy.intern_pool import InternPool
from bff.policy.paths import (
    LENIENT,
    LONGEST_PATH,
    STRICT,
    PathRules,
    folded,
    is_encoded,
    path_problem,
    readings,
)
from bff.settings.model import RouteSettings
from bff.settings.url_parts import split_socket_url

OWN_PREFIX = b"/bff"
"""The prefix of the proxy's own endpoints, under the base path; no route may be under it."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A backend's address: the key of its connection pool, and its Host.

    With a `socket`, the path of a Unix socket, `host` is "localhost" and only told to the backend.
    """

    scheme: Literal["http", "https"]
    host: str
    port: int
    socket: str | None = None

    @property
    def name(self) -> str:
        """The route's name in metrics and messages."""
        return f"{self.host}:{self.port}" if self.socket is None else f"unix:{self.socket}"

    @property
    def host_header(self) -> bytes:
        """The value of Host: the port only where it is not the scheme's own, brackets around IPv6."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        own_port = self.port == (443 if self.scheme == "https" else 80)
        return (name if own_port else f"{name}:{self.port}").encode("ascii")


@dataclass(frozen=True)
class Route:
    """One `[[route]]`, ready for the data path."""

    path: bytes  # without a slash at the end; empty for the route `/`
    upstream: Upstream
    upstream_path: bytes  # the path of the upstream URL, without a slash at the end
    methods: frozenset[bytes]
    settings: RouteSettings
    number: int = field(default=0, compare=False)  # its place in its table

    @cached_property
    def host_header(self) -> bytes:
        """The Host that the backend is sent."""
        return self.upstream.host_header

    @cached_property
    def allow(self) -> bytes:
        """The value of Allow on a 405."""
        return ", ".join(self.settings.methods).encode("ascii")

    @cached_property
    def path_rules(self) -> PathRules:
        """The unusual paths that the route takes."""
        return PathRules(self.settings.encoded_slashes, self.settings.double_slashes)

    @cached_property
    def path_and_slash(self) -> bytes:
        """The beginning of every longer path of this route."""
        return self.path + b"/"

    @cached_property
    def plain_target(self) -> tuple[int, bytes]:
        """The length that is cut off a path, and the prefix put in its place: see `target`."""
        return (len(self.path) if self.settings.strip_prefix else 0), self.upstream_path

    def target(self, raw_path: bytes) -> bytes:
        """The path to ask the backend for, given a raw path that this route matches."""
        cut, prefix = self.plain_target
        return prefix + raw_path[cut:] or b"/"


class Matched(NamedTuple):
    """The path belongs to `route`; the backend is asked for `target`, with the query as it came."""

    route: Route
    target: bytes


@dataclass(frozen=True, slots=True)
class NoRoute:
    """The path is clean, and no route is configured for it."""


@dataclass(frozen=True, slots=True)
class BadPath:
    """The path is ambiguous or malformed: 400. `reason` is for the log."""

    reason: str


_NO_ROUTE = NoRoute()
_new = tuple.__new__
_PLAIN_SEGMENT = rb"/[A-Za-z0-9_~!$&'()*+,:=@-][A-Za-z0-9._~!$&'()*+,:=@-]*"
"""A segment that is the same to every reader: it begins with no dot, and holds no `%`, `;` or backslash."""


def method_allowed(route: Route, method: bytes) -> bool:
    """Returns True if the route lists the method; the list is literal, and GET does not imply HEAD."""
    return method in route.methods


class RouteTable:
    """All routes. `match` serves the data path, `covers` the check of `return_to`.

    `beside` are paths that are no page of ours either: those of other frontends at this origin.
    """

    def __init__(
        self,
        routes: Iterable[Route],
        longest_path: int = LONGEST_PATH,
        own: bytes = OWN_PREFIX,
        beside: Iterable[str] = (),
    ) -> None:
        self._own, self._own_and_slash = own, own + b"/"
        longest_first = sorted(routes, key=lambda route: len(route.path), reverse=True)
        self.routes = tuple(replace(route, number=number) for number, route in enumerate(longest_first))
        if len({route.path for route in self.routes}) != len(self.routes):
            raise ValueError("two routes have the same path")
        self._plain = re.compile(b"|".join(_plain_paths(route, own) for route in self.routes) or b"(?!)")
        self._plain_targets = tuple((route, *route.plain_target) for route in self.routes)
        covered = (own, *(route.path for route in self.routes), *(path.encode() for path in beside))
        self._folded = tuple(dict.fromkeys(map(_folded_once, covered)))
        self._longest_path = longest_path

    @classmethod
    def from_settings(
        cls,
        routes: Iterable[RouteSettings],
        longest_path: int = LONGEST_PATH,
        own: bytes = OWN_PREFIX,
        beside: Iterable[str] = (),
        *,
        pool: "InternPool[RouteTable] | None" = None,
    ) -> "RouteTable":
        """Compiles the configured routes; ValueError names the one that cannot be.

        Tables of one `pool` are the same object where all of this is equal.
        """
        made_of = _MadeOf(tuple(routes), longest_path, own, tuple(beside))
        table = partial(cls, map(compile_route, made_of.routes), longest_path, own, made_of.beside)
        return table() if pool is None else pool.of(made_of, table)

    def is_own(self, raw_path: bytes) -> bool:
        """Returns True if the path belongs to the proxy's own endpoints."""
        return raw_path == self._own or raw_path.startswith(self._own_and_slash)

    def match(self, raw_path: bytes) -> Matched | NoRoute | BadPath:
        """The route of a raw path, which is without its query."""
        plain = self._plain.fullmatch(raw_path)
        if plain is None or len(raw_path) > self._longest_path:
            return self._judge(raw_path)
        number = plain.lastindex - 1  # type: ignore[operator] # each alternative is a group
        route, cut, prefix = self._plain_targets[number]
        target = prefix + raw_path[cut:] or b"/"
        return _new(Matched, (route, target))  # its constructor is a call more

    def _judge(self, raw_path: bytes) -> Matched | NoRoute | BadPath:
        if len(raw_path) > self._longest_path:
            return BadPath(f"longer than {self._longest_path} bytes")
        route = self._longest(raw_path)
        rules = STRICT if route is None else route.path_rules
        if (problem := path_problem(raw_path, rules)) is not None:
            pages = path_problem(raw_path, LENIENT) is None and not self.covers(raw_path)
            return _NO_ROUTE if pages else BadPath(problem)
        target = b"" if route is None else route.target(raw_path)
        if self.is_own(raw_path):
            return _NO_ROUTE
        if target.startswith(b"//"):
            return BadPath("two slashes at the beginning, once the route's path is taken away")
        if (elsewhere := self._elsewhere(raw_path, route, rules)) is not None:
            return BadPath(elsewhere)
        return _NO_ROUTE if route is None else Matched(route, target)

    def _elsewhere(self, raw_path: bytes, route: Route | None, rules: PathRules) -> str | None:
        """Returns where a clean path leads once it is decoded, if not to its route."""
        if not (b"%" in raw_path or b";" in raw_path or b"//" in raw_path):
            return None
        for reading in readings(raw_path, rules):
            if self.is_own(reading) and not self.is_own(raw_path):
                return "our own endpoint once decoded"
            if self._longest(reading) is not route:
                return "another route once decoded"
        return None

    @property
    def taken(self) -> list[str]:
        """The paths under which `covers` finds everything, folded; a character stands for a byte."""
        return [prefix.decode("latin-1") for prefix in self._folded]

    def covers(self, path: bytes) -> bool:
        """Returns True if a path lies, for the most lenient reader, under `/bff`, a route or one `beside`.

        The path may be anything, hostile included; the part behind `?` or `#` is not looked at.
        """
        reading = folded(re.split(rb"[?#]", path, maxsplit=1)[0])
        if is_encoded(reading):
            return True
        return any(prefix in {b"/", reading} or reading.startswith(prefix + b"/") for prefix in self._folded)

    def _longest(self, path: bytes) -> Route | None:
        for route in self.routes:
            if path == route.path or path.startswith(route.path_and_slash):
                return route
        return None


@dataclass(frozen=True)
class _MadeOf:
    """The values that a table is made of."""

    routes: tuple[RouteSettings, ...]  # they cannot be hashed
    longest_path: int
    own: bytes
    beside: tuple[str, ...]

    def __hash__(self) -> int:
        routes = tuple((route.path, route.upstream) for route in self.routes)
        return hash((routes, self.longest_path, self.own, self.beside))


_folded_once = lru_cache(maxsize=4096)(folded)  # frontends have many of these paths in common


def _plain_paths(route: Route, own: bytes) -> bytes:
    """The pattern of the paths of a route that `path_problem` and `readings` have nothing to say about."""
    beginning = rb"(%b)(?=/|\Z)" % re.escape(route.path) if route.path else rb"()(?=/)"
    if own.startswith(route.path_and_slash):
        beginning = rb"(?!%b(?:/|\Z))%b" % (re.escape(own), beginning)
    return rb"%b(?:%b)*/?" % (beginning, _PLAIN_SEGMENT)


def compile_route(route: RouteSettings) -> Route:
    """Prepares one route; ValueError names its fault."""
    path = route.path.rstrip("/").encode()
    if (problem := path_problem(path or b"/")) is not None:
        raise ValueError(f"route {route.path}: path: {problem}")
    if b"%" in path or b";" in path:
        raise ValueError(f"route {route.path}: path: write it without % and ;")
    if path.lower() == OWN_PREFIX or path.lower().startswith(OWN_PREFIX + b"/"):
        raise ValueError(f"route {route.path}: path: /bff is the proxy's own")
    if not {"TRACE", "CONNECT"}.isdisjoint(route.methods):
        raise ValueError(f"route {route.path}: methods: TRACE and CONNECT are never forwarded")
    try:
        upstream, upstream_path = _upstream(route.upstream)
    except ValueError as error:
        raise ValueError(f"route {route.path}: upstream: {error}") from None
    methods = frozenset(method.encode("ascii") for method in route.methods)
    return Route(path, upstream, upstream_path, methods, route)


def _upstream(url: str) -> tuple[Upstream, bytes]:
    if not url.isascii():
        raise ValueError("not ASCII: write the host in its xn-- form")
    if (local := split_socket_url(url)) is not None:
        prefix = local[1].rstrip("/").encode("ascii")
        if not local[0].startswith("/") or path_problem(prefix or b"/") is not None:
            raise ValueError("write it like http://unix:/run/app.sock:/path")
        return Upstream("http", "localhost", 80, local[0]), prefix
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("write it like http://host:port/path")
    if "@" in parts.netloc or "?" in url or "#" in url:
        raise ValueError("user, query and fragment have no place here")
    path = parts.path.rstrip("/").encode("ascii")
    if (problem := path_problem(path or b"/")) is not None:
        raise ValueError(problem)
    if parts.scheme == "https":
        return Upstream("https", parts.hostname, parts.port or 443), path
    return Upstream("http", parts.hostname, parts.port or 80), path
