"""Log lines, access lines and audit events: one line each, on standard error.

Audit events may have a stream of their own (`audit_stream.py`), in the form of `audit_ecs.py`.

Rule 1: every line, from here or from a library, passes `redact`; nothing is added after it but the time, the
level, the logger's name and the ids of the span in which it is written.
Rule 2: an audit event is written at any log level.
Rule 3: a log line that cannot be written is dropped: a full disk or a closed pipe ends no request.
"""

import atexit
import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final, Protocol

import structlog
from structlog.typing import FilteringBoundLogger, Processor

from bff.observe import audit_ecs
from bff.observe.access_log import AccessLines, path_text
from bff.observe.audit_events import EVENTS, AuditEvent
from bff.observe.audit_stream import AuditCounts, AuditStream, sink_of
from bff.observe.redact import one_line, redact
from bff.observe.terminal import for_terminal
from bff.observe.tracing import SpanIds
from bff.settings.frontends import UNNAMED
from bff.settings.model import LogSettings

SESSION_ID_LENGTH: Final = 12
"""Characters of a session's key that a line may show (`bff.session.model.ID_LENGTH`, of a row above)."""

_ACCESS: Final = "bff.access"
_AUDIT: Final = "bff.audit"

AUDIT_COUNTS: Final = AuditCounts()
"""The counts of this process, whose log it is."""

_FLOORS: Final[Mapping[str, int]] = {
    "authlib": logging.INFO,  # logs tokens at DEBUG
    "httpx": logging.WARNING,  # logs each request's URL at INFO
    "httpcore": logging.INFO,  # logs headers at DEBUG
    "websockets": logging.INFO,  # logs handshake headers and frames at DEBUG
    "python_multipart": logging.INFO,  # logs form data, passwords included, at DEBUG
    "asyncio": logging.INFO,  # "Using selector" at DEBUG
    "uvicorn.access": logging.WARNING,  # logs queries, the code at the callback included; `access` is ours
}


class Whose(Protocol):
    """A session, as far as an access line tells of it."""

    @property
    def provider(self) -> str:
        """The name of its provider: a slug."""


class _Output:
    """Standard error as it is at the moment of writing; access lines are collected on their way there."""

    def __init__(self) -> None:
        self.access: AccessLines | None = None  # None: access lines go the way of all others
        self.audit: AuditStream | None = None  # None: so do audit events
        self.span_ids: Callable[[], SpanIds | None] | None = None  # None: there are no traces
        self.frontends = self.providers = False  # True: there are several, and lines name theirs
        self.several = False  # True: of either

    def line(self, text: str, *, thread: int | None = None) -> None:
        if thread in {None, threading.main_thread().ident}:  # access lines belong to the thread of the loop
            self.flush()  # so that the order is that of the events
        self.write(text + "\n")

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # Rule 3; ValueError: the stream has been closed
            sys.stderr.write(text)
            sys.stderr.flush()

    def flush(self) -> None:
        if self.access is not None:
            self.access.flush()


_output = _Output()
atexit.register(_output.flush)


class _Lines:
    """The logger that structlog writes to."""

    def __init__(self, name: str = "bff") -> None:
        self.name = name

    def msg(self, message: str) -> None:
        _output.line(message)

    debug = info = warning = error = critical = log = msg


class _StdlibLines(logging.Handler):
    """Sends the libraries' lines, logged by `logging`, to the same place in the same form."""

    def emit(self, record: logging.LogRecord) -> None:
        floor = _floor(record.name)
        if record.levelno >= floor:
            try:
                line = self.format(record)
            except Exception:  # noqa: BLE001 - a library's broken message must not break its caller
                line = one_line(f"a log record of {record.name} could not be formatted")
            _output.line(line, thread=record.thread)


def _floor(name: str) -> int:
    """The level below which a library's records never get out, even if it sets its own logger lower."""
    return next(
        (level for prefix, level in _FLOORS.items() if name == prefix or name.startswith(prefix + ".")),
        logging.NOTSET,
    )


