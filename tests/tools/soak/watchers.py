"""Thousands of pages that listen at `/bff/events`: the memory of each, and the delay of a session's end.

Each has a session of its own. First the sessions are asked for once, so that they are in the worker's
memory, then the streams are opened; then all sessions are deleted in Redis at once. At last ten
pages, streams and WebSockets of one session at four workers end by a DEL, as often as `--deletions` says.
"""

import argparse
import asyncio
import contextlib
import os
import resource
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from rich.console import Console

from tests.support.network.backend import raw_backend
from tests.support.network.held_open import Open, answering, ends, events, socket, stream
from tests.support.processes.fleet import HOST, PUBLIC_URL, Fleet, Member, running_fleet
from tests.support.processes.redis import redis_server
from tests.support.providers.rotating import rotating_provider
from tests.support.tasks import background
from tests.tools.bench.machine import resident_memory

WORKERS, TABS = 4, 10
MOST_EACH = 20.0  # KiB
MOST_SECONDS = 1.0
BATCH = 100
IDLE = 10.0  # seconds over which the worker's CPU use is looked at
PATIENCE = 60.0

_console = Console(stderr=True, highlight=False)


def define(parser: argparse.ArgumentParser) -> None:
    """Defines the command's arguments."""
    parser.add_argument("--watchers", type=int, default=5000, help="how many pages listen (5000)")
    parser.add_argument("--deletions", type=int, default=20, help="how often ten tabs are told (20)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs both parts; it takes as long as it takes, `--minutes` or not."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    wrong = asyncio.run(_run(arguments.watchers, arguments.deletions))
    for line in wrong:
        _console.print(f"[red]wrong[/] {line}")
    return 1 if wrong else 0


async def _run(watchers: int, deletions: int) -> list[str]:
    async with _fleet(1) as fleet:
        wrong = await _crowd(fleet, watchers)
    async with raw_backend(answering) as backend, _fleet(WORKERS, backend.url) as fleet:
        wrong += await _tabs(fleet, deletions)
    return wrong


class Page(asyncio.Protocol):
    """A page that listens; `told` brings the moment at which it has read `session-ended`."""

    def __init__(self, member: Member) -> None:
        loop = asyncio.get_running_loop()
        self._member = member
        self._read = b""
        self.open: asyncio.Future[None] = loop.create_future()
        self.told: asyncio.Future[float] = loop.create_future()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(
            f"GET /bff/events HTTP/1.1\r\nHost: {HOST}\r\nX-CSRF: 1\r\nSec-Fetch-Site: same-origin\r\n"
            f"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"
            f"Accept: */*\r\nAccept-Language: en\r\nCookie: bff={self._member.handle}\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self._read = (self._read + data)[-1000:]
        if not self.open.done() and b"retry:" in self._read:
            self.open.set_result(None)
        if not self.told.done() and b"session-ended" in self._read:
            self.told.set_result(time.perf_counter())

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        for awaited in (self.open, self.told):
            if not awaited.done():
                awaited.set_exception(ConnectionError(f"ended: {self._read!r}"))
                awaited.exception()  # whoever waits gets it; nobody has to


async def _crowd(fleet: Fleet, count: int) -> list[str]:
    worker = fleet.workers[0]
    members = [await fleet.member(left=3000, sub=f"user{number}") for number in range(count)]
    async with _pages(fleet, members[:BATCH]):
        pass
    bare = resident_memory(worker.pid)
    for start in range(0, count, BATCH):
        batch = members[start : start + BATCH]
        await asyncio.gather(*(fleet.call(member, 0, path="/bff/user?slide=false") for member in batch))
    known = resident_memory(worker.pid)
    async with _pages(fleet, members) as pages:
        held = resident_memory(worker.pid)
        used = _cpu(worker.pid)
        await asyncio.sleep(IDLE)
        used = (_cpu(worker.pid) - used) / IDLE
        each = (held - known) / count / 1024
        _console.print(
            f"{count} watchers: {each:.1f} KiB each, beside {(known - bare) / count / 1024:.1f} KiB for its "
            f"session; {used:.1%} of a core while idle"
        )
        with fleet.redis.client() as client:
            started = time.perf_counter()
            client.delete(*(f"bff:session:{member.key}" for member in members))
        async with asyncio.timeout(PATIENCE):
            told = await asyncio.gather(*(page.told for page in pages))
    delays = sorted(moment - started for moment in told)
    _console.print(f"all sessions deleted at once: the last was told after {delays[-1]:.2f} s")
    return [f"{each:.1f} KiB each, more than {MOST_EACH:g}"] if each > MOST_EACH else []


async def _tabs(fleet: Fleet, deletions: int) -> list[str]:
    kinds: dict[str, Callable[[int, Member], Awaitable[Open]]]
    kinds = {"page": events, "event stream": stream, "WebSocket": socket}
    delays: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(deletions):
        member = await fleet.member(left=3000)
        held = [
            (kind, await opened(fleet.workers[number % WORKERS].port, member))
            for kind, opened in kinds.items()
            for number in range(TABS)
        ]
        async with background(ends([one for _, one in held])) as reading:
            with fleet.redis.client() as client:
                started = time.perf_counter()
                client.delete(f"bff:session:{member.key}")
            await reading
        for kind, one in held:
            delays[kind].append(one.ended_at - started)
    for kind, some in delays.items():
        _console.print(
            f"{deletions} deletions, {TABS} of each kind at {WORKERS} workers: a {kind} ended "
            f"after {1000 * statistics.median(some):.1f} ms, at the worst {1000 * max(some):.1f} ms"
        )
    return [
        f"a {kind} ended after {max(some):.2f} s" for kind, some in delays.items() if max(some) > MOST_SECONDS
    ]


@contextlib.asynccontextmanager
async def _pages(fleet: Fleet, members: list[Member]) -> AsyncIterator[list[Page]]:
    """Opens a stream for each member, a batch at a time, at the workers in turn."""
    loop = asyncio.get_running_loop()
    pages: list[Page] = []
    try:
        for start in range(0, len(members), BATCH):
            batch = []
            for number, member in enumerate(members[start : start + BATCH], start):
                port = fleet.workers[number % len(fleet.workers)].port
                _, page = await loop.create_connection(lambda member=member: Page(member), "127.0.0.1", port)  # type: ignore[misc] # the default binds this turn's member
                batch.append(page)
            pages += batch
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*(page.open for page in batch))
        yield pages
    finally:
        for page in pages:
            if page.transport is not None:
                page.transport.abort()


def _cpu(pid: int) -> float:
    """Seconds of CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.asynccontextmanager
async def _fleet(workers: int, upstream: str | None = None) -> AsyncIterator[Fleet]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bff-watchers-")))
        redis = stack.enter_context(redis_server())
        provider = stack.enter_context(rotating_provider())
        async with running_fleet(
            redis,
            provider,
            folder,
            workers=workers,
            valves=False,
            route={} if upstream is None else {"upstream": upstream, "websocket": True},
            server={"public_url": PUBLIC_URL},
            limits={"events_per_process": 100_000},
        ) as fleet:
            yield fleet
