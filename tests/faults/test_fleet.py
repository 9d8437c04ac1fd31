"""The harness itself: several workers, and a provider with a ledger."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.processes.fleet import Fleet, running_fleet
from tests.support.processes.redis import RedisServer
from tests.support.providers.rotating import RotatingProvider, rotating_provider


@pytest.fixture
def provider() -> Iterator[RotatingProvider]:
    with rotating_provider() as provider:
        yield provider


@pytest.fixture
async def fleet(
    redis_server: RedisServer, provider: RotatingProvider, tmp_path: Path
) -> AsyncIterator[Fleet]:
    async with running_fleet(redis_server, provider, tmp_path) as fleet:
        yield fleet


@pytest.mark.requirement("T-01")
async def test_a_crowd_over_both_workers(fleet: Fleet) -> None:
    """Forty calls with an expired token: all good, one call of the provider; sign-in spans both."""
    member = await fleet.member(expired=True)
    answers = await asyncio.gather(*(fleet.call(member, worker=number % 2) for number in range(40)))
    assert {200} == {answer.status for answer in answers}
    assert 1 == fleet.provider.refreshes
    signed_in = await fleet.sign_in(worker=0, finish=1)
    assert signed_in is not None
    assert 200 == (await fleet.call(signed_in, worker=0)).status
