"""So many sessions a user, on a real redis-server: the oldest end."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from bff.crypto import new_secret
from bff.errors import Problem
from bff.session.model import EndReason
from bff.session.sessions import Found, NoSession
from tests.contract.cached import ALICE, Site
from tests.session.sample import sample_tokens
from tests.support.network.relay import relay_to
from tests.support.processes.redis import ON_EACH_SERVER, RedisServer

pytestmark = [ON_EACH_SERVER, pytest.mark.requirement("S-08")]
MOST = 3
INDEX = "bff:user:main:alice"


@pytest.fixture
async def capped(redis_server: RedisServer) -> AsyncIterator[list[Site]]:
    """Two processes that let a user have three sessions."""
    keys = [new_secret()]
    async with relay_to(redis_server.port) as relay:
        sites = [Site(redis_server, relay, keys, max_per_user=MOST) for _ in range(2)]
        for site in sites:
            await site.start()
        yield sites
        for site in sites:
            await site.aclose()


async def sign_in(site: Site, after: float = 1) -> Found:
    """What a sign-in does, so many seconds after the one before."""
    site.now += after
    found = await site.sessions.start(ALICE, sample_tokens(), user_agent="", address="")
    await site.sessions.bulk.end_oldest(found.session)
    return found


async def lives(site: Site, found: Found) -> bool:
    return isinstance(await site.sessions.open(found.handle), Found)


async def test_the_oldest_session_makes_room(capped: list[Site]) -> None:
    """It is told why, and its end is an audit event; the user's others go on, and so do other users'."""
    site = capped[0]
    with capture_logs() as lines:
        sessions = [await sign_in(site) for _ in range(MOST + 2)]
    assert [False, False, True, True, True] == [await lives(site, each) for each in sessions]
    over = NoSession(Problem.SESSION_ENDED, EndReason.SESSION_LIMIT)
    assert over == await site.sessions.open(sessions[0].handle)
    ended = [(line["session"], line["reason"]) for line in lines if line["event"] == "session_ended"]
    assert [(each.session.id, "session_limit") for each in sessions[:2]] == ended


async def test_a_record_that_cannot_be_read_keeps_nobody_out(
    capped: list[Site], redis_server: RedisServer
) -> None:
    """A version of more digits than Python reads, in a record or a note of its end: people sign in."""
    site = capped[0]
    sessions = [await sign_in(site) for _ in range(MOST)]
    with redis_server.client() as client:
        client.hset(f"bff:session:{sessions[0].session.key}", "version", "9" * 5000)
        client.set(site.store.endings.name(sessions[1].session.key), "idle " + "9" * 5000)
    assert await lives(site, await sign_in(site))
    assert not await lives(site, sessions[1])


async def test_sign_ins_of_one_second_end_in_their_order(capped: list[Site]) -> None:
    """A record's times are in whole seconds: the index is finer. Ten rounds: one might be so by chance."""
    site = capped[0]
    site.now = float(int(site.now))
    for _ in range(10):
        sessions = [await sign_in(site, 0.125) for _ in range(MOST + 2)]
        assert [False, False, True, True, True] == [await lives(site, each) for each in sessions]
        site.now += 1


async def test_sign_ins_at_once_leave_no_more(capped: list[Site]) -> None:
    """Over two processes, however they fall; each new session lives unless newer ones made it too old."""
    sessions = await asyncio.gather(*(sign_in(capped[turn % 2]) for turn in range(12)))
    living = [each for each in sessions if await lives(capped[0], each)]
    assert 1 <= len(living) <= MOST


async def test_members_that_are_gone_count_for_nothing(capped: list[Site], redis_server: RedisServer) -> None:
    """Sessions deleted in Redis leave the index, and end nobody in their place."""
    site = capped[0]
    first = await sign_in(site)
    dead = [await site.signed_in() for _ in range(20)]
    for each in dead:
        site.delete(each)
    await sign_in(site)
    last = await sign_in(site)
    assert await lives(site, first)
    assert await lives(site, last)
    with redis_server.client() as client:
        assert 3 == client.zcard(INDEX)


async def test_a_record_that_was_edited_goes_first(capped: list[Site], redis_server: RedisServer) -> None:
    """A date that is none cannot keep a session, nor break a sign-in."""
    site = capped[0]
    sessions = [await sign_in(site) for _ in range(MOST)]
    for name, value in (("created", "soon"), ("version", "x")):
        redis_server.cli("HSET", f"bff:session:{sessions[1].session.key}", name, value)
    await sign_in(site)
    assert [True, False, True] == [await lives(site, each) for each in sessions]


async def test_a_sign_in_survives_a_lost_redis(capped: list[Site], redis_server: RedisServer) -> None:
    """The bound is not worth a failed sign-in: the next one looks again."""
    site = capped[0]
    sessions = [await site.signed_in() for _ in range(MOST + 1)]
    redis_server.stop()
    await site.sessions.bulk.end_oldest(sessions[-1].session)
    redis_server.start()
    await site.changes.aclose()
    assert MOST + 1 == sum([await lives(site, each) for each in sessions])
    await site.sessions.bulk.end_oldest(sessions[-1].session)
    assert MOST == sum([await lives(site, each) for each in sessions])
