"""Thousands of idle event streams on one worker: what each costs, and how soon an event reaches all."""

import asyncio
import contextlib
import resource
import time
from collections.abc import AsyncIterator, Mapping

from tests.tools.bench import machine
from tests.tools.bench.contenders.ours import Ours
from tests.tools.bench.environment import Ground
from tests.tools.bench.figures import Finding
from tests.tools.bench.load import LoadError
from tests.tools.bench.programs import lasting_port
from tests.tools.bench.scenarios.base import Scale, Scenario, Tell

_KIB = 1024
_MOST_EACH = 60 * _KIB
_MOST_SECONDS = 1.0
_BATCH = 100  # streams that are opened at once
_PATIENCE = 60.0
_SPARE = 500  # descriptors for everything else
_EVENTS = 5
_IDLE = 3.0  # seconds over which the worker's own CPU use is looked at
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Events(Scenario):
    """This process is both the backend and all clients, on the other cores."""

    name = "events"
    what = "thousands of idle event streams on one worker: memory of each, time until an event is with all"

    def __init__(self) -> None:
        self._backend_port = lasting_port()
        route = {
            "path": "/events",
            "upstream": f"http://127.0.0.1:{self._backend_port}",
            "strip_prefix": False,
            "max_connections": 100_000,
            "max_streams": 100_000,
        }
        self.ours = [Ours("events", routes=[route])]

    def run(self, ground: Ground, scale: Scale, tell: Tell) -> list[Finding]:
        possible = _raise_descriptors() // 2 - _SPARE
        count = min(scale.streams, possible)
        self.ours[0].start(ground)
        findings = asyncio.run(self._run(count, self.ours[0].headers(), tell))
        if count < scale.streams:
            what = f"streams that the limit of descriptors leaves room for, of {scale.streams}"
            findings.append(Finding(self.name, what, str(count)))
        return findings

    async def _run(self, count: int, headers: Mapping[str, str], tell: Tell) -> list[Finding]:
        ours, backend = self.ours[0], _Backend()
        assert ours.program is not None
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: _Given(backend), "127.0.0.1", self._backend_port, backlog=2048
        )
        async with server, _streams(ours.port, _BATCH, headers) as warm:
            del warm
        before = machine.resident_memory(ours.program.pid)
        server = await loop.create_server(
            lambda: _Given(backend), "127.0.0.1", self._backend_port, backlog=2048
        )
        tell(f"opening {count} event streams")
        async with server, _streams(ours.port, count, headers) as streams:
            each = (machine.resident_memory(ours.program.pid) - before) / count
            used = machine.group_cpu(ours.program.pid)
            await asyncio.sleep(_IDLE)
            used = (machine.group_cpu(ours.program.pid) - used) / _IDLE
            tell("sending events to all of them")
            seconds = [await _send_to_all(backend, streams, number) for number in range(_EVENTS)]
            after = (machine.resident_memory(ours.program.pid) - before) / count
        name = f"{count} idle streams"
        worst = max(seconds)
        return [
            Finding(
                self.name,
                f"{name}: memory of each",
                f"{each / _KIB:.1f} KiB",
                "under 60 KiB",
                each < _MOST_EACH,
            ),
            Finding(self.name, f"{name}: memory of each after {_EVENTS} events", f"{after / _KIB:.1f} KiB"),
            Finding(self.name, f"{name}: share of a core while idle", f"{used:.1%}"),
            Finding(
                self.name,
                f"{name}: an event is with all, worst of {_EVENTS}",
                f"{worst * 1000:.0f} ms",
                "within 1 s",
                worst < _MOST_SECONDS,
            ),
        ]


class _Backend:
    """Every stream that the backend gives."""

    def __init__(self) -> None:
        self.streams: set[asyncio.Transport] = set()


class _Given(asyncio.Protocol):
    """One stream of the backend's."""

    def __init__(self, backend: _Backend) -> None:
        self._backend = backend
        self._transport: asyncio.Transport | None = None
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        assert self._transport is not None
        if self._read.endswith(b"\r\n\r\n"):
            self._read = b""
            self._backend.streams.add(self._transport)
            self._transport.write(_HEAD + _chunk(b"data: hello\n\n"))

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self._transport is not None:
            self._backend.streams.discard(self._transport)


class _Taken(asyncio.Protocol):
    """One stream as a client reads it; `news` is told when what it waits for has come."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._read = b""
        self._awaited = b"data: hello\n\n"
        self.transport: asyncio.Transport | None = None
        self.change_waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._read += data
        if self._awaited in self._read and not self.change_waiter.done():
            self._read = b""
            self.change_waiter.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if not self.change_waiter.done():
            self.change_waiter.set_exception(LoadError(f"a stream has ended: {self._read[:200]!r}"))

    def wait_for(self, text: bytes) -> None:
        """Sets what is to come next."""
        self._awaited = text
        self.change_waiter = asyncio.get_running_loop().create_future()


@contextlib.asynccontextmanager
async def _streams(port: int, count: int, headers: Mapping[str, str]) -> AsyncIterator[list[_Taken]]:
    """Opens streams a batch at a time, and waits until each has its first event."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"GET /events/all HTTP/1.1\r\n{lines}\r\n".encode()
    loop = asyncio.get_running_loop()
    streams: list[_Taken] = []
    try:
        async with asyncio.timeout(_PATIENCE + count / 50):
            while len(streams) < count:
                batch = [
                    (await loop.create_connection(lambda: _Taken(request), "127.0.0.1", port))[1]
                    for _ in range(min(_BATCH, count - len(streams)))
                ]
                streams += batch
                await asyncio.gather(*(stream.change_waiter for stream in batch))
        yield streams
    finally:
        for stream in streams:
            if stream.transport is not None:
                stream.transport.abort()


async def _send_to_all(backend: _Backend, streams: list[_Taken], number: int) -> float:
    """Sends one event to all streams; returns the seconds until the last client has it."""
    event = f"data: event {number}\n\n".encode()
    for stream in streams:
        stream.wait_for(event)
    started = time.perf_counter()
    for transport in backend.streams:
        transport.write(_chunk(event))
    async with asyncio.timeout(_PATIENCE):
        await asyncio.gather(*(stream.change_waiter for stream in streams))
    return time.perf_counter() - started


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _raise_descriptors() -> int:
    """Raises this process' limit as far as it may be; children inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 1024 * 1024 if hard == resource.RLIM_INFINITY else hard
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
