"""A reader of server-sent events that come in chunks."""

import asyncio
import json
from typing import Any, NamedTuple

from tests.support.load.warm import Caller
from tests.support.processes.world import Browser, World

PATH = "/bff/events"


class Event(NamedTuple):
    """One event: its name, and its data as JSON."""

    name: str
    data: dict[str, Any]


class Watcher:
    """A page that reads `/bff/events`.

    Attributes:
        head: the answer's head.
        said: all that has come, without the chunks' framing.
        ended: the answer is complete; a connection that breaks off before that leaves it False.
    """

    def __init__(self, caller: Caller, head: bytes) -> None:
        self.caller = caller
        self.head = head
        self.said = b""
        self.ended = False
        self._read = 0

    @classmethod
    async def opened(cls, world: World, browser: Browser | None, *more: str) -> "Watcher":
        """A stream whose head has come, whatever it says."""
        caller = await Caller.connected(world, browser)
        caller.writer.write(caller.head(f"GET {PATH} HTTP/1.1", *more))
        async with asyncio.timeout(60):
            return cls(caller, await caller.reader.readuntil(b"\r\n\r\n"))

    @property
    def status(self) -> int:
        return int(self.head.split()[1])

    async def event(self) -> Event | None:
        """The next event; None at the end of the stream."""
        while True:
            block, found, _ = self.said[self._read :].partition(b"\n\n")
            if not found:
                if not await self._more():
                    return None
                continue
            self._read += len(block) + 2
            fields = dict(line.split(": ", 1) for line in block.decode().splitlines() if ": " in line)
            if "event" in fields:
                return Event(fields["event"], json.loads(fields["data"]))

    async def rest(self) -> list[Event]:
        """All events that still come, up to the end."""
        events = []
        while (event := await self.event()) is not None:
            events.append(event)
        return events

    async def until(self, text: bytes) -> None:
        """Reads until this has come."""
        while text not in self.said:
            assert await self._more(), f"ended after {self.said!r}"

    async def _more(self) -> bool:
        reader = self.caller.reader
        try:
            async with asyncio.timeout(60):
                size = int(await reader.readuntil(b"\r\n"), 16)
                chunk = await reader.readexactly(size + 2)
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        self.said += chunk[:-2]
        self.ended = size == 0
        return size > 0
