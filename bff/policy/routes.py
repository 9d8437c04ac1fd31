r"""Where a path leads: the only function that maps a raw path to a backend.

Rule 1: matching is done on the raw path, on whole segments, longest prefix first; host and path prefix of
the destination come from the settings alone.
Rule 2: a path that two parsers could read differently is refused, never repaired: dot segments, `//`, `\`,
encoded or repeatedly encoded dots, slashes and backslashes, control characters, overlong UTF-8.
Rule 3: a path that would reach another route once a backend has decoded it is refused as well, so that one
route's methods and session rules cannot be walked around by way of another's.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit

from bff.settings.model import RouteSettings
from bff.settings.urls import split_socket_url

OWN_PREFIX = b"/bff"
"""Where the proxy's own endpoints live; no route may."""

_DECODINGS = 4  # no honest client encodes more often, and each round costs the path's length
_UNUSUAL = re.compile(rb"[^A-Za-z0-9_~/-]")  # a path without any of these and without `//` is clean
_RAW_FORBIDDEN = re.compile(rb"[\x00-\x20\x7f-\xff#?\\]")
_QUERY_FORBIDDEN = re.compile(rb"[\x00-\x20\x7f-\xff#]")
_MALFORMED = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_ENCODED = re.compile(rb"%([0-9A-Fa-f]{2})")
_FORBIDDEN_ONCE_DECODED = frozenset([*range(0x20), 0x7F, *b"./\\"])
_OVERLONG = re.compile(rb"[\xc0\xc1]|\xe0[\x80-\x9f]|\xf0[\x80-\x8f]")


@dataclass(frozen=True, slots=True)
class Upstream:
    """A backend's address: what a connection pool is keyed by, and the Host it is sent.

    With a `socket`, the path of a Unix socket, `host` is "localhost" and only told to the backend.
    """

    scheme: Literal["http", "https"]
    host: str
    port: int
    socket: str | None = None

    @property
    def name(self) -> str:
        """How people know it: in metrics and messages."""
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

    @cached_property
    def host_header(self) -> bytes:
        """The Host that the backend is sent."""
        return self.upstream.host_header

    @cached_property
    def allow(self) -> bytes:
        """The value of Allow on a 405."""
        return ", ".join(self.settings.methods).encode("ascii")

    @cached_property
    def path_and_slash(self) -> bytes:
        """What every longer path of this route begins with."""
        return self.path + b"/"

    def target(self, raw_path: bytes) -> bytes:
        """The path to ask the backend for, given a raw path that this route matches."""
        rest = raw_path[len(self.path) :] if self.settings.strip_prefix else raw_path
        return (self.upstream_path + rest) or b"/"


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
_MOST_KNOWN, _LONGEST_KNOWN = 2048, 256  # paths that are remembered, and their length in bytes


def method_allowed(route: Route, method: bytes) -> bool:
    """Whether the route lists the method; the list is literal, and GET does not imply HEAD."""
    return method in route.methods


def is_own(raw_path: bytes) -> bool:
    """Whether the path belongs to the proxy's own endpoints."""
    return raw_path == OWN_PREFIX or raw_path.startswith(b"/bff/")


def path_problem(raw_path: bytes) -> str | None:
    """Why a raw path (without query) is refused; None for a clean one."""
    if not raw_path.startswith(b"/"):
        return "not an absolute path"
    if b"//" in raw_path:
        return "empty segment"
    if not _UNUSUAL.search(raw_path):
        return None
    if _RAW_FORBIDDEN.search(raw_path):
        return "character that must be encoded"
    if _MALFORMED.search(raw_path):
        return "malformed percent-encoding"
    return _segments_problem(raw_path) or _encoding_problem(raw_path)


def query_problem(query: bytes) -> str | None:
    """Why a query (without its `?`) is refused: control characters, blanks, `#`, bytes that are not ASCII."""
    return "character in the query that must be encoded" if _QUERY_FORBIDDEN.search(query) else None


def _segments_problem(path: bytes) -> str | None:
    """Dot segments and empty ones, also when dressed with parameters (`/..;/`) or blanks."""
    for segment in path[1:].split(b"/"):
        name, semicolon, _ = segment.partition(b";")
        if name.strip(b" ") in {b".", b".."}:
            return "dot segment"
        if semicolon and not name:
            return "empty segment with parameters"
    return None


