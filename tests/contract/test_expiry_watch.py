"""What hangs on a session is told when it ends, and only then; on a real Redis."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from bff.errors import Problem
from bff.session.expiry_watch import ExpiryWatch
from bff.session.model import EndReason
from bff.session.store import Write
from bff.tasks import Tasks
from tests.contract.cached import Site
from tests.session.sample import sample_tokens
from tests.support.wait import until

LONG = 60.0


class Unheard:
    """A feed that is not to be trusted, and says nothing."""

    trusted = False

    def follow(self, key: str, listener: ExpiryWatch) -> None:
        """Does nothing."""

    leave = follow


class Silent(Unheard):
    """A feed that counts as trusted, and whose words a test says itself."""

    trusted = True


@pytest.fixture(name="tasks")
async def _tasks() -> AsyncIterator[Tasks]:
    tasks = Tasks()
    yield tasks
    await tasks.drain(LONG)


def watch(site: Site, feed: Unheard | Silent, tasks: Tasks) -> ExpiryWatch:
    return ExpiryWatch(sessions=site.sessions, feed=feed, tasks=tasks, clock=lambda: site.now)


async def test_redis_is_asked_where_nobody_tells(site: Site, tasks: Tasks) -> None:
    """A DEL by hand ends what is open by the watch's own timer."""
    found = await site.signed_in()
    watching = watch(site, Unheard(), tasks)
    with watching.watching(found) as watched:
        await until(lambda: watched.known)
        site.delete(found)
        over = await asyncio.wait_for(watched.over, LONG)
        assert (Problem.SESSION_ENDED, EndReason.UNKNOWN) == (over.problem, over.reason)
    assert 0 == len(watching)


async def test_a_session_that_had_ended_before_the_block(site: Site, tasks: Tasks) -> None:
    """It may have ended between the look and the watch: nobody says so again."""
    found = await site.signed_in()
    await site.sessions.end(found.session, EndReason.LOGOUT)
    with watch(site, Silent(), tasks).watching(found) as watched:
        over = await asyncio.wait_for(watched.over, LONG)
        assert EndReason.LOGOUT == over.reason


async def test_a_change_that_ends_nothing(site: Site, tasks: Tasks) -> None:
    """After a rotation the watch holds the session as it is now; a note of use that is newer stays."""
    found = await site.signed_in()
    watching = watch(site, Silent(), tasks)
    with watching.watching(found) as watched:
        await until(lambda: watched.known)
        site.now += 5
        watching.noted(watched)
        prepared = site.sessions.prepare(found, sample_tokens(access_token="a2"), claims=None)
        assert Write.REPLACED is await site.sessions.save(prepared)
        watching.changed(found.session.key)
        await until(lambda: 2 == watched.found.session.version)
        assert not watched.over.done()
        assert site.now == watched.found.session.seen


async def test_not_known_is_not_ended(site: Site, tasks: Tasks) -> None:
    """While Redis is away a session lives on up to its absolute end."""
    found = await site.signed_in()
    watching = watch(site, Unheard(), tasks)
    with watching.watching(found) as watched:
        await until(lambda: watched.known)
        site.redis.stop()
        await until(lambda: not watched.known and not watched.looking)
        assert not watched.over.done()
        site.now = found.session.ends + 1
        over = await asyncio.wait_for(watched.over, LONG)
        assert (Problem.SESSION_EXPIRED, EndReason.MAX_LIFETIME) == (over.problem, over.reason)
