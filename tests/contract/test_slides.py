"""Notes of use and the near cache: the session stays in it, if nothing but the note was written meanwhile."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from unittest.mock import Mock

import pytest

from bff.session import near_cache
from bff.session.batches import Told
from bff.session.hash_read import LoadedValues
from bff.session.model import EndReason, OwnToken, Refreshing
from bff.session.sessions import Found, NoSession
from tests.contract.cached import Site, cookie
from tests.session.sample import NOW, sample_tokens
from tests.support.network.relay import TRACKING
from tests.support.processes.redis import ON_BOTH_SERVERS
from tests.support.tasks import background
from tests.support.wait import until

pytestmark = [ON_BOTH_SERVERS, pytest.mark.requirement("B-22")]

LATER = NOW + 120


async def due(site: Site) -> Found:
    """A session that is in the cache, and whose next use is to be noted."""
    found = await site.cached()
    site.now = LATER
    near = site.near(found)
    assert near is not None
    assert site.sessions.slide_due(near.session)
    return near


@contextlib.asynccontextmanager
async def held_slide(site: Site, found: Found) -> AsyncIterator[None]:
    """A note of use that is written, and read again by Redis; at the end of the block the answer arrives."""
    site.store.read.clear()
    site.store.gate.clear()
    async with background(site.sessions.slide(found)) as sliding:
        await site.store.read.wait()
        yield
        site.store.gate.set()
        await sliding


async def slid(site: Site, found: Found) -> None:
    """Notes a use; its push comes while the session is read again, which is the order that costs most."""
    async with held_slide(site, found):
        await site.told()


async def test_the_session_stays(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A note of use opens no record: the next calls are hits, with the new `seen`, and no note is due."""
    found = await due(site)
    keyring = site.sessions._keyring
    opened = Mock(wraps=keyring.open_record_bytes)
    monkeypatch.setattr(keyring, "open_record_bytes", opened)
    await slid(site, found)
    near = site.near(found)
    packed = site.sessions.near(cookie(found)[0])
    assert near is not None
    assert packed is not None
    assert (0, LATER, found.session.tokens) == (opened.call_count, near.session.seen, near.session.tokens)
    assert not site.sessions.slide_due(near.session)
    assert site.now < packed.quiet_until <= packed.good_until
    read = await site.sessions.open(found.handle)
    assert isinstance(read, Found)
    assert LATER == read.session.seen


async def test_again_and_again(site: Site) -> None:
    """A session that stayed once stays the next time too, until its token needs something."""
    found = await due(site)
    for moment in (LATER, LATER + 60, LATER + 120):
        site.now = moment
        await slid(site, found)
        near = site.near(found)
        assert near is not None
        assert moment == near.session.seen
        found = near


async def test_deleted_before_the_note(site: Site) -> None:
    """The note finds nothing: what is in the cache goes, though nobody has told of the deletion."""
    found = await due(site)
    site.relay.silence(TRACKING)
    site.delete(found)
    assert site.near(found) is not None
    await site.sessions.slide(found)
    assert site.near(found) is None
    assert isinstance(await site.sessions.find(cookie(found)), NoSession)


async def test_deleted_right_after_the_note(site: Site) -> None:
    """Note and deletion in one turn of Redis, told by one push: the session is not put back."""
    found = await due(site)

    async def delete() -> None:
        site.delete(found)

    site.store.after_note(delete)
    await site.sessions.slide(found)
    assert site.near(found) is None
    await site.told()
    assert site.near(found) is None


async def test_one_push_for_two_changes(site: Site) -> None:
    """Redis joins the pushes of one turn: a count of pushes could not tell a deletion from our own note."""
    found = await site.cached()
    name = f"bff:session:{found.session.key}"
    heard = Heard(found.session.key)
    site.changes.subscribe(heard)
    with site.redis.client() as client:
        pipe = client.pipeline(transaction=True)
        pipe.hset(name, "seen", "1").pexpire(name, 60_000).delete(name).execute()
    await site.told()
    assert 1 == heard.count


@pytest.mark.parametrize("told", [True, False])
async def test_deleted_while_it_is_read_again(site: Site, *, told: bool) -> None:
    """After Redis' answer, before its arrival: the push keeps it out, or takes it away a moment later."""
    found = await due(site)
    async with held_slide(site, found):
        site.delete(found)
        if told:
            await site.told()
    await site.told()
    assert site.near(found) is None
    assert isinstance(await site.sessions.find(cookie(found)), NoSession)


@pytest.mark.parametrize("early", [True, False])
async def test_a_push_comes_late(site: Site, *, early: bool) -> None:
    """A push that comes while the session is read again spoils that read; the second read is kept.

    The note's own push may be late or, on a busy machine, heard before the note's answer is.
    """
    found = await due(site)
    loads = site.store.loads
    if early:
        site.store.after_note(site.told)
    async with held_slide(site, found):
        with site.redis.client() as client:
            name = f"bff:session:{found.session.key}"
            client.pexpire(name, client.pttl(name))  # is told like any change, and changes nothing
        await site.told()
    assert loads + 2 == site.store.loads
    near = site.near(found)
    assert near is not None
    assert LATER == near.session.seen


