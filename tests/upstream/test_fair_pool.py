"""A pool shared by several clients: turns, the kept quarter, and streams apart (H-12)."""

import asyncio

import pytest

from bff.upstream.connection import UpstreamConnection
from bff.upstream.connector import UpstreamFaultError
from bff.upstream.interfaces import Fault, FaultKind
from bff.upstream.pool import PoolLimits, PoolStats, UpstreamPool
from tests.support.network.backend import Conversation, raw_backend
from tests.support.network.upstream import pool_for
from tests.support.wait import until

Asking = asyncio.Task[UpstreamConnection]


async def held(conversation: Conversation) -> None:
    await conversation.closed()


def asking(pool: UpstreamPool, client: str) -> Asking:
    return asyncio.get_running_loop().create_task(pool.acquire(client))


async def waiting(pool: UpstreamPool, count: int) -> None:
    await until(lambda: pool.stats().waiting == count)


@pytest.mark.requirement("H-12")
async def test_sessions_are_served_in_turn() -> None:
    """Three calls of one client wait before the one of another: that one is second, not fourth."""
    async with raw_backend(held) as b, pool_for(b.upstream, PoolLimits(max_connections=1)) as pool:
        connection = await pool.acquire()
        greedy, modest = "greedy", "modest"
        order: list[str] = []
        tasks: dict[str, Asking] = {}
        for number, (name, client) in enumerate(
            [("g1", greedy), ("g2", greedy), ("g3", greedy), ("m1", modest)]
        ):
            tasks[name] = asking(pool, client)
            await waiting(pool, number + 1)
        while tasks:
            connection.put_back()
            await until(lambda: any(task.done() for task in tasks.values()))
            (name,) = [name for name, task in tasks.items() if task.done()]
            order.append(name)
            assert connection is tasks.pop(name).result()
        assert ["g1", "m1", "g2", "g3"] == order


@pytest.mark.requirement("H-12")
@pytest.mark.parametrize(("most", "share"), [(1, 1), (2, 1), (3, 2), (4, 3), (8, 6), (100, 75)])
async def test_one_client_leaves_room(most: int, share: int) -> None:
    """A client gets three quarters at most, as many calls as it may make; others find the rest."""
    limits = PoolLimits(max_connections=most, queue_timeout=0.05)
    async with raw_backend(held) as b, pool_for(b.upstream, limits) as pool:
        greedy = "greedy"
        mine = [await pool.acquire(greedy) for _ in range(share)]
        assert share == pool._held.get(greedy, 0)
        with pytest.raises(UpstreamFaultError) as raised:
            await pool.acquire(greedy)
        assert Fault(FaultKind.TIMEOUT, "queue") == raised.value.fault
        others = [await pool.acquire(f"other {number}") for number in range(most - share)]
        for connection in [*mine, *others]:
            connection.put_back()
        assert ({}, PoolStats(open=most, idle=most, waiting=0)) == (pool._held, pool.stats())


@pytest.mark.requirement("H-12")
async def test_the_kept_quarter_is_kept_of_idle_connections_too() -> None:
    """It makes no difference whether a slot is empty or its connection idle."""
    async with raw_backend(held) as b, pool_for(b.upstream, PoolLimits(max_connections=4)) as pool:
        for connection in [await pool.acquire() for _ in range(4)]:
            connection.put_back()
        greedy = "greedy"
        mine = [pool.acquire_nowait(greedy) for _ in range(4)]
        assert [False, False, False, True] == [connection is None for connection in mine]
        assert PoolStats(open=4, idle=1, waiting=0) == pool.stats()
        assert pool.acquire_nowait("other") is not None


async def test_who_waits_for_room_is_served_when_there_is_some() -> None:
    """A client beyond its share goes on as soon as one of its own calls, or another's, is over."""
    async with raw_backend(held) as b, pool_for(b.upstream, PoolLimits(max_connections=4)) as pool:
        greedy = "greedy"
        mine = [await pool.acquire(greedy) for _ in range(3)]
        fourth = asking(pool, greedy)
        await waiting(pool, 1)
        newcomer = await pool.acquire("other")  # overtakes, since it may
        newcomer.put_back()
        await asyncio.sleep(0)
        assert not fourth.done()
        mine[0].put_back()
        assert mine[0] is await fourth
        fifth = asking(pool, greedy)
        await waiting(pool, 1)
        mine[1].abort()  # makes room by closing
        await fifth
        assert 3 == pool._held.get(greedy, 0)


@pytest.mark.parametrize("granted", ["connection", "slot"])
async def test_a_waiter_that_leaves_holds_nothing(granted: str) -> None:
    """Cancelled in the moment of being served: the account is as before."""
    async with raw_backend(held) as b, pool_for(b.upstream, PoolLimits(max_connections=1)) as pool:
        connection = await pool.acquire()
        client = "one"
        task = asking(pool, client)
        await waiting(pool, 1)
        connection.put_back() if granted == "connection" else connection.abort()
        assert 1 == pool._held.get(client, 0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert 0 == pool._held.get(client, 0)


async def test_a_connection_that_cannot_be_made_is_held_by_nobody() -> None:
    """A backend that is away: no account is left."""
    async with raw_backend(held) as b:
        upstream = b.upstream
    async with pool_for(upstream) as pool:
        client = "one"
        with pytest.raises(UpstreamFaultError):
            await pool.acquire(client)
        assert 0 == pool._held.get(client, 0)


@pytest.mark.requirement("H-12")
async def test_streams_are_counted_apart() -> None:
    """A stream gives its slot back at once, and takes one again when it is over."""
    limits = PoolLimits(max_connections=1, max_streams=2)
    async with raw_backend(held) as b, pool_for(b.upstream, limits) as pool:
        client = "one"
        streams = []
        for _ in range(2):
            connection = await pool.acquire(client)
            assert pool.stream(connection)
            assert 0 == pool._held.get(client, 0)
            streams.append(connection)
        call = await pool.acquire(client)
        assert not pool.stream(call)
        assert PoolStats(open=3, idle=0, waiting=0) == pool.stats()
        waits = asking(pool, client)
        await waiting(pool, 1)
        streams[0].put_back()  # no slot for it: it closes
        assert streams[0].closed
        assert not waits.done()
        assert pool.stream(call)
        await waits
        waits.result().abort()
        streams[1].put_back()
        assert not streams[1].closed
        assert PoolStats(open=2, idle=1, waiting=0) == pool.stats()
