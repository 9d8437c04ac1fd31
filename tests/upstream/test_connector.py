"""Connecting: Unix sockets, names, addresses in turn."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from bff.embedded import free_port
from bff.policy.routes import Upstream
from bff.upstream.interfaces import Fault, FaultKind
from bff.upstream.pool import PoolLimits, PoolStats
from tests.support.network.backend import Conversation, Received, Reply, backend, raw_backend
from tests.support.network.upstream import begin, failure, fetch, pool_for, request
from tests.upstream.conftest import Resolve


async def hello(_: Received) -> Reply:
    return Reply(body=b"hello")


async def test_nobody_listens() -> None:
    """A refused connection is UNREACHABLE, and the slot is free again."""
    fault = await failure(Upstream("http", "127.0.0.1", free_port()))
    assert Fault(FaultKind.UNREACHABLE, "connect: Connection refused") == fault


async def test_a_name_that_does_not_exist() -> None:
    """An unknown name is UNREACHABLE, and so is one that is none."""
    for name in ("name.invalid", "a" * 70 + ".invalid"):
        fault = await failure(Upstream("http", name, 80))
        assert (FaultKind.UNREACHABLE, True) == (fault.kind, fault.detail.startswith("resolve: "))


async def test_addresses_are_tried_in_turn(resolve: Resolve) -> None:
    """A name with several addresses is reachable as long as one of them is."""
    async with backend(hello) as b:
        resolve(["127.0.0.2", "127.0.0.3", "127.0.0.1", "127.0.0.1"])
        async with pool_for(Upstream("http", "several", b.port)) as pool:
            assert b"hello" == (await fetch(pool)).body


async def test_no_address_takes_the_connection(resolve: Resolve) -> None:
    """What the last address said is the fault; a name without addresses is unreachable."""
    port = free_port()
    resolve(["127.0.0.2", "127.0.0.3"])
    assert FaultKind.UNREACHABLE == (await failure(Upstream("http", "several", port))).kind
    resolve([])
    assert "resolve: no address" == (await failure(Upstream("http", "none", port))).detail


@pytest.mark.requirement("H-08")
async def test_a_silent_address_leaves_time_for_the_next(resolve: Resolve) -> None:
    """Each address gets an equal share of the time: one that swallows packets does not use it all up."""
    with socket.socket() as full:  # a listener whose queue is full answers no further connection
        full.bind(("127.0.0.9", 0))
        full.listen(0)
        port = full.getsockname()[1]
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.9", port))
        async with backend(hello, port=port):
            resolve(["127.0.0.9", "127.0.0.1"])
            async with pool_for(Upstream("http", "several", port), PoolLimits(connect_timeout=2.0)) as pool:
                assert b"hello" == (await fetch(pool)).body
            resolve(["127.0.0.9"])
            fault = await failure(Upstream("http", "silent", port), PoolLimits(connect_timeout=0.2))
            assert Fault(FaultKind.TIMEOUT, "connect") == fault
        for filler in fillers:
            filler.close()


async def test_a_resolver_that_does_not_answer(resolve: Resolve) -> None:
    """Looking the name up counts against `connect_timeout`."""
    resolve(None)
    fault = await failure(Upstream("http", "slow", 80), PoolLimits(connect_timeout=0.05))
    assert Fault(FaultKind.TIMEOUT, "resolve") == fault


async def test_an_address_that_took_no_connection_rests(
    resolve: Resolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried last for a while, so that only the first call pays for it; then it is tried again."""
    tried: list[str] = []
    loop = asyncio.get_running_loop()
    connect = loop.create_connection

    async def recorded(make: Any, host: str, port: int, **options: Any) -> Any:
        tried.append(host)
        return await connect(make, host, port, **options)

    monkeypatch.setattr(loop, "create_connection", recorded)
    async with backend(hello) as b:
        resolve(["127.0.0.2", "127.0.0.1"])
        async with pool_for(Upstream("http", "several", b.port)) as pool:
            await pool.acquire()
            assert ["127.0.0.2", "127.0.0.1"] == tried
            await pool.acquire()
            await pool.acquire()
            assert ["127.0.0.1", "127.0.0.1"] == tried[2:]
            pool.dialer._book._resting.clear()  # as time does
            await pool.acquire()
            await pool.acquire()
            assert "127.0.0.2" in tried[4:]


# Unix sockets.


async def test_calls_through_a_unix_socket(tmp_path: Path) -> None:
    """Requests, bodies and reuse work as over TCP."""
    body = b"x" * 3_000_000

    async def echo(asked: Received) -> Reply:
        return Reply(body=asked.body)

    async with backend(echo, socket=tmp_path / "s") as b, pool_for(b.upstream) as pool:
        for _ in range(2):
            assert body == (await fetch(pool, request(b"PUT", length=len(body)), body)).body
        assert PoolStats(open=1, idle=1, waiting=0) == pool.stats()
        assert 1 == b.connections


async def test_no_unix_socket(tmp_path: Path) -> None:
    """A socket that is not there, or at which nobody listens, is UNREACHABLE."""
    missing = Upstream("http", "localhost", 80, str(tmp_path / "missing"))
    assert Fault(FaultKind.UNREACHABLE, "connect: No such file or directory") == await failure(missing)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "left"))
    abandoned = Upstream("http", "localhost", 80, str(tmp_path / "left"))
    assert Fault(FaultKind.UNREACHABLE, "connect: Connection refused") == await failure(abandoned)


@pytest.mark.requirement("H-03")
async def test_backpressure_through_a_unix_socket(tmp_path: Path) -> None:
    """A body is paused when the backend takes none, an answer when the client does, both within bounds."""

    async def script(conversation: Conversation) -> None:
        head = await conversation.read_head()
        assert head is not None
        await go_on.wait()
        await conversation.read_body(head)
        await conversation.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        for _ in range(size // 65536):
            await conversation.send(b"x" * 65536)
        await conversation.closed()

    size = 16 * 1024 * 1024
    go_on = asyncio.Event()
    async with raw_backend(script, socket=tmp_path / "s") as b, pool_for(b.upstream) as pool:
        call, sink = await begin(pool, request(b"POST", length=size))
        sent = 0
        while not sink.body_paused:
            call.write(b"x" * 65536)
            sent += 65536
            await asyncio.sleep(0)
        assert sent <= 2 * 1024 * 1024
        go_on.set()
        while sent < size:
            if sink.body_paused:
                await sink.until(lambda: not sink.body_paused)
            call.write(b"x" * 65536)
            sent += 65536
        sink.keep = False
        sink.on["head"] = call.pause_answer
        await sink.until(lambda: bool(sink.status))
        await asyncio.sleep(0.2)  # that nothing more comes is what is tested
        assert sink.size <= 1024 * 1024
        call.resume_answer()
        assert (size, "end") == ((await sink.done()).size, sink.events[-1])
