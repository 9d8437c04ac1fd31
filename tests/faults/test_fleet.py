"""The harness itself: several workers, a provider with a ledger, and one fault end to end."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.behaviour import HELD_SPENT
from tests.support.fleet import BROKEN, Fleet, running_fleet
from tests.support.redis import RedisServer
from tests.support.rotating import RotatingProvider, rotating_provider
from tests.support.tasks import background
from tests.support.wait import until


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


@pytest.mark.requirement("T-09")
async def test_killed_between_the_answer_and_the_save(fleet: Fleet) -> None:
    """The token was spent by a process that is dead, without grace: ended as `refresh_lost`, no loop."""
    member = await fleet.member(expired=True)
    fleet.provider.next(HELD_SPENT)
    async with background(fleet.call(member, worker=0)) as call:
        await until(lambda: fleet.provider.held == 1)
        fleet.workers[0].kill()
        assert BROKEN == (await call).status
    fleet.provider.release()
    answer = await fleet.call(member, worker=1)
    assert (401, "session_ended", "refresh_lost") == (answer.status, answer.code, answer.reason)
    assert 2 == fleet.provider.refreshes
    assert {} == fleet.locks()


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
