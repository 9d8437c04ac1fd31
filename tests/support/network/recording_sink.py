"""An answer's sink that records, and lets a test wait for what it records."""

import asyncio
from collections.abc import Callable

from bff.policy.fields import Header
from bff.upstream.interfaces import Fault


class RecordingSink:
    """Everything a connection said about one call, in order; `on` hooks a callback by its name."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.status = 0
        self.headers: list[Header] = []
        self.chunks: list[bytes] = []
        self.size = 0
        self.keep = True  # of the chunks: False counts only
        self.fault: Fault | None = None
        self.over = False
        self.body_paused = False
        self.on: dict[str, Callable[[], None]] = {}
        self._changed = asyncio.Event()

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    def _note(self, event: str) -> None:
        assert not self.over, f"{event} after the end"
        self.events.append(event)
        if event in ("end", "error"):
            self.over = True
        hook = self.on.get(event)
        if hook is not None:
            hook()
        self._changed.set()

    def head(self, status: int, headers: list[Header]) -> None:
        assert not self.status
        self.status, self.headers = status, headers
        self._note("head")

    def data(self, chunk: bytes) -> None:
        assert self.status
        assert chunk
        self.size += len(chunk)
        if self.keep:
            self.chunks.append(chunk)
        self._note("data")

    def end(self) -> None:
        assert self.status
        self._note("end")

    def error(self, fault: Fault) -> None:
        self.fault = fault
        self._note("error")

    def pause_body(self) -> None:
        assert not self.body_paused
        self.body_paused = True
        self._note("pause_body")

    def resume_body(self) -> None:
        assert self.body_paused
        self.body_paused = False
        self._note("resume_body")

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until a condition on what was recorded holds."""
        async with asyncio.timeout(60):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def done(self) -> "RecordingSink":
        """Waits for `end` or `error`."""
        await self.until(lambda: self.over)
        return self


def fault_of(sink: RecordingSink) -> Fault:
    """The fault that a call ended with."""
    assert sink.fault is not None
    return sink.fault
