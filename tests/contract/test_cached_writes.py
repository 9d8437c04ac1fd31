"""The near cache and our own doing: what leads to a session, and what we write ourselves."""

import asyncio

import pytest

from bff.errors import StoreUnavailableError
from bff.session.model import EndReason, Refreshing
from bff.session.sessions import Found, NoSession
from bff.session.store import Write
from tests.contract.cached import Site, cookie
from tests.session.sample import NOW, sample_tokens
from tests.support.network.relay import TRACKING


@pytest.mark.requirement("B-33", "B-32")
async def test_the_same_rules_as_find(site: Site) -> None:
    """Our cookie exactly once, in its one spelling, by the one parser; else the cache knows nobody."""
    found = await site.cached()
    good = cookie(found)[0]
    accepted = [good, b"a=b; " + good + b" ;c=d", b"bff = " + good[4:]]
    refused = [
        [],
        [good, good],
        [good + b"; bff=x"],
        [b"\xa0" + good],
        [b"BFF" + good[3:]],
        [good + b"="],
        [good + b"!"],
        [b'bff="' + good[4:] + b'"'],
        [good[:-1]],
        [good.swapcase()],
    ]
    assert all(site.sessions.cached([header]) is not None for header in accepted)
    assert [None] * len(refused) == [site.sessions.cached(headers) for headers in refused]
    assert all([isinstance(await site.sessions.find(headers), NoSession) for headers in refused])
    assert 1 == len(site.cache)


@pytest.mark.requirement("B-33")
async def test_a_handle_ends_with_its_session(site: Site) -> None:
    """After an end nothing leads to the session any more: no entry, no alias."""
    found = await site.cached()
    assert await site.sessions.end(found.session, EndReason.LOGOUT)
    assert site.near(found) is None
    assert ({}, {}) == (site.cache.entries, site.cache._values)


@pytest.mark.requirement("B-22")
async def test_own_writes_need_no_word(site: Site) -> None:
    """With the feed silent: after our own save, mark or end the former session is not served."""
    found = await site.cached()
    site.relay.silence(TRACKING)
    sessions = site.sessions
    marked = await sessions.mark_refreshing(found.session, Refreshing(NOW, "1"))
    assert (Write.REPLACED, None) == (marked, site.near(found))
    for write in (
        lambda: sessions.save(sessions.prepare(found, sample_tokens(access_token="new"), claims=None)),
        lambda: sessions.end(found.session, EndReason.LOGOUT),
    ):
        await sessions.find(cookie(found))
        assert site.near(found) is not None
        await write()
        assert site.near(found) is None


async def test_an_own_write_during_a_read(site: Site) -> None:
    """A read that overlaps our own save is not kept, though the feed is silent about it."""
    found = await site.signed_in()
    prepared = site.sessions.prepare(found, sample_tokens(access_token="new"), claims=None)
    site.relay.silence(TRACKING)
    async with site.held_read(found):
        assert Write.REPLACED == await site.sessions.save(prepared)
    assert site.near(found) is None
    again = await site.sessions.find(cookie(found))
    assert isinstance(again, Found)
    assert "new" == again.session.tokens.access_token


async def test_a_write_of_unknown_outcome_counts(site: Site) -> None:
    """A save whose answer did not come may have been done: the former session is not served."""
    found = await site.cached()
    site.redis.stop()
    with pytest.raises(StoreUnavailableError):
        await site.sessions.end(found.session, EndReason.LOGOUT)
    assert 0 == len(site.cache)


@pytest.mark.requirement("T-05")
async def test_another_process_saves(sites: tuple[Site, Site]) -> None:
    """New tokens that another process saved are served here as soon as Redis has told of them."""
    here, there = sites
    found = await here.cached()
    prepared = there.sessions.prepare(found, sample_tokens(access_token="new"), claims=None)
    assert Write.REPLACED == await there.sessions.save(prepared)
    await here.told()
    assert here.near(found) is None
    await here.sessions.find(cookie(found))
    near = here.near(found)
    assert near is not None
    assert (2, "new") == (near.session.version, near.session.tokens.access_token)


async def test_open_always_asks(site: Site) -> None:
    """`open` reads what stands in Redis, whatever the cache holds."""
    found = await site.cached()
    site.relay.silence(TRACKING)
    site.delete(found)
    assert site.near(found) is not None
    assert isinstance(await site.sessions.open(found.handle), NoSession)


async def test_use_is_noted_once(site: Site) -> None:
    """Many calls on one kept session make one note of its use, not one each."""
    found = await site.cached()
    site.now += 120
    near = site.near(found)
    assert near is not None
    assert site.sessions.slide_due(near.session)
    with site.redis.client() as client:
        client.config_resetstat()
        await asyncio.gather(*(site.sessions.slide(near) for _ in range(50)))
        assert 1 == client.info("commandstats")["cmdstat_hset"]["calls"]
    again = await site.sessions.find(cookie(found))
    assert isinstance(again, Found)
    assert not site.sessions.slide_due(again.session)


async def test_without_a_cache(site: Site) -> None:
    """Turned off, nothing is kept and everything works."""
    found = await site.signed_in()
    site.sessions._cache = None
    assert isinstance(await site.sessions.find(cookie(found)), Found)
    assert site.near(found) is None
    assert await site.sessions.end(found.session, EndReason.LOGOUT)