def _encoding_problem(path: bytes) -> str | None:
    """What one or more rounds of decoding would bring to light."""
    for _ in range(_DECODINGS):
        codes = _ENCODED.findall(path)
        if not codes:
            return None
        if any(int(code, 16) in _FORBIDDEN_ONCE_DECODED for code in codes):
            return "encoded dot, slash, backslash or control character"
        path = unquote_to_bytes(path)
        if _OVERLONG.search(path):
            return "overlong UTF-8"
        if (problem := _segments_problem(path)) is not None:
            return problem
    return "encoded too often"


def _folded(path: bytes) -> bytes:
    """A path as the most lenient of backends would read it; for comparison only, never to be sent.

    A path that is encoded deeper than we look keeps its `%XX`.
    """
    for _ in range(_DECODINGS + 1):
        decoded = unquote_to_bytes(path)
        if decoded == path:
            break
        path = decoded
    path = re.sub(rb"[\x00-\x20\x7f-\xa0]", b"", path).replace(b"\\", b"/").lower()
    folded: list[bytes] = []
    for segment in path.split(b"/"):
        name = segment.partition(b";")[0]
        if name == b"..":
            del folded[-1:]
        elif name not in {b"", b"."}:
            folded.append(name)
    return b"/" + b"/".join(folded)


class RouteTable:
    """All routes. `match` serves the data path, `covers` the check of `return_to`."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(sorted(routes, key=lambda route: len(route.path), reverse=True))
        if len({route.path for route in self.routes}) != len(self.routes):
            raise ValueError("two routes have the same path")
        self._known: dict[bytes, Matched | NoRoute | BadPath] = {}  # what follows from a path alone
        self._folded = (OWN_PREFIX, *(_folded(route.path) for route in self.routes))

    @classmethod
    def from_settings(cls, routes: Iterable[RouteSettings]) -> "RouteTable":
        """Compiles the configured routes; ValueError names the one that cannot be."""
        return cls(compile_route(route) for route in routes)

    def match(self, raw_path: bytes) -> Matched | NoRoute | BadPath:
        """The route of a raw path, which is without its query."""
        known = self._known.get(raw_path)
        if known is None:
            known = self._judge(raw_path)
            if len(raw_path) <= _LONGEST_KNOWN:
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                self._known[raw_path] = known
        return known

    def _judge(self, raw_path: bytes) -> Matched | NoRoute | BadPath:
        if (problem := path_problem(raw_path)) is not None:
            return BadPath(problem)
        if not is_own(raw_path) and is_own(_decoded(raw_path)):
            return BadPath("our own endpoint once decoded")
        route = self._longest(raw_path)
        if (b"%" in raw_path or b";" in raw_path) and self._longest(_decoded(raw_path)) is not route:
            return BadPath("another route once decoded")
        return _NO_ROUTE if route is None else Matched(route, route.target(raw_path))

    def covers(self, path: bytes) -> bool:
        """Whether a path lies, in the eyes of the most lenient reader, under `/bff` or a route.

        The path may be anything, hostile included; what stands behind `?` or `#` is not looked at.
        """
        folded = _folded(re.split(rb"[?#]", path, maxsplit=1)[0])
        if _ENCODED.search(folded):
            return True
        return any(prefix in {b"/", folded} or folded.startswith(prefix + b"/") for prefix in self._folded)

    def _longest(self, path: bytes) -> Route | None:
        for route in self.routes:
            if path == route.path or path.startswith(route.path_and_slash):
                return route
        return None


def _decoded(path: bytes) -> bytes:
    """A clean path as a usual backend reads it: decoded once, parameters cut off."""
    return re.sub(rb";[^/]*", b"", unquote_to_bytes(path))


def compile_route(route: RouteSettings) -> Route:
    """Prepares one route; ValueError says what is wrong with it."""
    path = route.path.rstrip("/").encode()
    if (problem := path_problem(path or b"/")) is not None:
        raise ValueError(f"route {route.path}: path: {problem}")
    if b"%" in path or b";" in path:
        raise ValueError(f"route {route.path}: path: write it without % and ;")
    if is_own(path.lower()):
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
