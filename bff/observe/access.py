"""The access line in JSON: one for each answered request, built by hand, written a batch at a time.

It is the one line that every request costs, so that the general machinery is too slow for it. Rule 1: what a
client chose in it (path, method) goes through the same redaction as everything else, once per spelling.
Rule 2: lines wait for at most `FLUSH_AFTER` seconds; a stop flushes them, a kill -9 can lose these.
"""

import asyncio
import json
import time
from collections.abc import Callable
from functools import lru_cache

from bff.observe.redact import one_line, redact_text

FLUSH_AFTER = 0.05
_MOST_WAITING = 500  # lines


_MOST_KEPT = 256  # characters: a client chooses its paths, and their length


def _quoted(text: str) -> str:
    return _kept(text) if len(text) <= _MOST_KEPT else _kept.__wrapped__(text)


@lru_cache(maxsize=4096)
def _kept(text: str) -> str:
    return json.dumps(one_line(redact_text(text)))


def line_start(method: str, path: str) -> str:
    """The line up to its status."""
    return f'{{"event": "request", "method": {_quoted(method)}, "path": {_quoted(path)}, "status": '


def line_end(route: str, session: str | None) -> str:
    """The line from behind its duration up to the request's id."""
    named = "null" if session is None else _quoted(session)
    return f', "route": {_quoted(route)}, "session": {named}, "request_id": "'


class AccessLines:
    """The lines of one process. `write` takes text that ends with a line break, and does not raise."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._waiting: list[str] = []
        self._second = -1
        self._stamp = ""

    def note(
        self, start: str, status: int, seconds: float, end: str, request_id: str, *, retried: bool = False
    ) -> None:
        """Adds a line, of `line_start` and `line_end`; the fields are those of `bff.observe.logs.access`."""
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        waiting = self._waiting
        waiting.append(
            f'{start}{status}, "duration_ms": {seconds * 1000:.2f}{end}{request_id}", '
            f'"retried": {"true" if retried else "false"}, "logger": "bff.access", "level": "info", '
            f'"timestamp": "{self._stamp}.{int((now - second) * 1e6):06d}Z"}}\n'
        )
        if len(waiting) == 1:
            self._flush_soon()
        elif len(waiting) >= _MOST_WAITING:
            self.flush()

    def flush(self) -> None:
        """Writes what waits."""
        if self._waiting:
            lines, self._waiting = self._waiting, []
            self._write("".join(lines))

    def _flush_soon(self) -> None:
        try:
            asyncio.get_running_loop().call_later(FLUSH_AFTER, self.flush)
        except RuntimeError:  # no loop runs: nothing would ever flush it
            self.flush()
