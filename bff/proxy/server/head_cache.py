"""The fields of heads that were let in, and what was prepared for them, for all connections of a process.

A browser sends the same fields with every call; behind a reverse proxy many browsers share few connections.

Rule 1: fields are known by all of their bytes, and by whose connection they came on; kept are only heads that
no body followed.
Rule 2: everything here is bounded, and forgotten at no loss but of time.
"""

from typing import Any, Final, Generic, TypedDict, TypeVar

from starlette.types import Scope

from bff.policy.fields import Fields
from bff.proxy.forward.context import ForwardingContext
from bff.proxy.forward.fast_path import RequestTemplate, prepare
from bff.proxy.forward.forwarder import ForwardedCall
from bff.proxy.forward.response_templates import ResponseTemplates
from bff.proxy.server.request_parser import RequestLine

F = TypeVar("F")

HEAD_EXTENSION: Final = "bff.head"
"""The ASGI extension by which what is known of a head goes along with its scope; see `KnownHead`."""

_MOST_HEADS = 2048
_LONGEST_HEAD = 4096  # bytes
_MOST_PREPARED = 8192
_MOST_LINES = 16  # for which the same fields are prepared


class CachedFields(Generic[F]):
    """What is known of the fields of a request without a body.

    Attributes:
        raw: their bytes, from the end of the request line.
        keep_alive: whether the client goes on after it.
        lines: request lines before them that were judged, and let in.
        scopes: what an ASGI scope says of such a line.
        prepared: by request line; one that was met once only leads to None.
    """

    __slots__ = ("fields", "keep_alive", "lines", "prepared", "raw", "scopes")

    def __init__(self, raw: bytes, fields: Fields, *, keep_alive: bool) -> None:
        self.raw = raw
        self.fields = fields
        self.keep_alive = keep_alive
        self.lines: dict[bytes, RequestLine] = {}
        self.scopes: dict[bytes, Scope] = {}
        self.prepared: dict[bytes, RequestTemplate[F] | None] = {}

    def remember(self, raw: bytes, line: RequestLine) -> RequestLine:
        """Keeps a judged line, within the same bounds as what is prepared."""
        if len(raw) + len(self.raw) <= _LONGEST_HEAD:
            if len(self.lines) >= _MOST_LINES:
                self.lines.clear()
                self.scopes.clear()
            self.lines[raw] = line
        return line


class HeadCache(Generic[F]):
    """All that are known, by peer and bytes."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, bytes], CachedFields[F]] = {}
        self._prepared = 0

    def get(self, peer: str, raw: bytes) -> CachedFields[F] | None:
        """What is known of these fields."""
        return self._known.get((peer, raw))

    def add(self, peer: str, head: bytes, fields: Fields, *, keep_alive: bool = True) -> CachedFields[F]:
        """Takes note of a head that was judged."""
        raw = head[head.index(b"\r\n") :]
        known = self._known.get((peer, raw))
        if known is not None:
            return known
        known = CachedFields[F](raw, fields, keep_alive=keep_alive)
        if len(raw) <= _LONGEST_HEAD:
            if len(self._known) >= _MOST_HEADS:
                self._forget(self._known.pop(next(iter(self._known))))
            self._known[peer, raw] = known
        return known

    def learn(
        self,
        known: CachedFields[F],
        line: bytes,
        parts: ForwardingContext,
        exchange: ForwardedCall,
        answers: ResponseTemplates[F],
    ) -> None:
        """Prepares for a request line that has come before; `exchange` is that of the call at hand."""
        assert exchange.admitted is not None
        prepared = known.prepared
        if len(line) + len(known.raw) > _LONGEST_HEAD:  # anybody can send these
            return
        if line not in prepared:
            if len(prepared) >= _MOST_LINES:
                self._forget(known)
            prepared[line] = None
        elif prepared[line] is None:
            prepared[line] = prepare(parts, exchange.request, exchange.admitted, answers)
            self._prepared += 1
            if self._prepared > _MOST_PREPARED:
                self._known.clear()
                self._prepared = 0

    def _forget(self, known: CachedFields[F]) -> None:
        self._prepared = max(0, self._prepared - sum(each is not None for each in known.prepared.values()))
        known.prepared.clear()


class KnownHead(TypedDict):
    """What the front door tells the application of a head that no body follows (`HEAD_EXTENSION`)."""

    heads: HeadCache[Any]
    known: CachedFields[Any]
    line: bytes
