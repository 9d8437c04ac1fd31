"""Notes of use of very many sessions at once, in two processes: none is lost, or served behind its end."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from bff.crypto import new_secret
from bff.session.model import EndReason
from bff.session.sessions import Found, NoSession
from bff.session.vanished_sessions import GRACE, VanishedSessions
from tests.contract.cached import ALICE, Site, cookie
from tests.contract.test_notes_of_use import cached, credentials_of
from tests.contract.test_slides import LATER
from tests.session.sample import sample_tokens
from tests.support.network.redis_fault_proxy import fault_proxy_to
from tests.support.network.relay import relay_to
from tests.support.processes.redis import RedisServer
from tests.support.tasks import background
from tests.support.wait import until

pytestmark = pytest.mark.requirement("B-22")

MANY = 1000
MEMORY = 2000 * MANY
IDLE, MARKED = 1800, 3600  # seconds
_SLACK = 60  # seconds that this test may take


@pytest.fixture
async def sites(redis_server: RedisServer) -> AsyncIterator[tuple[Site, Site]]:
    """Two processes with room for all sessions."""
    keys = [new_secret()]
    async with relay_to(redis_server.port) as relay:
        pair = tuple(Site(redis_server, relay, keys, memory=MEMORY) for _ in range(2))
        for site in pair:
            await site.start()
        yield pair[0], pair[1]
        for site in pair:
            await site.aclose()


async def crowd(sites: tuple[Site, Site], number: int = MANY) -> list[Found]:
    """Sessions that both have in memory, and whose use is to be noted."""
    identities = [replace(ALICE, sub=f"u{at}", sid=f"s{at}") for at in range(number)]
    start = sites[0].sessions.start
    started: list[Found] = []
    for at in range(0, number, 100):
        some = identities[at : at + 100]
        started += await asyncio.gather(
            *(
                start(who, sample_tokens(access_expires_at=LATER + IDLE), user_agent="", address="")
                for who in some
            )
        )
    for site in sites:
        await site.told()
        for at in range(0, number, 100):
            await asyncio.gather(*(site.sessions.find(cookie(found)) for found in started[at : at + 100]))
        await until(lambda site=site: len(site.cache) == number)  # type: ignore[misc] # binds this turn's
        site.now = LATER
    return started


def settled(site: Site) -> bool:
    return not site.sessions._uses.under_way and not site.store.uses._under_way


async def test_in_two_processes(sites: tuple[Site, Site], redis_server: RedisServer) -> None:
    """Some are deleted and some ended meanwhile: these are gone, and all others have slid."""
    started = await crowd(sites)
    deleted, ended = started[::10], started[1::10]
    kept = [found for at, found in enumerate(started) if at % 10 > 1]
    for site in sites:
        credentials = credentials_of(site)
        for packed in [cached(site, found) for found in started]:
            assert credentials.quiet(packed) is packed
        assert MANY == len(site.sessions._uses.under_way)
    await asyncio.sleep(0)
    with redis_server.client() as client:
        client.delete(*(f"bff:session:{found.session.key}" for found in deleted))
        over = [found.session.key for found in ended]
        assert len(over) == await sites[0].sessions.bulk.end_keys(over, EndReason.LOGOUT)
        await until(lambda: all(settled(site) for site in sites))
        for site in sites:
            await site.told()
            assert [None] * (MANY // 5) == [site.near(found) for found in deleted + ended]
            outcomes = [await site.sessions.find(cookie(found)) for found in deleted[:5] + ended[:5]]
            assert [NoSession] * 10 == [type(outcome) for outcome in outcomes]
            near = [site.near(found) or await site.sessions.find(cookie(found)) for found in kept]
            assert {LATER} == {one.session.seen for one in near if isinstance(one, Found)}
            assert len(kept) == len([one for one in near if isinstance(one, Found)])
            assert {} == site.cache._readings
            assert site.metrics.near_cache.bytes <= MEMORY
        names = {f"bff:session:{found.session.key}" for found in kept}
        assert names == {*client.scan_iter("bff:session:*", count=1000)} - {"bff:session:mark"}
        pipe = client.pipeline(transaction=False)
        for found in kept:
            pipe.ttl(f"bff:session:{found.session.key}")
            pipe.ttl(f"bff:until:{found.session.key[:16]}")
        lives = pipe.execute()
        assert IDLE - _SLACK < min(lives[::2]) <= max(lives[::2]) <= IDLE
        assert IDLE + MARKED - _SLACK < min(lives[1::2]) <= max(lives[1::2]) <= IDLE + MARKED
        assert 0 == client.exists(*(f"bff:until:{key[:16]}" for key in over))


@pytest.mark.requirement("S-07")
async def test_an_end_between_a_note_and_its_mark(redis_server: RedisServer) -> None:
    """The mark of a session that has ended does not come back: the auditor would tell of the end again."""
    keys, looks = [new_secret()], 0
    async with relay_to(redis_server.port) as relay, fault_proxy_to(redis_server.port) as valve:
        here = Site(redis_server, relay, keys, url=f"redis://127.0.0.1:{valve.port}/0")
        there = Site(redis_server, relay, keys)
        endings, metrics = there.store.endings, there.metrics
        auditor = VanishedSessions(endings=endings, metrics=metrics, clock=lambda: 1000.0 + looks * GRACE)
        there.changes.subscribe(auditor, to_notes=False)
        for site in (here, there):
            await site.start()
        found = await here.cached()
        here.now = LATER
        held = valve.trap(lambda data: b":until:" in data)
        with capture_logs() as lines:
            async with background(here.sessions.slide(found)) as sliding:
                await held.sprung.wait()
                assert await there.sessions.end(found.session, EndReason.LOGOUT)
                held.release()
                await sliding
            await until(lambda: settled(here))
            await there.told()
            while looks < 3:
                await auditor.look()
                looks += 1
        assert 1 == sum(line["event"] == "session_ended" for line in lines)
        assert "0" == redis_server.cli("EXISTS", endings.mark(found.session.key))
        for site in (here, there):
            await site.aclose()
