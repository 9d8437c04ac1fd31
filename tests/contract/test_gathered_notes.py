"""Notes of use that share their round trips: which wait for others, and which go at once."""

import asyncio
from typing import Any

import pytest

from bff.errors import StoreUnavailableError
from bff.session import use_writes
from bff.session.model import Tokens
from bff.session.sessions import Found
from bff.settings.model import SessionSettings
from tests.contract.cached import ALICE, Site, cookie
from tests.contract.test_notes_of_use import cached, credentials_of, crowd, seen_in_redis
from tests.contract.test_slides import LATER, due
from tests.session.sample import NOW, sample_tokens
from tests.support.tasks import background
from tests.support.wait import until

pytestmark = pytest.mark.requirement("B-22")

ENOUGH = use_writes._MOST_GATHERED


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notes wait for others for as long as the test runs."""
    monkeypatch.setattr(use_writes, "GATHER_FOR", 3600.0)


async def use(site: Site, sessions: list[Found]) -> None:
    """Calls with these sessions; whatever they send is sent."""
    credentials = credentials_of(site)
    for found in sessions:
        assert credentials.quiet(cached(site, found)) is not None
    await site.told()


async def kept(site: Site, tokens: Tokens) -> Found:
    """A session with these tokens that is in the cache."""
    found = await site.sessions.start(ALICE, tokens, user_agent="", address="")
    await site.told()
    assert isinstance(await site.sessions.find(cookie(found)), Found)
    await until(lambda: site.near(found) is not None)
    return found


def noted(site: Site, sessions: list[Found]) -> int:
    """Returns how many of these sessions have a new note in Redis."""
    return sum(seen_in_redis(site, found) > NOW for found in sessions)


@pytest.mark.usefixtures("patient")
async def test_notes_wait_for_each_other(site: Site) -> None:
    """Until there are enough of them: those go together."""
    started = await crowd(site, ENOUGH)
    await use(site, started[:-1])
    assert 0 == noted(site, started)
    assert len(started) - 1 == len(site.sessions._uses.under_way)
    await use(site, started[-1:])
    await until(lambda: not site.sessions._uses.under_way)
    assert len(started) == noted(site, started)


@pytest.mark.usefixtures("patient")
async def test_one_timer_for_all(site: Site) -> None:
    """It runs from the first note that waits, and is stopped when they go: none rings in a closed store."""
    first, second, third = await crowd(site, 3)
    uses, near = site.store.uses, site.near(third)
    assert near is not None
    await use(site, [first])
    timer = uses._timer
    assert timer is not None
    await use(site, [second])
    assert timer is uses._timer
    await site.sessions.slide(near)
    assert timer.cancelled()
    assert None is uses._timer


async def test_notes_share_their_round_trips(site: Site) -> None:
    """Ten need as many as one: to write, to mark and read, and to read again where a push comes late."""
    await site.sessions.slide(await due(site))  # the server knows the script
    site.now = NOW
    started = await crowd(site, 10, beside=1)
    batches: list[float] = []
    reader: Any = site.store._loads
    reader._took = batches.append
    await use(site, started)
    await until(lambda: not site.store.uses._under_way)
    assert 2 <= len(batches) <= 3
    assert len(started) == noted(site, started)


@pytest.mark.usefixtures("patient")
async def test_one_that_is_waited_for(site: Site) -> None:
    """It goes at once, and takes along those that wait."""
    first, second = await crowd(site, 2)
    await use(site, [first])
    near = site.near(second)
    assert near is not None
    assert await site.sessions.slide(near)
    await until(lambda: not site.sessions._uses.under_way)
    assert 2 == noted(site, [first, second])


@pytest.mark.usefixtures("patient")
async def test_one_that_is_waited_for_later(site: Site) -> None:
    """A note that waits for others goes as soon as callers wait for it; all of them hear that it is done."""
    (found,) = await crowd(site, 1)
    near = site.near(found)
    assert near is not None
    await use(site, [found])
    assert [True] * 3 == await asyncio.gather(*(site.sessions.slide(near) for _ in range(3)))
    assert 1 == noted(site, [found])
    again = await site.sessions.open(found.handle)  # a late push may keep it out of the cache
    assert isinstance(again, Found)
    assert not await site.sessions.slide(again)
    assert {} == site.sessions._uses._joined


@pytest.mark.usefixtures("patient")
async def test_one_that_fails_while_it_is_waited_for(site: Site) -> None:
    """Each who waits hears of it, but those who have gone away; the next one is written."""
    (found,) = await crowd(site, 1)
    near = site.near(found)
    assert near is not None
    await use(site, [found])
    slide = site.sessions.slide
    async with (
        background(slide(near)) as gone,
        background(slide(near)) as one,
        background(slide(near)) as two,
    ):
        await asyncio.sleep(0)
        gone.cancel()
        await site.store._loads.aclose()
        outcomes = await asyncio.gather(one, two, return_exceptions=True)
        assert [StoreUnavailableError] * 2 == [type(outcome) for outcome in outcomes]
        assert gone.cancelled()
    assert await site.sessions.slide(near)
    assert 1 == noted(site, [found])


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(("left", "at_once"), [(2.5, False), (1.5, True), (0.5, True)])
async def test_one_whose_time_is_nearly_up(site: Site, left: float, *, at_once: bool) -> None:
    """Its record may be gone before others come."""
    found = await kept(site, sample_tokens(access_expires_at=NOW + 3600))
    site.now = NOW + SessionSettings().idle_timeout - left
    await use(site, [found])
    if at_once:
        await until(lambda: not site.sessions._uses.under_way)
    assert at_once is (noted(site, [found]) == 1)


@pytest.mark.usefixtures("patient")
async def test_a_stop_while_notes_wait(site: Site) -> None:
    """They are written before the store closes."""
    started = await crowd(site, 3)
    await use(site, started)
    await site.changes.aclose()
    await asyncio.wait_for(site.store.aclose(), 30)
    assert [LATER] * 3 == [seen_in_redis(site, found) for found in started]
    assert set() == site.sessions._uses.under_way


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("ends", [NOW + 300, NOW + 1200])
async def test_a_save_while_a_note_waits(site: Site, ends: float) -> None:
    """The note lets the session live until the end that the save has moved, and so does its mark."""
    found = await kept(site, sample_tokens(refresh_expires_at=NOW + 600))
    site.now = LATER
    whole = await site.sessions.open(found.handle)
    assert isinstance(whole, Found)
    await use(site, [found])
    tokens = sample_tokens(access_token="new", refresh_expires_at=ends)
    newer = site.sessions.prepare(whole, tokens, claims=None)
    await site.store.replace(newer.session, newer.record, expected_version=1, now=LATER, idle_timeout=1800)
    await site.store.uses.settled(30)
    assert 1 == noted(site, [found])
    with site.redis.client() as client:
        left = ends - LATER
        assert left - 10 <= client.ttl(f"bff:session:{found.session.key}") <= left
        mark = site.store.endings.mark(found.session.key)
        assert left - 10 <= client.ttl(mark) - 3600 <= left
        assert "2 alice" == client.get(mark)  # by its end, and not for want of use


async def test_the_limit_in_the_mark(site: Site) -> None:
    """A note behind which the idle timeout comes first says so, whatever the mark said before."""
    (found,) = await crowd(site, 1)
    mark = site.store.endings.mark(found.session.key)
    site.redis.cli("SET", mark, "2 u0", "EX", "4000")
    await use(site, [found])
    await site.store.uses.settled(30)
    with site.redis.client() as client:
        assert "1 u0" == client.get(mark)
        assert 5390 <= client.ttl(mark) <= 5400
