"""Spans by OpenTelemetry's SDK, with the names of its semantic conventions for HTTP and databases (stable).

Rule 1: the parent is what the client's `traceparent` says, and never what happens to be current.
Rule 2: the sampler decides once, at the span of the request; what is not sampled makes no more spans, and
passes its own id on without the flag.
Rule 3: an exception's text is in no span: it may hold what no span may hold. Its type is.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

from opentelemetry import context as contexts
from opentelemetry.context import Context
from opentelemetry.semconv.attributes.db_attributes import DB_QUERY_SUMMARY, DB_SYSTEM_NAME
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.semconv.attributes.http_attributes import (
    HTTP_REQUEST_METHOD,
    HTTP_REQUEST_RESEND_COUNT,
    HTTP_RESPONSE_STATUS_CODE,
    HTTP_ROUTE,
)
from opentelemetry.semconv.attributes.server_attributes import SERVER_ADDRESS, SERVER_PORT
from opentelemetry.semconv.attributes.url_attributes import URL_FULL, URL_PATH, URL_SCHEME
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    TraceState,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace import Span as OtelSpan

from bff.observe.redact import redact_text
from bff.observe.tracing import Attribute, Parent, Place, SpanIds

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER: Final = "_OTHER"
_NAMELESS: Final = "HTTP"
_CLIENT_ERROR, _SERVER_ERROR = 400, 500
_LONGEST_STATE: Final = 512
_MEMBER: Final = (
    r"[a-z0-9][a-z0-9_*/@-]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_STATE: Final = re.compile(rf"[ \t]*{_MEMBER}[ \t]*(?:,[ \t]*{_MEMBER}[ \t]*){{0,31}}")
_PLAIN: Final = re.compile("[A-Za-z0-9/_~-]*")  # holds nothing that a secret's shape needs
_ERROR: Final = Status(StatusCode.ERROR)


def remote_context(parent: Parent) -> SpanContext:
    """The context of a well-formed `traceparent`; a `tracestate` that is not well-formed is dropped."""
    text = parent.traceparent.decode("ascii")
    return SpanContext(
        trace_id=int(text[3:35], 16),
        span_id=int(text[36:52], 16),
        is_remote=True,
        trace_flags=TraceFlags(int(text[53:55], 16)),
        trace_state=_state(parent.states),
    )


def _state(values: Sequence[bytes]) -> TraceState:
    joined = b",".join(values).decode("latin-1")
    if not joined or len(joined) > _LONGEST_STATE or _STATE.fullmatch(joined) is None:
        return TraceState()  # the library would log what the client sent
    return TraceState.from_header([joined])


def _traceparent(span: OtelSpan) -> bytes:
    context = span.get_span_context()
    sampled = context.trace_flags & TraceFlags.SAMPLED
    return b"00-%032x-%016x-%02x" % (context.trace_id, context.span_id, sampled)


def current_ids() -> SpanIds | None:
    """Returns the ids of the span under way; None of one that is over, or is not recorded."""
    span = get_current_span()
    if not span.is_recording():
        return None
    context = span.get_span_context()
    return SpanIds(f"{context.trace_id:032x}", f"{context.span_id:016x}")


class OtelCall:
    """The trace of one request (`CallTrace`)."""

    __slots__ = ("_attempts", "_client", "_server", "_tracer", "sampled")

    def __init__(self, tracer: Tracer, server: OtelSpan) -> None:
        self._tracer = tracer
        self._server = server
        self._client: OtelSpan | None = None
        self._attempts = 0
        self.sampled = server.is_recording()

    @property
    def trace_id(self) -> str:
        """The id of the trace, in hex."""
        return f"{self._server.get_span_context().trace_id:032x}"

    @property
    def traceparent(self) -> bytes:
        """The id of the span of the request, as a `traceparent`."""
        return _traceparent(self._server)

    @property
    def _context(self) -> Context:
        return set_span_in_context(self._server, Context())

    @property
    def state(self) -> bytes | None:
        """The `tracestate` for a backend; None for none."""
        return self._server.get_span_context().trace_state.to_header().encode("latin-1") or None

    def attempt(self, place: Place, method: str, path: str) -> bytes:
        """Begins the span of an attempt; returns its `traceparent`."""
        if not self.sampled:
            return self.traceparent
        self.attempt_over(None, "repeated")
        attributes = _called(place, method, path)
        if self._attempts:
            attributes[HTTP_REQUEST_RESEND_COUNT] = self._attempts
        self._attempts += 1
        self._client = self._tracer.start_span(
            _known(method), self._context, SpanKind.CLIENT, attributes, record_exception=False
        )
        return _traceparent(self._client)

    def attempt_over(self, status: int | None, error: str | None = None) -> None:
        """Ends the span of an attempt, if one is open."""
        client, self._client = self._client, None
        if client is not None:
            _answered(client, status, error, _CLIENT_ERROR)
            client.end()

    def name(self, method: str, route: str) -> None:
        """Names the span by its route."""
        self._server.update_name(_name(method, route))
        self._server.set_attribute(HTTP_ROUTE, route)

    def end(self, status: int, error: str | None = None) -> None:
        """Ends the span of the request."""
        if self.sampled:
            self.attempt_over(None, error or "cancelled")
            _answered(self._server, status or None, error, _SERVER_ERROR)
            self._server.end()

    def read_session(self, began: int) -> None:
        """Adds a read from Redis that ends now."""
        if self.sampled:
            summary = "load session"
            attributes = {DB_SYSTEM_NAME: "redis", DB_QUERY_SUMMARY: summary}
            span = self._tracer.start_span(
                summary, self._context, SpanKind.CLIENT, attributes, start_time=began, record_exception=False
            )
            span.end()

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Makes this request the parent of the spans that begin within."""
        token = contexts.attach(self._context)
        try:
            yield
        finally:
            contexts.detach(token)


