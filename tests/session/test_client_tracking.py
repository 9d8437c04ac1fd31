"""The questions that a server is asked while its changes are followed, on paper."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from bff.session.client_tracking import FeedBrokenError, MasterQuestion, Tracking
from bff.session.redis_connection import new_connection
from bff.settings.model import RedisSettings
from bff.tasks import Tasks
from tests.support.network.redis_double import redis_double, resp
from tests.support.settings import PATIENCE, redis_settings

INFO = "# Replication\r\nrole:{}\r\nconnected_slaves:0\r\n"


def question() -> MasterQuestion:
    return MasterQuestion(new_connection(RedisSettings()))


@pytest.mark.parametrize("answer", [["master", 0, []], INFO.format("master")])
def test_a_master_is_followed(answer: Any) -> None:
    """By the answer to ROLE, or to INFO where that is refused."""
    question().settle(answer)


@pytest.mark.parametrize(
    "answer", [["slave", "h", 1, "connected", 0], INFO.format("slave"), [], "", None, "OK"]
)
def test_anything_else_is_not(answer: Any) -> None:
    """A replica, and what is no answer to the question."""
    with pytest.raises(FeedBrokenError):
        question().settle(answer)


def test_there_is_one_other_question() -> None:
    """A server that refuses ROLE is asked for INFO; one that refuses that as well is asked nothing more."""
    asked = question()
    assert ["ROLE"] == list(asked.words)
    assert asked.refused()
    assert ["INFO", "replication"] == list(asked.words)
    assert not asked.refused()


MASTER = resp(["master", 0, []])


async def follow(
    said: bytes, kind: type[MasterQuestion] = MasterQuestion, *, every: float = 0.01
) -> tuple[str, list[Sequence[str] | None]]:
    """Follows a server that says this to its second question; returns what ended it, and what was told."""
    told: list[Sequence[str] | None] = []
    async with redis_double(lambda _: said if len(server.asked) > 1 else MASTER) as server:
        connection = new_connection(redis_settings(f"redis://127.0.0.1:{server.port}/0"))
        tracking = Tracking(
            connection,
            kind(connection),
            prefixes=["bff:session:", "bff:ended:"],
            patience=PATIENCE,
            every=every,
            clock=time.monotonic,
            tell=told.append,
            vouch=lambda _: None,
            lost=lambda: None,
        )
        tasks = Tasks()
        tasks.spawn(tracking.watch(), name="watch")
        try:
            with pytest.raises(FeedBrokenError) as broken:
                async with asyncio.timeout(PATIENCE):
                    await tracking.follow()
        finally:
            await tasks.cancel_all()
            await tracking.leave()
    return str(broken.value), told


@pytest.mark.parametrize(
    "push",
    [
        b">1\r\n+invalidate\r\n",
        b">2\r\n+invalidate\r\n:1\r\n",
        b">2\r\n+invalidate\r\n*1\r\n:1\r\n",
        b">3\r\n+invalidate\r\n*0\r\n*0\r\n",
        b">2\r\n+invalidate\r\n-ERR\r\n",
    ],
)
async def test_a_change_of_no_known_form_ends_trust(push: bytes) -> None:
    """Which keys have changed is not known then."""
    ended, told = await follow(push + MASTER)
    assert "the server tells of changes in no known form" == ended
    assert [None] == told


async def test_pushes_are_told_in_their_order_and_other_kinds_are_passed_over() -> None:
    """Up to the answer that came to no question."""
    pushes = [
        b">2\r\n+invalidate\r\n*1\r\n+bff:session:a\r\n",
        b">2\r\n+moving\r\n:1\r\n",
        b">2\r\n+invalidate\r\n_\r\n",
    ]
    ended, told = await follow(b"".join(pushes) + MASTER + MASTER)
    assert "an answer came to no question" == ended
    assert [None, ["bff:session:a"], None] == told


class Moved(MasterQuestion):
    """Sentinel has named another master a moment ago."""

    async def watch(self) -> str | None:
        return "Sentinel names another master"


class Unwatched(MasterQuestion):
    """The watch fails by a mistake."""

    async def watch(self) -> str | None:
        raise KeyError


@pytest.mark.parametrize(
    ("kind", "why"),
    [(Moved, "Sentinel names another master"), (Unwatched, "nobody watches it any more (KeyError)")],
)
async def test_a_server_is_left_before_its_next_answer(kind: type[MasterQuestion], why: str) -> None:
    """A former master may answer as one for long, and its next question be an hour away."""
    ended, _ = await follow(MASTER, kind, every=3600)
    assert why == ended
