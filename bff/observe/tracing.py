"""The interfaces of traces, for the parts of the proxy; none of them knows OpenTelemetry.

Rule 1: whether there are traces is decided once, at the start: a part that traces is another class than one
that does not (`TracedCall`, `TracedSessionStore`, …), so that without traces nothing is asked anywhere.
Rule 2: an attribute holds no token, cookie, query or user; a span is named by a route and never by a path.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

Attribute = str | int | bool


@dataclass(frozen=True, slots=True)
class Place:
    """A server that is called: `scheme`, `host` and `port` of its URL, as attributes have them."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> "Place":
        """The server of a URL."""
        parts = urlsplit(url)
        return cls(parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))


class Parent(NamedTuple):
    """The trace context of a request: a well-formed `traceparent`, and the values of `tracestate`."""

    traceparent: bytes
    states: Sequence[bytes] = ()


class SpanIds(NamedTuple):
    """The ids of a span under way, in hex."""

    trace_id: str
    span_id: str


class CallTrace(Protocol):
    """The trace of one request: a span of ours, and below it one for each attempt at a backend.

    `sampled`: it is recorded.
    """

    sampled: bool

    @property
    def traceparent(self) -> bytes:
        """The id of the span of the request; for a backend where the call is not sampled."""

    @property
    def trace_id(self) -> str:
        """The id of the trace, in hex."""

    def attempt(self, place: Place, method: str, path: str) -> bytes:
        """Begins the span of an attempt; returns its `traceparent`, for the backend."""

    @property
    def state(self) -> bytes | None:
        """The `tracestate` that goes with it; None for none."""

    def attempt_over(self, status: int | None, error: str | None = None) -> None:
        """Ends the span of an attempt, if one is open: an answer's head has come, or none will."""

    def name(self, method: str, route: str) -> None:
        """Names the span by its route, where that is known only now."""

    def end(self, status: int, error: str | None = None) -> None:
        """Ends the span of the request; `status` is 0 where none was sent."""

    def read_session(self, began: int) -> None:
        """Adds a read from Redis that ends now; `began` is in nanoseconds since the epoch."""

    def attached(self) -> AbstractContextManager[None]:
        """Makes this request the parent of the spans that begin within, tasks that start there included."""


class Span(Protocol):
    """A span under way."""

    def note(self, name: str, value: Attribute) -> None:
        """Adds an attribute."""

    def failed(self, error: str) -> None:
        """Says that it failed; `error` is a word of ours."""


class Spans(Protocol):
    """Makes the spans of a process."""

    def call(self, parent: Parent | None, method: str, route: str, path: str) -> CallTrace:
        """Begins the span of a request.

        Args:
            parent: what the client says that it belongs to.
            method: the request's method.
            route: the route's path or the endpoint's; empty if it is not known.
            path: the raw path, without a query.
        """

    def part(
        self, name: str, attributes: Mapping[str, Attribute], *, root: bool = False
    ) -> AbstractContextManager[Span]:
        """A step of ours within a request; `root`: also where no request has asked for it."""

    def redis(self, summary: str) -> AbstractContextManager[Span]:
        """A question to Redis within a request or a part."""

    def http(self, method: str, url: str) -> AbstractContextManager[Span]:
        """A call of the provider within a request or a part; of the URL the query is dropped."""
