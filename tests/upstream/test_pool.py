"""The pool's counts, its queue, and the ageing of its connections."""

import asyncio

import pytest

from bff.policy.routes import compile_route
from bff.settings.model import RouteSettings
from bff.upstream.backend_call import CallTimeouts
from bff.upstream.connection import UpstreamConnection
from bff.upstream.connector import UpstreamFaultError
from bff.upstream.interfaces import Fault, FaultKind
from bff.upstream.pool import PoolLimits, PoolStats, UpstreamPool
from bff.upstream.pool_registry import Pools
from tests.support.network.backend import Conversation, Received, Reply, backend, raw_backend
from tests.support.network.upstream import begin, fetch, pool_for, request
from tests.support.wait import until

ONE = PoolLimits(max_connections=1)


async def hello(_: Received) -> Reply:
    return Reply(body=b"hello")


async def held(conversation: Conversation) -> None:
    await conversation.closed()


def asking(pool: UpstreamPool) -> "asyncio.Task[UpstreamConnection]":
    return asyncio.get_running_loop().create_task(pool.acquire())


async def waiting(pool: UpstreamPool, count: int) -> None:
    await until(lambda: pool.stats().waiting == count)


async def test_the_last_used_connection_is_taken_first() -> None:
    """Idle connections are a stack, so that those not needed can age."""
    async with backend(hello) as b, pool_for(b.upstream) as pool:
        first, second = await pool.acquire(), await pool.acquire()
        assert PoolStats(open=2, idle=0, waiting=0) == pool.stats()
        first.put_back()
        second.put_back()
        assert second is pool.acquire_nowait()
        assert first is pool.acquire_nowait()
        assert pool.acquire_nowait() is None


async def test_no_more_connections_than_allowed() -> None:
    """Fifty calls at once share three connections, and all are answered."""
    async with backend(hello) as b, pool_for(b.upstream, PoolLimits(max_connections=3)) as pool:
        sinks = await asyncio.gather(*(fetch(pool) for _ in range(50)))
        assert {b"hello"} == {sink.body for sink in sinks}
        assert 3 == b.connections
        assert PoolStats(open=3, idle=3, waiting=0) == pool.stats()


async def test_waiters_are_served_in_order_and_not_overtaken() -> None:
    """First come, first served; while somebody waits, nothing is idle for a newcomer."""
    async with raw_backend(held) as b, pool_for(b.upstream, ONE) as pool:
        connection = await pool.acquire()
        tasks = []
        for i in range(3):
            tasks.append(asking(pool))
            await waiting(pool, i + 1)
        for i, task in enumerate(tasks):
            connection.put_back()
            assert pool.acquire_nowait() is None
            assert connection is await task
            assert 2 - i == pool.stats().waiting
            assert [False] * (2 - i) == [later.done() for later in tasks[i + 1 :]]


async def test_a_waiter_gets_the_slot_of_a_connection_that_closed() -> None:
    """A lost connection makes room: the next in the queue connects."""
    async with raw_backend(held) as b, pool_for(b.upstream, ONE) as pool:
        first = await pool.acquire()
        task = asking(pool)
        await waiting(pool, 1)
        first.abort()
        assert first is not await task
        assert PoolStats(open=1, idle=0, waiting=0) == pool.stats()


@pytest.mark.requirement("H-08")
async def test_the_queue_is_bounded_in_time() -> None:
    """Who waits longer than `queue_timeout` is told so, and leaves no trace."""
    limits = PoolLimits(max_connections=1, queue_timeout=0.05)
    async with raw_backend(held) as b, pool_for(b.upstream, limits) as pool:
        await pool.acquire()
        with pytest.raises(UpstreamFaultError) as raised:
            await pool.acquire()
        assert Fault(FaultKind.TIMEOUT, "queue") == raised.value.fault
        assert PoolStats(open=1, idle=0, waiting=0) == pool.stats()


# Cancellation.


async def test_cancelled_in_the_queue() -> None:
    """A waiter that leaves is passed over."""
    async with raw_backend(held) as b, pool_for(b.upstream, ONE) as pool:
        connection = await pool.acquire()
        leaving, staying = asking(pool), asking(pool)
        await waiting(pool, 2)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert PoolStats(open=1, idle=0, waiting=1) == pool.stats()
        connection.put_back()
        assert connection is await staying


