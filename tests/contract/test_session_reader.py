"""Reads of one session for a caller that has no task, with a near cache and without."""

import asyncio

import pytest

from bff.errors import StoreUnavailableError
from bff.session import near_cache
from bff.session.batches import Told
from bff.session.cached_session import CachedSession
from bff.session.hash_read import LoadedValues, WrongTypeError
from bff.session.sessions import Sessions
from tests.contract.cached import Site, cookie, read
from tests.contract.test_put_back import without_cache
from tests.session.sample import needed
from tests.support.wait import until


@pytest.fixture(params=["near", "far"])
def sessions(site: Site, request: pytest.FixtureRequest) -> Sessions:
    return site.sessions if request.param == "near" else without_cache(site)


async def test_a_session_is_read(site: Site, sessions: Sessions) -> None:
    """It is what the near cache keeps of a session."""
    found = await site.signed_in()
    packed = await read(sessions, found)
    assert packed is not None
    assert (found.handle, needed(found.session)) == (packed.found.handle, packed.found.session)


@pytest.mark.requirement("B-22")
async def test_what_has_ended_is_not_found(site: Site, sessions: Sessions) -> None:
    """`find` says why."""
    found = await site.signed_in()
    assert await read(sessions, found) is not None
    site.delete(found)
    assert await read(sessions, found) is None


@pytest.mark.requirement("B-31")
async def test_what_was_changed_by_hand_is_not_found(site: Site, sessions: Sessions) -> None:
    """A record that does not open is no session, whatever was read before."""
    found = await site.signed_in()
    assert await read(sessions, found) is not None
    site.redis.cli("HSET", f"bff:session:{found.session.key}", "sub", "mallory")
    assert await read(sessions, found) is None


@pytest.mark.requirement("B-21")
async def test_a_session_whose_time_is_up_is_not_found(site: Site, sessions: Sessions) -> None:
    """By the clock, whatever Redis still holds."""
    found = await site.signed_in()
    site.now = found.session.ends
    assert await read(sessions, found) is None
    assert 0 == len(site.cache)


@pytest.mark.requirement("B-21")
async def test_a_session_of_a_provider_that_was_removed_is_not_found(site: Site, sessions: Sessions) -> None:
    """It is `find`'s to end."""
    found = await site.signed_in()
    sessions._reader._providers = {"other"}
    assert await read(sessions, found) is None
    assert 0 == len(site.cache)
    sessions._reader._providers = {"other", found.session.provider}
    assert await read(sessions, found) is not None


@pytest.mark.requirement("B-21")
async def test_a_session_is_kept_no_longer_than_its_record(site: Site) -> None:
    """Nor than its own time, where the record has none."""
    for command, most in (["EXPIRE", "60"], 60), (["PERSIST"], 1830):
        found = await site.signed_in()
        name = f"bff:session:{found.session.key}"
        assert "1" == site.redis.cli(command[0], name, *command[1:])
        await site.told()
        assert await read(site.sessions, found) is not None
        expires, _ = near_cache._HEAD.unpack_from(site.cache.entries[found.handle.encode()])
        assert 0 < expires - site.cache.clock() <= most


async def test_a_question_that_was_not_answered_finds_nothing(
    site: Site, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure is neither a session, nor an exception, nor a read that never ends."""
    found = await site.signed_in()
    loop = asyncio.get_running_loop()
    for failure in (StoreUnavailableError("away"), WrongTypeError()):

        def ask(_: str, then: Told[LoadedValues], *, timed: bool, failure: Exception = failure) -> None:
            assert timed is (sessions is site.sessions)
            loop.call_soon(then, failure)

        monkeypatch.setattr(site.store, "ask", ask)
        assert await read(sessions, found) is None
    assert {} == site.cache._readings


async def test_which_requests_have_a_reader(site: Site, sessions: Sessions) -> None:
    """One cookie of ours; of two the first is not taken."""
    found, other = await site.signed_in(), await site.signed_in()
    mine, theirs = cookie(found)[0], cookie(other)[0]
    for header in (b"", b"bff=forged", mine + b"; " + theirs, mine + b"; " + mine):
        assert sessions.reader(header) is None, header
    assert sessions.reader(mine) is not None


async def test_what_was_read_is_a_hit(site: Site) -> None:
    """A miss is counted once, and the next call asks nobody."""
    found = await site.signed_in()
    counts = site.metrics.near_cache
    misses = counts.misses
    packed = await read(site.sessions, found)
    near = site.sessions.near(cookie(found)[0])
    assert near is not None
    assert packed is not None
    assert (packed.token, packed.quiet_until, misses + 1) == (near.token, near.quiet_until, counts.misses)


@pytest.mark.requirement("B-22")
async def test_read_deleted_answered(site: Site) -> None:
    """A change between Redis' answer and its arrival: what was read is not kept."""
    found = await site.signed_in()
    loop = asyncio.get_running_loop()
    reader = site.sessions.reader(cookie(found)[0])
    assert reader is not None
    answer: asyncio.Future[CachedSession | None] = loop.create_future()
    reader(answer.set_result)
    site.cache.changed(found.session.key)
    assert await answer is not None
    assert site.near(found) is None
    assert {} == site.cache._readings


async def test_what_nobody_waits_for_is_kept(site: Site) -> None:
    """A caller that has left takes nothing along: the next call is a hit."""
    found = await site.signed_in()
    reader = site.sessions.reader(cookie(found)[0])
    assert reader is not None
    reader(lambda _: None)
    await until(lambda: site.near(found) is not None)


async def test_callers_go_on_together(site: Site) -> None:
    """Once all sessions that came together are opened; a mistake of one caller holds nobody else up."""
    loop = asyncio.get_running_loop()
    mistakes: list[str] = []
    loop.set_exception_handler(lambda _, told: mistakes.append(told["message"]))
    signed_in = [await site.signed_in() for _ in range(3)]
    in_memory: list[int] = []

    def goes_on(session: CachedSession | None) -> None:
        assert session is not None
        in_memory.append(len(site.cache))
        if len(in_memory) == 1:
            raise RuntimeError("a caller's mistake")

    for found in signed_in:
        reader = site.sessions.reader(cookie(found)[0])
        assert reader is not None
        reader(goes_on)
    await until(lambda: len(in_memory) == 3)
    assert ([3, 3, 3], ["a reader of sessions failed"]) == (in_memory, mistakes)
    assert (await read(site.sessions, signed_in[0])) is not None