class Noted:
    """A span under way (`Span`)."""

    __slots__ = ("_span",)

    def __init__(self, span: OtelSpan) -> None:
        self._span = span

    def note(self, name: str, value: Attribute) -> None:
        """Adds an attribute."""
        self._span.set_attribute(name, value)

    def failed(self, error: str) -> None:
        """Says that it failed."""
        self._span.set_attribute(ERROR_TYPE, error)
        self._span.set_status(_ERROR)


_NOWHERE = Noted(NonRecordingSpan(SpanContext(0, 0, is_remote=False)))


class OtelSpans:
    """Makes the spans of a process (`Spans`). `own` is where browsers find us."""

    def __init__(self, tracer: Tracer, own: Place) -> None:
        self._tracer = tracer
        self._own: dict[str, Attribute] = {
            URL_SCHEME: own.scheme,
            SERVER_ADDRESS: own.host,
            SERVER_PORT: own.port,
        }
        self._beginnings: dict[
            tuple[str, str], tuple[str, dict[str, Attribute]]
        ] = {}  # bounded by `_METHODS`

    def call(self, parent: Parent | None, method: str, route: str, path: str) -> OtelCall:
        """Begins the span of a request."""
        context = Context()
        if parent is not None:
            context = set_span_in_context(NonRecordingSpan(remote_context(parent)), context)
        name, attributes = self._beginnings.get((method, route)) or self._begin(method, route)
        span = self._tracer.start_span(name, context, SpanKind.SERVER, attributes, record_exception=False)
        if span.is_recording():
            span.set_attribute(URL_PATH, _shown(path))
        return OtelCall(self._tracer, span)

    def _begin(self, method: str, route: str) -> tuple[str, dict[str, Attribute]]:
        """The name and the attributes that the span of a request begins with."""
        attributes = {HTTP_REQUEST_METHOD: _known(method), **self._own}
        if route:
            attributes[HTTP_ROUTE] = route
        begun = _name(method, route), attributes
        if method in _METHODS:
            self._beginnings[method, route] = begun
        return begun

    @contextmanager
    def part(self, name: str, attributes: Mapping[str, Attribute], *, root: bool = False) -> Iterator[Noted]:
        """A step of ours."""
        with self._within(name, SpanKind.INTERNAL, attributes, root=root) as span:
            yield span

    @contextmanager
    def redis(self, summary: str) -> Iterator[Noted]:
        """A question to Redis."""
        attributes = {DB_SYSTEM_NAME: "redis", DB_QUERY_SUMMARY: summary}
        with self._within(summary, SpanKind.CLIENT, attributes) as span:
            yield span

    @contextmanager
    def http(self, method: str, url: str) -> Iterator[Noted]:
        """A call of the provider."""
        called = _called(Place.of(url), method, urlsplit(url).path)
        with self._within(method, SpanKind.CLIENT, called) as span:
            yield span

    @contextmanager
    def _within(
        self, name: str, kind: SpanKind, attributes: Mapping[str, Attribute], *, root: bool = False
    ) -> Iterator[Noted]:
        if not (root or get_current_span().is_recording()):
            yield _NOWHERE
            return
        span = self._tracer.start_span(name, kind=kind, attributes=attributes, record_exception=False)
        token = contexts.attach(set_span_in_context(span))
        noted = Noted(span)
        try:
            yield noted
        except BaseException as error:
            noted.failed(type(error).__name__)
            raise
        finally:
            contexts.detach(token)
            span.end()


def _called(place: Place, method: str, path: str) -> dict[str, Attribute]:
    host = f"[{place.host}]" if ":" in place.host else place.host
    own_port = place.port == (443 if place.scheme == "https" else 80)
    origin = f"{place.scheme}://{host}" if own_port else f"{place.scheme}://{host}:{place.port}"
    return {
        HTTP_REQUEST_METHOD: _known(method),
        SERVER_ADDRESS: place.host,
        SERVER_PORT: place.port,
        URL_FULL: origin + _shown(path),
    }


def _shown(path: str) -> str:
    """A path with what looks like a secret masked."""
    return path if _PLAIN.fullmatch(path) else redact_text(path)


def _known(method: str) -> str:
    return method if method in _METHODS else _OTHER


def _name(method: str, route: str) -> str:
    method = method if method in _METHODS else _NAMELESS
    return f"{method} {route}" if route else method


def _answered(span: OtelSpan, status: int | None, error: str | None, wrong_from: int) -> None:
    if status is not None:
        span.set_attribute(HTTP_RESPONSE_STATUS_CODE, status)
        if status >= wrong_from:
            error = error or str(status)
    if error is not None:
        span.set_attribute(ERROR_TYPE, error)
        span.set_status(_ERROR)
