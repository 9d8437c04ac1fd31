"""The access line in JSON: one for each answered request, built by hand, written a batch at a time.

It is the one line that every request costs, so that the general machinery is too slow for it; and it is put
together of few pieces, since each of them costs a call about as much as its text. Rule 1: what a
client chose in it (path, method) goes through the same redaction as everything else, once per spelling.
Rule 2: lines wait for at most `FLUSH_AFTER` seconds; a stop flushes them, a kill -9 can lose these.
"""

import asyncio
import json
import re
import string
import time
from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus

from bff.allowed_bytes import allowing
from bff.observe.redact import one_line, redact_text
from bff.observe.tracing import SpanIds

FLUSH_AFTER = 0.05
_MOST_WAITING = 500  # lines


_MOST_KEPT = 256  # characters: a client chooses its paths, and their length


_SAFE = f"{string.ascii_letters}{string.digits}/_~-"  # none that a secret's shape needs, and none to escape
_PLAIN = re.compile(f"[{_SAFE}]*")
_PLAIN_BYTES = allowing(_SAFE.encode())


def path_text(path: bytes) -> str:
    """Returns a raw path as text, without a query that still hangs on it: that may hold a code."""
    return path.partition(b"?")[0].decode("utf-8", "backslashreplace")


def _quoted(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return f'"{text}"'
    return _kept(text) if len(text) <= _MOST_KEPT else _kept.__wrapped__(text)


@lru_cache(maxsize=4096)
def _kept(text: str) -> str:
    return json.dumps(one_line(redact_text(text)))


def _beginning(method: str) -> str:
    return f'{{"event": "request", "method": {_quoted(method)}, "path": "'


def _of_status(status: int) -> str:
    return f'", "status": {status}, "duration_ms": '


@lru_cache(maxsize=4096)
def _of_route(route: str) -> str:
    return f', "route": {_kept(route)}, "session": '


_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
_BEGINNINGS = {method.encode(): _beginning(method) for method in _METHODS}
_STATUSES = {int(status): _of_status(status) for status in HTTPStatus}
_SHORT = 10.0  # milliseconds
_DURATIONS = tuple(f"{number / 100:.2f}" for number in range(int(_SHORT * 100) + 1))


class AccessLines:
    """The lines of one process. `write` takes text that ends with a line break, and does not raise."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._waiting: list[str] = []
        self._second = -1
        self._once = self._twice = ""  # up to the dot of this second's time, of a call and of a repeated one

    def note(  # noqa: PLR0917 - one caller, on the hot path
        self,
        method: bytes,
        path: bytes,
        status: int,
        seconds: float,
        route: str,
        session: str | None,
        request_id: str,
        retried: bool,
        names: str = "",
        ids: SpanIds | None = None,
    ) -> None:
        """Adds a line; the fields are those of `bff.observe.logs.access`, and the ids of a span.

        `names` are those of its frontend and provider, in JSON, with a comma before each.
        """
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._once, self._twice = (
                f'", "retried": {again}, "logger": "bff.access", "level": "info", "timestamp": "{stamp}.'
                for again in ("false", "true")
            )
        waiting = self._waiting
        shown = path.decode() if path.translate(_PLAIN_BYTES) == path else _quoted(path_text(path))[1:-1]
        begin = _BEGINNINGS.get(method) or _beginning(method.decode("ascii", "replace"))
        duration = seconds * 1000
        took = _DURATIONS[int(duration * 100 + 0.5)] if 0 <= duration < _SHORT else f"{duration:.2f}"
        parts = "%06d" % ((now - second) * 1_000_000)  # noqa: UP031 - half the time of a format specifier
        whose = "null" if session is None else f'"{session}"' if session.isalnum() else _quoted(session)
        if ids is not None:
            names += f', "trace_id": "{ids.trace_id}", "span_id": "{ids.span_id}"'
        waiting.append(
            f"{begin}{shown}{_STATUSES.get(status) or _of_status(status)}{took}{_of_route(route)}{whose}, "
            f'"request_id": "{request_id}{self._twice if retried else self._once}'
            f'{parts}Z"{names}}}\n'
        )
        if len(waiting) == 1:
            self._flush_soon()
        elif len(waiting) >= _MOST_WAITING:
            self.flush()

    def flush(self) -> None:
        """Writes the lines that wait."""
        if self._waiting:
            lines, self._waiting = self._waiting, []
            self._write("".join(lines))

    def _flush_soon(self) -> None:
        try:
            asyncio.get_running_loop().call_later(FLUSH_AFTER, self.flush)
        except RuntimeError:  # no loop runs: nothing would ever flush it
            self.flush()