@pytest.mark.parametrize("granted", ["connection", "slot"])
@pytest.mark.parametrize("next_in_line", [True, False])
async def test_cancelled_in_the_moment_of_being_served(granted: str, next_in_line: bool) -> None:
    """What a leaving waiter had just been granted goes to the next one, or back."""
    async with raw_backend(held) as b, pool_for(b.upstream, ONE) as pool:
        connection = await pool.acquire()
        leaving = asking(pool)
        await waiting(pool, 1)
        staying = asking(pool) if next_in_line else None
        await waiting(pool, 1 + next_in_line)
        if granted == "connection":
            connection.put_back()
        else:
            connection.abort()
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        if staying is not None:
            assert (granted == "connection") == (connection is await staying)
            assert PoolStats(open=1, idle=0, waiting=0) == pool.stats()
        else:
            kept = int(granted == "connection")
            assert PoolStats(open=kept, idle=kept, waiting=0) == pool.stats()


async def test_a_granted_connection_that_closes_before_its_waiter_wakes() -> None:
    """The waiter does not get a dead connection: it goes on and gets a live one."""
    async with raw_backend(held) as b, pool_for(b.upstream, ONE) as pool:
        connection = await pool.acquire()
        task = asking(pool)
        await waiting(pool, 1)
        connection.put_back()
        connection.abort()
        other = await task
        assert (False, True) == (other.closed, other is not connection)
        assert PoolStats(open=1, idle=0, waiting=0) == pool.stats()


@pytest.mark.parametrize("turns", range(8))
async def test_cancelled_while_connecting(turns: int) -> None:
    """At whichever step a connecting caller is cancelled, its slot goes to the next one."""
    async with raw_backend(held) as b, pool_for(b.upstream, ONE) as pool:
        leaving = asking(pool)
        await asyncio.sleep(0)
        staying = asking(pool)
        for _ in range(turns):
            await asyncio.sleep(0)
        if leaving.cancel():
            with pytest.raises(asyncio.CancelledError):
                await leaving
        else:
            (await leaving).put_back()
        connection = await staying
        assert PoolStats(open=1, idle=0, waiting=0) == pool.stats()
        connection.put_back()
        await b.until(lambda: len(b.open) == 1)


async def test_cancelled_callers_in_numbers_leave_the_counts_right() -> None:
    """Two hundred callers, every other one cancelled somewhere on the way: all slots are free in the end."""
    async with backend(hello) as b, pool_for(b.upstream, PoolLimits(max_connections=4)) as pool:

        async def one() -> None:
            await fetch(pool)

        tasks = [asyncio.get_running_loop().create_task(one()) for _ in range(200)]
        for i, task in enumerate(tasks):
            if i % 2:
                task.cancel()
            if i % 7 == 0:
                await asyncio.sleep(0)
        await asyncio.gather(*tasks, return_exceptions=True)
        # calls whose callers were cancelled go on to their end
        await until(lambda: pool.stats().idle == pool.stats().open)
        assert 0 == pool.stats().waiting
        assert pool.stats().open <= 4
        assert b"hello" == (await fetch(pool)).body


# Ageing and the end.


async def test_idle_connections_are_closed_after_a_while() -> None:
    """Nothing stays open unused beyond `idle_timeout`; younger ones are seen to later."""
    async with backend(hello) as b, pool_for(b.upstream, PoolLimits(idle_timeout=0.2)) as pool:
        first, second = await pool.acquire(), await pool.acquire()
        first.put_back()
        await asyncio.sleep(0.1)  # so that they age apart
        second.idle_since = second.now()
        second.put_back()
        await b.until(lambda: not b.open)
        assert PoolStats(open=0, idle=0, waiting=0) == pool.stats()