def _clean(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Masks secrets everywhere, and keeps the event itself on one line."""
    clean: dict[str, Any] = redact(event)
    clean["event"] = one_line(str(clean.get("event", "")))
    return clean


def name_spans(current: Callable[[], SpanIds | None]) -> None:
    """Adds `trace_id` and `span_id` to each line for which `current` returns them, from now on."""
    _output.span_ids = current


def name_each(*, frontends: bool, providers: bool) -> None:
    """Has access lines and audit events name their frontend, or their session's provider, from now on."""
    _output.frontends, _output.providers = frontends, providers
    _output.several = frontends or providers
    _names.clear()


def named(frontend: str | None, provider: str | None = None) -> dict[str, str]:
    """Returns the fields that tell one of several frontends and providers apart, as far as they are known."""
    fields = {}
    if _output.frontends and frontend is not None:
        fields["frontend"] = frontend or UNNAMED
    if _output.providers and provider is not None:
        fields["provider"] = provider
    return fields


class _Names(dict[str | tuple[str, str], str]):
    """The same as the end of a line in JSON, by a frontend's name, or by that and a provider's.

    All are slugs of the settings, and few; they are forgotten when these change.
    """

    def __missing__(self, key: str | tuple[str, str]) -> str:
        names = named(key) if isinstance(key, str) else named(*key)
        self[key] = shown = "".join(f', "{name}": "{value}"' for name, value in names.items())
        return shown


_names = _Names()


def _add_span(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if _output.span_ids is not None and (ids := _output.span_ids()) is not None:
        event.update(ids._asdict())
    return event


def _drop_access(logger: Any, _: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if logger.name == _ACCESS:
        raise structlog.DropEvent
    return event


def _divert_audit(logger: Any, _: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Sends an audit event to its own stream, if it has one and takes it."""
    if logger.name != _AUDIT or event.get("event") not in EVENTS:
        return event
    name: Any = event["event"]
    AUDIT_COUNTS.written[name] += 1
    stream = _output.audit
    if stream is not None and stream.write(audit_ecs.line(event, pid=os.getpid()), EVENTS[name].outcome):
        raise structlog.DropEvent
    return event


def _tell_of_audit(what: OSError | int) -> None:
    log = get_logger("bff.log")
    if isinstance(what, OSError):
        log.error("audit_not_written", detail=what.strerror or type(what).__name__, instead="standard error")
    else:
        log.warning("audit_written_again", missing=what)


def reopen_audit() -> None:
    """Opens the audit file again with the next event, as a process does on SIGHUP."""
    if _output.audit is not None:
        _output.audit.reopen()


def _renderer(settings: LogSettings) -> Processor:
    terminal = sys.stderr.isatty()
    if settings.format == "json" or (settings.format == "auto" and not terminal):
        return structlog.processors.JSONRenderer(sort_keys=False)
    return for_terminal(colors=terminal and not os.environ.get("NO_COLOR"))


def configure(settings: LogSettings) -> None:
    """Sets up logging for this process; a second call replaces the first.

    `format = "auto"` means lines for people where standard error is a terminal, else JSON.
    """
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    first: list[Processor] = [] if settings.access else [_drop_access]
    clean: list[Processor] = [structlog.processors.format_exc_info, _clean]
    stamp: list[Processor] = [
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_span,
    ]
    renderer = _renderer(settings)
    _output.flush()
    by_hand = isinstance(renderer, structlog.processors.JSONRenderer) and level <= logging.INFO
    _output.access = AccessLines(_output.write) if by_hand and settings.access else None
    reopen_audit()
    sink = sink_of(settings.audit)
    _output.audit = None if sink is None else AuditStream(sink, AUDIT_COUNTS, _tell_of_audit)
    structlog.configure(
        processors=[*first, structlog.contextvars.merge_contextvars, *clean, *stamp, _divert_audit, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_Lines,
        # A cached logger would keep the processors of the first `configure` for ever.
        cache_logger_on_first_use=False,
    )
    handler = _StdlibLines()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.contextvars.merge_contextvars, *stamp],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *clean, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, floor in _FLOORS.items():
        logging.getLogger(name).setLevel(max(level, floor))
    logging.captureWarnings(capture=True)


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger whose lines say where they come from: `get_logger("bff.refresh").info("started", task=…)`."""
    logger: FilteringBoundLogger = structlog.get_logger(name)
    return logger


def audit(
    event: AuditEvent,
    *,
    sub: str | None = None,
    session: str | None = None,
    address: str | None = None,
    reason: str | None = None,
    frontend: str | None = None,
    provider: str | None = None,
    **fields: object,
) -> None:
    """Writes an audit event: who, when, where from and why (OWASP ASVS 16.3).

    Args:
        event: one of a closed set of names, which alerts are written against.
        sub: who, as the provider names them; `None` where nobody is known.
        session: a session's key or id; only its first characters are written.
        address: the client's address.
        reason: why, in one word of ours, never a stranger's text.
        frontend: the frontend's name, "" for the one without; written where there are several.
        provider: the provider's name; written where there are several.
        fields: the other fields of the event.
    """
    _audit.info(
        event,
        sub=sub,
        session=None if session is None else session[:SESSION_ID_LENGTH],
        address=address,
        reason=reason,
        **fields,
        **named(frontend, provider),
    )


def access(  # noqa: PLR0917 - called by position on the hot path
    method: bytes,
    path: bytes,
    status: int,
    duration: float,
    route: str,
    request_id: str,
    session: str | None = None,
    retried: bool = False,
    frontend: str = "",
    whose: Whose | None = None,
) -> None:
    """Writes the line of one answered request.

    Args:
        method: the request's method.
        path: its raw path; a query that still hangs on it is cut off.
        status: the answer's status.
        duration: seconds from the request's first byte to the answer's last.
        route: the route's path, or the name of our own endpoint.
        request_id: as passed on to the backend.
        session: a session's key or id; only its first characters are written.
        retried: whether the call was repeated after a 401.
        frontend: the frontend's name, "" for the one without; written where there are several.
        whose: the session, whose provider is written where there are several.
    """
    session = None if session is None else session[:SESSION_ID_LENGTH]
    if (lines := _output.access) is not None:
        ids = None if _output.span_ids is None else _output.span_ids()
        names = ""
        if _output.several:
            # A session of the near cache looks its provider up in its entry: only where that is written.
            provider = whose.provider if whose is not None and _output.providers else None
            names = _names[frontend if provider is None else (frontend, provider)]
        lines.note(method, path, status, duration, route, session, request_id, retried, names, ids)
        return
    _access.info(
        "request",
        method=method.decode("ascii", "replace"),
        path=path_text(path),
        status=status,
        duration_ms=round(duration * 1000, 2),
        route=route,
        session=session,
        request_id=request_id,
        retried=retried,
        **named(frontend, None if whose is None else whose.provider),
    )


_access = get_logger(_ACCESS)
_audit: FilteringBoundLogger = structlog.get_logger(
    _AUDIT,
    wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
    audit=True,  # Rule 2
)
