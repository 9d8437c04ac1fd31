"""Crowds at four real workers with a slow provider: a token is spent once, and nobody is turned away.

`python3 -m tests.tools.soak crowds` has the whole: a thousand at each delay, ten thousand sessions.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.load.crowd import Said, crowd, wrong_with
from tests.support.load.load_burst import storm
from tests.support.processes.fleet import Fleet, Member, running_fleet
from tests.support.processes.redis import RedisServer
from tests.support.providers.behaviour import slow
from tests.support.providers.rotating import RotatingProvider, rotating_provider

REPLAYABLE = 64 * 1024  # bytes of a body that are kept for a second attempt
BODIES = (1, 700, 4096, REPLAYABLE)


@pytest.fixture
def provider() -> Iterator[RotatingProvider]:
    with rotating_provider() as provider:
        yield provider


@pytest.fixture
async def four(redis_server: RedisServer, provider: RotatingProvider, tmp_path: Path) -> AsyncIterator[Fleet]:
    """Four workers before one Redis."""
    async with running_fleet(redis_server, provider, tmp_path, workers=4, valves=False) as fleet:
        yield fleet


async def refused_by_the_backend(fleet: Fleet) -> Member:
    """A session whose access token has an hour to go, and is good no more."""
    member = await fleet.member(left=3600)
    fleet.provider.forget_access()
    return member


async def told_once(fleet: Fleet, member: Member, size: int, bodies: tuple[int, ...] = ()) -> list[Said]:
    said = await crowd(fleet, member, size, bodies=bodies)
    assert [] == await wrong_with(fleet, member, said)
    return said


@pytest.mark.requirement("T-01", "T-05", "T-11", "T-12")
async def test_a_thousand_calls_over_four_workers_spend_one_token(four: Fleet) -> None:
    """A thousand calls at once: one token call, a thousand good answers, and no reuse.

    Whether the token is over, or the backend has refused it, after bodies of up to the replay buffer; and so
    for a provider that takes longer than the lock's lease.
    """
    four.provider.usual = slow(0.1)
    await told_once(four, await four.member(expired=True), 1000)
    four.backend.requests.clear()
    await told_once(four, await refused_by_the_backend(four), 1000, BODIES)
    four.backend.requests.clear()

    four.provider.usual = slow(6)
    over, refused = await four.member(expired=True), await refused_by_the_backend(four)
    waited = await asyncio.gather(told_once(four, over, 100), told_once(four, refused, 100, BODIES))
    slowest = max(said.seconds for each in waited for said in each)
    assert 6 <= slowest
    assert 4 == four.provider.refreshes


@pytest.mark.requirement("T-01", "T-08")
async def test_many_sessions_end_in_the_same_moment(
    redis_server: RedisServer, provider: RotatingProvider, tmp_path: Path
) -> None:
    """Three hundred sessions in use, tokens that end within four seconds: each rotated once, few at a time.

    Every call is answered, within the time limit, though the provider is slow and takes ten calls at once.
    """
    provider.usual = slow(0.05)
    few, patient = {"max_token_calls": 5}, {"timeout": 120}
    async with running_fleet(
        redis_server,
        provider,
        tmp_path,
        workers=2,
        valves=False,
        provider=few,
        refresh=patient,
        server={"shutdown_timeout": 120},
    ) as fleet:
        result = await storm(fleet, 300, window=4, each=2, limit=10, seed=4)
    assert [] == result.wrong(within=120)
