"""A pool against a test's backend, and requests for it."""

import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence

import pytest

from bff.policy.fields import Header
from bff.policy.routes import Upstream
from bff.upstream.backend_call import Call, CallTimeouts
from bff.upstream.connector import UpstreamFaultError
from bff.upstream.interfaces import Fault, UpstreamRequest
from bff.upstream.pool import PoolLimits, PoolStats, UpstreamPool
from tests.support.network.recording_sink import RecordingSink

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
NOTHING_LEFT = PoolStats(open=0, idle=0, waiting=0)


def request(
    method: bytes = b"GET",
    target: bytes = b"/",
    headers: Sequence[Header] = (),
    length: int | None = 0,
    *,
    expect: bool = False,
) -> UpstreamRequest:
    return UpstreamRequest(method, target, b"backend", headers, length, expect)


@contextlib.asynccontextmanager
async def pool_for(
    upstream: Upstream,
    limits: PoolLimits | None = None,
    timeouts: CallTimeouts | None = None,
    tls: ssl.SSLContext | None = None,
    server_name: str | None = None,
) -> AsyncIterator[UpstreamPool]:
    """A pool whose counts must all be zero once it has been closed."""
    pool = UpstreamPool(upstream, limits or PoolLimits(), timeouts, tls, server_name)
    try:
        yield pool
    finally:
        await pool.aclose()
    assert PoolStats(open=0, idle=0, waiting=0) == pool.stats()
    assert not pool._open
    assert not pool._closing


async def begin(
    pool: UpstreamPool, asked: UpstreamRequest, first: bytes = b"", timeouts: CallTimeouts | None = None
) -> tuple[Call, RecordingSink]:
    """Starts a call on a connection of the pool."""
    sink = RecordingSink()
    connection = await pool.acquire()
    if timeouts is not None:
        connection._timeouts = timeouts
    return connection.start(asked, sink, first), sink


async def fetch(
    pool: UpstreamPool,
    asked: UpstreamRequest | None = None,
    first: bytes = b"",
    timeouts: CallTimeouts | None = None,
) -> RecordingSink:
    """A whole call."""
    _, sink = await begin(pool, asked or request(), first, timeouts)
    return await sink.done()


async def failure(
    upstream: Upstream, limits: PoolLimits | None = None, tls: ssl.SSLContext | None = None
) -> Fault:
    """The reason why no connection can be made; nothing of the attempt is left."""
    async with pool_for(upstream, limits, tls=tls) as pool:
        with pytest.raises(UpstreamFaultError) as raised:
            await pool.acquire()
        assert PoolStats(open=0, idle=0, waiting=0) == pool.stats()
        return raised.value.fault