async def test_an_aged_connection_is_not_handed_out() -> None:
    """After a suspended process wakes, what is too old is closed though no timer has rung yet."""
    async with backend(hello) as b, pool_for(b.upstream) as pool:
        connection = await pool.acquire()
        connection.idle_since -= 61
        connection.put_back()
        assert pool.acquire_nowait() is None
        assert PoolStats(open=0, idle=0, waiting=0) == pool.stats()
        assert connection is not await pool.acquire()


async def test_a_connection_is_not_kept_beyond_its_lifetime() -> None:
    """An old connection ends with its call, so that a change of address is noticed."""
    async with backend(hello) as b, pool_for(b.upstream, PoolLimits(lifetime=60)) as pool:
        await fetch(pool)
        next(iter(pool._open)).born -= 61
        assert b"hello" == (await fetch(pool)).body
        assert 0 == pool.stats().open
        assert 1 == b.connections


async def test_a_closed_pool_turns_everyone_away() -> None:
    """Waiters, connecting callers and newcomers are told; `aclose` waits until the sockets are gone."""
    async with raw_backend(held) as b, pool_for(b.upstream, PoolLimits(max_connections=2)) as pool:
        busy = await pool.acquire()
        connecting = asking(pool)
        await asyncio.sleep(0)
        queued = asking(pool)
        await asyncio.sleep(0)
        assert PoolStats(open=2, idle=0, waiting=1) == pool.stats()
        await pool.aclose()
        assert busy.lost.done()
        for task in (connecting, queued, asking(pool)):
            with pytest.raises(UpstreamFaultError, match="the pool is closed"):
                await task
        assert 0 == pool.stats().idle


async def test_a_connection_freed_after_the_end_is_closed() -> None:
    """Giving back to a closed pool closes."""
    async with backend(hello) as b:
        pool = UpstreamPool(b.upstream, PoolLimits())
        connection = await pool.acquire()
        pool._closed = True
        connection.put_back()
        assert connection.closed
        connection.put_back()  # once more changes nothing
        assert PoolStats(open=0, idle=0, waiting=0) == pool.stats()
        await pool.aclose()


# The registry.


async def test_routes_to_one_backend_share_its_pool() -> None:
    """One pool for each backend and set of limits; a route always gets the same one."""
    settings = (
        {"path": "/a", "upstream": "http://one:80/x"},
        {"path": "/b", "upstream": "http://one:80/y"},
        {"path": "/c", "upstream": "http://one:80", "max_connections": 7},
        {"path": "/d", "upstream": "https://one:80"},
        {
            "path": "/e",
            "upstream": "http://two:80",
            "total_timeout": 9.0,
            "write_timeout": 8.0,
            "expect_wait": 0,
        },
        {"path": "/f", "upstream": "https://one:80", "server_name": "three"},
        {"path": "/g", "upstream": "http://unix:/run/one:/x"},
    )
    routes = [compile_route(RouteSettings.model_validate(one)) for one in settings]
    pools = Pools()
    a, b, c, d, e, f, g = (pools.for_upstream(route) for route in routes)
    assert a is b
    assert a is pools.for_upstream(routes[0])
    assert 6 == len({a, c, d, e, f, g})
    assert 6 == len(pools.all())
    assert (None, True) == (a.dialer._tls, d.dialer._tls is not None)
    assert 7 == c._limits.max_connections
    assert CallTimeouts(first_byte=60, between_bytes=300, write=8, total=9, go_ahead=0) == e._timeouts
    await pools.aclose()
    with pytest.raises(UpstreamFaultError):
        await a.acquire()


async def test_a_call_without_timeouts_takes_the_pools() -> None:
    """The pool's timeouts apply where the call brings none."""
    async with raw_backend(held) as b, pool_for(b.upstream, timeouts=CallTimeouts(first_byte=0.05)) as pool:
        assert Fault(FaultKind.TIMEOUT, "first byte") == (await fetch(pool)).fault


async def test_a_call_broken_by_its_sinks_owner_frees_the_slot() -> None:
    """Cancelling a call lets the next waiter in."""
    async with raw_backend(held) as b, pool_for(b.upstream, ONE) as pool:
        call, _ = await begin(pool, request())
        task = asking(pool)
        await waiting(pool, 1)
        call.cancel()
        assert not (await task).closed
