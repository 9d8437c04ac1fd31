"""Log lines for people: time, level, event, then the fields that matter.

The line comes from structlog's `ConsoleRenderer`; this file says what stands in it.
"""

from collections.abc import MutableMapping
from datetime import datetime
from typing import Any, Final

from structlog.dev import (
    Column,
    ConsoleRenderer,
    KeyValueColumnFormatter,
    LogLevelColumnFormatter,
    plain_traceback,
)
from structlog.typing import Processor

from bff.observe.redact import one_line

_EVENT_WIDTH: Final = 22
_OURS: Final = "bff"
_REQUEST: Final = "bff.access"

_FIRST: Final = (
    "code",
    "reason",
    "detail",
    "problem",
    "method",
    "path",
    "status",
    "duration_ms",
    "route",
    "host",
)
"""Fields that stand before all others, in this order."""


def for_terminal(*, colors: bool) -> Processor:
    """Returns the last processor of a chain whose lines people read."""
    styles = ConsoleRenderer.get_default_column_styles(colors)
    reset = styles.reset

    def plain(style: str, width: int = 0) -> KeyValueColumnFormatter:
        return KeyValueColumnFormatter(None, style, reset, str, width)

    console = ConsoleRenderer(
        columns=[
            Column("timestamp", plain(styles.timestamp)),
            Column("level", LogLevelColumnFormatter(ConsoleRenderer.get_default_level_styles(colors), reset)),
            Column("event", plain(styles.bright, _EVENT_WIDTH)),
            Column("", KeyValueColumnFormatter(styles.kv_key, styles.kv_value, reset, _shown)),
        ],
        sort_keys=False,
        exception_formatter=plain_traceback,
    )
    return lambda logger, name, event: console(logger, name, readable(event))


def readable(event: MutableMapping[str, Any]) -> dict[str, Any]:
    """The fields of an event that a person reads, without anything that a terminal would obey.

    Fields that say nothing are left out: `None`, a `False` of the access line and its request id, `audit`,
    and the name of a logger of ours. JSON has them all.
    """
    logger = str(event.get("logger", ""))
    ours = logger.partition(".")[0] == _OURS
    known = {name: event[name] for name in (*_FIRST, *event) if name in event}
    return {
        name: _harmless(name, value)
        for name, value in known.items()
        if value is not None
        and not (ours and name in {"logger", "audit"})
        and not (logger == _REQUEST and (value is False or name == "request_id"))
    }


def _harmless(name: str, value: Any) -> Any:
    """A value without control characters, which JSON escapes by itself; a traceback has lines."""
    if not isinstance(value, str):
        return value
    if name == "timestamp":
        return _clock_time(value)
    return "\n".join(one_line(line) for line in value.split("\n"))


def _clock_time(stamp: str) -> str:
    """The local time of day of an ISO time stamp, to the millisecond."""
    return datetime.fromisoformat(stamp).astimezone().strftime("%H:%M:%S.%f")[:-3]


def _shown(value: object) -> str:
    text = str(value)
    return text if isinstance(value, str) and text and not (set(text) & set(" '\"=\n")) else repr(value)
