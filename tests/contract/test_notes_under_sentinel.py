"""Notes of use while real Sentinels make another server the master."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from functools import partial

import pytest

from bff.crypto import new_secret
from bff.errors import StoreUnavailableError
from bff.session.invalidation_feed import steady_now
from bff.session.model import EndReason
from bff.session.sessions import Found, NoSession
from bff.tasks import Tasks
from tests.contract.cached import Site, cookie
from tests.contract.test_crowds_of_notes import IDLE, MARKED, crowd, settled
from tests.contract.test_notes_of_use import credentials_of
from tests.contract.test_slides import LATER
from tests.support.network.relay import relay_to
from tests.support.processes.sentinel import MASTER, SentinelGroup, sentinel_group
from tests.support.wait import until, until_async

pytestmark = pytest.mark.requirement("B-22", "S-13")

NUMBER = 200
_FAST = 20  # seconds of the processes' clock in one: an outage of a minute leaves the sessions time
_SLACK = 120  # seconds that a failover, and this test, may take


@pytest.fixture
def group() -> Iterator[SentinelGroup]:
    with sentinel_group() as group:
        yield group


@pytest.fixture
async def sites(group: SentinelGroup) -> AsyncIterator[tuple[Site, Site]]:
    """Two processes on the master that Sentinel names."""
    keys = [new_secret()]
    await group.ready()
    async with relay_to(group.first.port) as unused:
        pair = tuple(
            Site(group.first, unused, keys, url=group.url, feed_url=group.url, slide_interval=1)
            for _ in range(2)
        )
        for site in pair:
            site.changes.subscribe(site.store.renewal)
            await site.start()
        yield pair[0], pair[1]
        for site in pair:
            await site.aclose()


async def used(site: Site, kept: list[Found], now: float) -> None:
    """Calls with all sessions, whose use is to be noted each second; Redis may be away."""
    site.now = now
    credentials = credentials_of(site)
    for found in kept:
        packed = site.sessions.near(cookie(found)[0])
        if packed is not None:
            credentials.quiet(packed)
            continue
        with suppress(StoreUnavailableError):
            assert isinstance(await site.sessions.find(cookie(found)), Found)
    await until(lambda: settled(site))


@pytest.mark.parametrize("killed", [True, False])
async def test_the_master_changes(sites: tuple[Site, Site], group: SentinelGroup, *, killed: bool) -> None:
    """It dies over the notes, or becomes a replica: no session is lost, and none that has ended is served."""
    started = await crowd(sites, NUMBER)
    ended, kept = started[::10], [found for at, found in enumerate(started) if at % 10]
    over = [found.session.key for found in ended]
    assert len(over) == await sites[0].sessions.bulk.end_keys(over, EndReason.LOGOUT)
    await group.replicated()
    work = Tasks()
    changed = False
    began = steady_now()

    def moment() -> float:
        return LATER + (steady_now() - began) * _FAST

    async def using(site: Site) -> None:
        while not changed:
            await used(site, kept, moment())

    users = [work.spawn(using(site), name="users") for site in sites]
    await until(lambda: all(site.now > LATER + 2 for site in sites))
    if killed:
        os.kill(group.first.pid, signal.SIGKILL)
    else:
        next(group.sentinels()).sentinel_failover(MASTER)
    await group.follow(group.second)
    await until(lambda: all(site.changes.trusted for site in sites))
    changed = True
    await asyncio.gather(*users)
    names = [f"bff:session:{found.session.key}" for found in kept]
    with group.second.client() as client:

        async def slid(site: Site, since: float) -> bool:
            await used(site, kept, moment())
            pipe = client.pipeline(transaction=False)
            for name in names:
                pipe.hget(name, "seen")
            return min(float(seen.partition(".")[0]) for seen in pipe.execute()) > since

        for site in sites:
            since = moment()
            await until_async(partial(slid, site, since))
            assert [None] * len(ended) == [site.near(found) for found in ended]
            outcomes = [await site.sessions.find(cookie(found)) for found in ended]
            assert {NoSession} == {type(outcome) for outcome in outcomes}
            assert ({}, set()) == (site.cache._readings, site.sessions._uses.under_way)
        assert {*names} == {*client.scan_iter("bff:session:*")} - {"bff:session:mark"}
        lives = [client.ttl(name) for name in names]
        assert IDLE - _SLACK < min(lives) <= max(lives) <= IDLE
        marks = [client.ttl(f"bff:until:{found.session.key[:16]}") for found in kept]
        assert IDLE + MARKED - _SLACK < min(marks) <= max(marks) <= IDLE + MARKED