async def test_another_process_saves_in_between(sites: tuple[Site, Site]) -> None:
    """Newer tokens, a marker, or a token for one backend: the former session is not put back."""
    here, there = sites
    sessions = there.sessions
    writes: list[Callable[[Found], Awaitable[object]]] = [
        lambda one: sessions.save(sessions.prepare(one, sample_tokens(access_token="new"), claims=None)),
        lambda one: sessions.mark_refreshing(one.session, Refreshing(NOW, "1")),
        lambda one: sessions.keep_exchanged(one, "orders", OwnToken("own", NOW, None)),
    ]
    for number, write in enumerate(writes):
        here.now = NOW
        found = await due(here)
        whole = await sessions.open(found.handle)
        assert isinstance(whole, Found)
        here.relay.silence(TRACKING)  # nothing is told: it is seen by what is read
        await write(whole)
        await here.sessions.slide(found)
        assert here.near(found) is None, number
        again = await here.sessions.find(cookie(found))
        assert isinstance(again, Found)
        assert (LATER, True) == (again.session.seen, again.session != found.session)
        here.relay.resume()
        await until(lambda: here.changes.trusted)


async def test_two_processes_note_at_once(sites: tuple[Site, Site]) -> None:
    """Each may keep the session or not; none keeps what is not in Redis, and a deletion ends both."""
    here, there = sites
    found = await due(here)
    there.now = LATER + 1
    assert isinstance(await there.sessions.find(cookie(found)), Found)
    await asyncio.gather(*(site.sessions.slide(found) for site in sites))
    await asyncio.gather(*(site.told() for site in sites))
    stored = await here.sessions.open(found.handle)
    assert isinstance(stored, Found)
    for site in sites:
        near = site.near(found)
        assert near is None or near.session.seen == stored.session.seen
    here.delete(found)
    await asyncio.gather(*(site.told() for site in sites))
    assert [None, None] == [site.near(found) for site in sites]


async def test_a_lost_tracking_connection(site: Site) -> None:
    """What was taken out of a cache that was emptied since is not put back: nobody vouches for it."""
    found = await due(site)
    async with held_slide(site, found):
        site.relay.cut(TRACKING)
        await until(lambda: not site.changes.trusted)
        site.delete(found)
        await until(lambda: site.changes.trusted)
    assert site.near(found) is None


def left(site: Site, found: Found) -> float:
    """The seconds for which the near cache keeps a session."""
    expires, _ = near_cache._HEAD.unpack_from(site.cache.entries[found.handle.encode()])
    remaining: float = expires - site.cache.clock()
    return remaining


@pytest.mark.requirement("B-21")
@pytest.mark.parametrize(
    ("now", "command", "most"), [(LATER, "PERSIST", 1830), (LATER, "EXPIRE", 60), (-30, "PERSIST", 30)]
)
async def test_it_stays_for_its_time_alone(site: Site, now: float, command: str, most: int) -> None:
    """No longer than the idle timeout, its record or its latest end, whichever comes first."""
    found = await due(site)
    site.now = now if now > 0 else found.session.ends + now

    async def meanwhile() -> None:
        more = ["60"] if command == "EXPIRE" else []
        assert "1" == site.redis.cli(command, f"bff:session:{found.session.key}", *more)
        await site.told()

    site.store.after_note(meanwhile)
    await site.sessions.slide(found)
    assert 0 < left(site, found) <= most


async def test_it_is_read_twice_at_most(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that is written all the time is left to the next call, and its note is over."""
    found = await due(site)
    ask, asked = site.store.ask, Mock()

    def disturbed(key: str, then: Told[LoadedValues], *, timed: bool) -> None:
        def answered(loaded: LoadedValues | Exception) -> None:
            if asked.call_count < 10:
                site.cache.changed(key)
            then(loaded)

        asked()
        ask(key, answered, timed=timed)

    monkeypatch.setattr(site.store, "ask", disturbed)
    await site.sessions.slide(found)
    assert (2, None) == (asked.call_count, site.near(found))
    assert set() == site.sessions._uses.under_way


async def test_a_server_key_that_goes_meanwhile(site: Site) -> None:
    """A cache that was emptied during the write: what was taken out before does not come back."""
    found = await due(site)

    async def empty() -> None:
        site.cache.changed(None)

    site.store.after_note(empty)
    await site.sessions.slide(found)
    assert site.near(found) is None


async def test_an_end_beside_the_note(site: Site) -> None:
    """A logout of ours while the note is under way: the session does not come back."""
    found = await due(site)
    async with held_slide(site, found):
        assert await site.sessions.end(found.session, EndReason.LOGOUT)
    await site.told()
    assert site.near(found) is None
    assert isinstance(await site.sessions.find(cookie(found)), NoSession)


async def test_the_mark_of_the_end_moves_along(site: Site) -> None:
    """A note of use prolongs the mark that says what a session's time runs out by."""
    found = await due(site)
    name = site.store.endings.mark(found.session.key)
    with site.redis.client() as client:
        client.pexpire(name, 1_000)
        await site.sessions.slide(found)
        assert client.pttl(name) > 3_600_000


class Heard:
    """Counts what is told of one key."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.count = 0

    def changed(self, key: str | None) -> None:
        self.count += key == self.key
