"""The watch on clients' own tokens: it ends with the token, and with its last holder."""

import asyncio

import pytest

from bff.credentials.bearer_watch import BearerWatch
from bff.credentials.credential import Refused, TokenOnly
from bff.errors import Problem
from bff.tasks import Tasks
from tests.support.wait import until

pytestmark = pytest.mark.requirement("S-01")


class Source:
    """A token's state, which a test changes, and the number of checks."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self.checks = 0
        self.now = 1000.0
        self.watch = BearerWatch(
            self.check,
            lambda reason: Refused(Problem.INVALID_TOKEN, reason),
            every=0.001,
            tasks=Tasks(),
            clock=lambda: self.now,
        )

    async def check(self, token: str) -> str | None:
        assert "a-token" == token
        self.checks += 1
        return self.reason


async def test_all_holders_of_a_token_share_its_checks() -> None:
    """They hear of its end at once; after the last has left nothing is checked or kept."""
    source = Source()
    token = TokenOnly("a-token", ends=2000.0)
    told: list[str | None] = []

    def tell(over: asyncio.Future[Refused]) -> None:
        told.append(over.result().reason)

    leave, second = source.watch.follow(token, tell), source.watch.join(token)
    assert 1 == len(source.watch)
    await until(lambda: source.checks > 2)
    assert not second.over.done()  # it is good, or nobody knows
    leave()
    source.reason = "revoked"
    await until(second.over.done)
    assert (Problem.INVALID_TOKEN, "revoked") == (second.over.result().problem, second.over.result().reason)
    assert [] == told
    source.reason = None
    with source.watch.watching(token) as again:
        assert not again.over.done()
        source.watch.leave(second)
        assert 1 == len(source.watch)
        await until(lambda: source.checks > 4)
    assert 0 == len(source.watch)
    done = source.checks
    await asyncio.sleep(0.02)
    assert source.checks - done <= 1  # one was under way


async def test_a_token_ends_by_the_clock_whatever_is_known() -> None:
    """At its end nobody is asked."""
    source = Source()
    with source.watch.watching(TokenOnly("a-token", ends=1001.0)) as watched:
        await until(lambda: source.checks > 1)
        source.now = 1001.0
        assert "expired" == (await watched.over).reason
