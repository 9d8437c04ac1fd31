"""One `redis-cli DEL`, and everything of a session ends in all of four processes (S-01, S-02)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.network.backend import raw_backend
from tests.support.network.held_open import CLOSED, TICK, WHOLE, answering, ends, events, socket, stream
from tests.support.processes.fleet import HOST, Fleet, running_fleet
from tests.support.processes.redis import RedisServer
from tests.support.providers.rotating import rotating_provider
from tests.support.tasks import background
from tests.support.wait import PATIENCE

WORKERS = 4


@pytest.fixture
async def fleet(redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Fleet]:
    with rotating_provider() as provider:
        async with (
            raw_backend(answering) as backend,
            running_fleet(
                redis_server,
                provider,
                tmp_path,
                workers=WORKERS,
                valves=False,
                route={"upstream": backend.url, "websocket": True},
                server={"public_url": f"http://{HOST}"},
            ) as fleet,
        ):
            yield fleet


@pytest.mark.requirement("S-01", "S-02", "L-06", "B-22", "B-29")
async def test_everything_ends(fleet: Fleet) -> None:
    """Pages are told why, sockets closed, streams broken; and nothing of the session is answered any more."""
    member, other = await fleet.member(left=3000), await fleet.member(left=3000)
    pages = [await events(worker.port, member) for worker in fleet.workers]
    streams = [await stream(worker.port, member) for worker in fleet.workers]
    sockets = [await socket(worker.port, member) for worker in fleet.workers]
    others = [await stream(worker.port, other) for worker in fleet.workers]
    assert [200] * WORKERS == [(await fleet.call(member, number)).status for number in range(WORKERS)]
    async with background(ends([*pages, *streams, *sockets])) as reading:
        with fleet.redis.client() as client:
            assert 1 == client.delete(f"bff:session:{member.key}")
        said = await reading
    for page in said[:WORKERS]:
        assert b'event: session-ended\ndata: {"code": "session_ended", "reason": "unknown"}\n\n' in page
        assert page.endswith(WHOLE)
    for broken in said[WORKERS:-WORKERS]:
        assert not broken.endswith(WHOLE)
    for closed in said[-WORKERS:]:
        assert closed.endswith(CLOSED)
    for number in range(WORKERS):
        answer = await fleet.call(member, number)
        assert (401, "session_ended") == (answer.status, answer.code)
    for going_on in others:
        async with asyncio.timeout(PATIENCE):
            await going_on.reader.readuntil(TICK)
        going_on.writer.transport.abort()
