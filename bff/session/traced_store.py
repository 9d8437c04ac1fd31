"""The sessions' Redis with a span for each question that a request or a rotation asks."""

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from bff.observe.metrics import Metrics
from bff.observe.tracing import Spans
from bff.session.redis_failure_log import FailureLog
from bff.session.store import SessionStore
from bff.settings.model import RedisSettings

_OPERATIONS: Final = {
    "load": "load session",
    "load_noted": "load session",
    "create": "create session",
    "replace": "replace session",
    "mark_refreshing": "mark session",
    "keep_exchanged": "keep exchanged token",
    "end": "end session",
    "end_many": "end sessions",
    "one_time.claim": "claim",
    "one_time.swap": "swap",
    "locks.take": "take lock",
    "locks.release": "release lock",
}
"""The operations of a store that are traced, and the summary of each."""


class TracedSessionStore(SessionStore):
    """A store whose operations are spans; those that nobody waits for are none."""

    def __init__(self, settings: RedisSettings, metrics: Metrics, spans: Spans) -> None:
        super().__init__(settings, metrics)
        for name, summary in _OPERATIONS.items():
            part, _, method = name.rpartition(".")
            owner = getattr(self, part) if part else self
            setattr(owner, method, _traced(getattr(owner, method), summary, spans))


def new_store(settings: RedisSettings, metrics: Metrics, spans: Spans | None) -> SessionStore:
    """A store, which tells of failures, and traces where there are `spans`."""
    store = SessionStore(settings, metrics) if spans is None else TracedSessionStore(settings, metrics, spans)
    store.failures = FailureLog(time.monotonic)
    return store


def _traced(
    operation: Callable[..., Awaitable[Any]], summary: str, spans: Spans
) -> Callable[..., Awaitable[Any]]:
    async def traced(*arguments: Any, **options: Any) -> Any:
        with spans.redis(summary):
            return await operation(*arguments, **options)

    return traced
