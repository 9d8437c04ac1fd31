"""A TCP relay that a test can close at a named command, slow down, cut, or turn to another server.

held = valve.trap(SAVE)          # the next connection that says this is held, the words unsent
await held.sprung.wait()
held.release()                   # they pass after all
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from bff.tasks import Tasks
from tests.support.network.open_streams import OpenStreams

Says = Callable[[bytes], bool]
"""Whether a piece of what a client sends holds a command."""


@dataclass(eq=False)
class Trap:
    """Holds one connection at one command: before it has passed, or its answer after it has."""

    says: Says
    answer: bool
    sprung: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def release(self) -> None:
        self.released.set()


class FaultProxy:
    """Passes bytes on to a port of 127.0.0.1, both ways.

    Attributes:
        delay: seconds that every piece waits, each way.
        refusing: new connections are closed at once.
    """

    def __init__(self, target: int) -> None:
        self.port = 0
        self.delay = 0.0
        self.refusing = False
        self._target = target
        self._tasks = Tasks()
        self._streams = OpenStreams()
        self._links: dict[asyncio.StreamWriter, asyncio.StreamWriter] = {}
        self._traps: list[Trap] = []
        self._open = asyncio.Event()
        self._open.set()

    def trap(self, says: Says, *, answer: bool = False) -> Trap:
        """Sets a trap, which springs once."""
        trap = Trap(says, answer)
        self._traps.append(trap)
        return trap

    def pause(self) -> None:
        """Lets nothing pass any more; connections stay open, and new ones hang."""
        self._open.clear()

    def resume(self) -> None:
        """Lets the held bytes pass."""
        self._open.set()

    def cut(self) -> None:
        """Closes every connection; what is held is lost."""
        for client, server in self._links.items():
            client.close()
            server.close()

    def aim(self, port: int) -> None:
        """New connections lead to another server from now on, as by a name that moves."""
        self._target = port

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["FaultProxy"]:
        """Listens on a free port of 127.0.0.1."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut()
            await self._tasks.cancel_all()
            await self._streams.close()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._streams.keep(writer) and self.refusing:
            writer.close()
        elif not writer.is_closing():
            self._tasks.spawn(self._link(reader, writer), name="valve")

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._open.wait()
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        self._streams.keep(to_server)
        self._links[writer] = to_server
        answers = asyncio.Event()  # cleared: what the server says is held
        answers.set()
        back = self._tasks.spawn(self._back(from_server, writer, answers), name="valve, back")
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._held(data, answers)
                await self._passing()
                if to_server.is_closing():
                    break
                to_server.write(data)
                await to_server.drain()
        to_server.close()
        answers.set()
        await back
        self._links.pop(writer, None)

    async def _held(self, data: bytes, answers: asyncio.Event) -> None:
        trap = next((trap for trap in self._traps if trap.says(data)), None)
        if trap is None:
            return
        self._traps.remove(trap)
        if trap.answer:
            answers.clear()
            self._tasks.spawn(_reopen(trap, answers), name="valve, held answer")
        trap.sprung.set()
        if not trap.answer:
            await trap.released.wait()

    async def _back(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await answers.wait()
                await self._passing()
                if writer.is_closing():
                    break
                writer.write(data)
                await writer.drain()
        writer.close()

    async def _passing(self) -> None:
        await self._open.wait()
        if self.delay:
            await asyncio.sleep(self.delay)


async def _reopen(trap: Trap, answers: asyncio.Event) -> None:
    await trap.released.wait()
    answers.set()


@contextlib.asynccontextmanager
async def fault_proxy_to(port: int) -> AsyncIterator[FaultProxy]:
    """A valve that leads to a port of 127.0.0.1."""
    async with FaultProxy(port).running() as valve:
        yield valve


# The commands of a rotation, in their order

_RECORD = b"provider"  # a field of every record


def lock(data: bytes) -> bool:
    """The lock is to be taken."""
    return b":lock:" in data and b"NX" in data


def marker(data: bytes) -> bool:
    """The record is to say that the token will be sent."""
    return b"EVALSHA" in data and b":session:" in data and _RECORD not in data


def save(data: bytes) -> bool:
    """The new tokens are to be written."""
    return b"EVALSHA" in data and b":session:" in data and _RECORD in data


def release(data: bytes) -> bool:
    """The lock is to be given up; prolonging it has an argument more."""
    return data.startswith(b"*5\r\n") and b"EVALSHA" in data and b":lock:" in data
