"""Sessions from the near cache, on a real redis-server, in orders of events that the test forces."""

import pytest

from bff.errors import StoreUnavailableError
from bff.session.model import Refreshing
from bff.session.sessions import Found, NoSession
from tests.contract.cached import Site, cookie
from tests.session.sample import NOW, needed
from tests.support.network.relay import TRACKING
from tests.support.processes.redis import ON_EACH_SERVER
from tests.support.processes.redis import redis_server as another_server
from tests.support.wait import until


@ON_EACH_SERVER
async def test_a_hit_asks_nobody(site: Site) -> None:
    """What was found once is found again without Redis, and is the same, but for what no call needs."""
    found = await site.cached()
    loads = site.store.loads
    near = site.near(found)
    assert near is not None
    assert (found.handle, needed(found.session)) == (near.handle, near.session)
    assert loads == site.store.loads


@ON_EACH_SERVER
@pytest.mark.requirement("B-22")
async def test_read_deleted_inserted(site: Site) -> None:
    """A session that was deleted between Redis' answer and its arrival is not kept."""
    found = await site.signed_in()
    async with site.held_read(found):
        site.delete(found)
        await site.told()
    assert site.near(found) is None
    assert isinstance(await site.sessions.find(cookie(found)), NoSession)


@ON_EACH_SERVER
@pytest.mark.requirement("B-22")
async def test_read_inserted_deleted(site: Site) -> None:
    """A session that is deleted after it was kept goes from the cache with the feed's word."""
    found = await site.cached()
    site.delete(found)
    await site.told()
    assert site.near(found) is None


@ON_EACH_SERVER
async def test_told_before_the_read(site: Site) -> None:
    """A change from before the read does not keep the session out."""
    found = await site.cached()
    with site.redis.client() as client:
        client.hset(f"bff:session:{found.session.key}", "refreshing", f"{NOW} another")
    await site.told()
    assert site.near(found) is None
    await site.sessions.find(cookie(found))
    near = site.near(found)
    assert near is not None
    assert Refreshing(NOW, "another") == near.session.refreshing


@ON_EACH_SERVER
@pytest.mark.requirement("B-22")
async def test_a_new_connection_in_between(site: Site) -> None:
    """A deletion that fell into the gap between two tracking connections: the read around it is not kept."""
    found = await site.signed_in()
    async with site.held_read(found):
        site.relay.cut(TRACKING)
        await until(lambda: not site.changes.trusted)
        site.delete(found)
        await until(lambda: site.changes.trusted)
    assert site.near(found) is None


@ON_EACH_SERVER
@pytest.mark.requirement("B-22")
async def test_a_lost_connection_empties_the_cache(site: Site) -> None:
    """What was kept on the former connection is not served on the next: nobody told what came between."""
    found = await site.cached()
    site.relay.cut(TRACKING)
    await until(lambda: not site.changes.trusted)
    assert site.near(found) is None
    await until(lambda: len(site.cache) == 0)
    site.delete(found)
    await until(lambda: site.changes.trusted)
    assert site.near(found) is None


@pytest.mark.requirement("B-22")
async def test_silence_is_no_word(site: Site) -> None:
    """A deletion that a silent connection does not tell is served for the lease at most, then never."""
    found = await site.cached()
    site.relay.silence(TRACKING)
    site.delete(found)
    assert site.near(found) is not None  # nobody can know
    await until(lambda: site.near(found) is None)
    assert isinstance(await site.sessions.find(cookie(found)), NoSession)
    await until(lambda: site.changes.trusted)
    assert site.near(found) is None


@ON_EACH_SERVER
@pytest.mark.requirement("B-22")
@pytest.mark.parametrize("command", ["FLUSHALL", "FLUSHDB"])
async def test_a_flush(site: Site, command: str) -> None:
    """A flush empties the cache, and keeps a read around it out."""
    kept, held = await site.cached(), await site.signed_in()
    async with site.held_read(held):
        site.redis.cli(command)
        await site.told()
    assert [None, None] == [site.near(kept), site.near(held)]
    assert 0 == len(site.cache)


@pytest.mark.requirement("B-21")
async def test_the_idle_timeout_needs_nobody_to_tell(site: Site) -> None:
    """A session is not served beyond its TTL in Redis, even if no word of its end ever comes."""
    found = await site.signed_in()
    with site.redis.client() as client:
        client.pexpire(f"bff:session:{found.session.key}", 1_000)
    await site.told()
    await site.sessions.find(cookie(found))
    site.relay.silence(TRACKING)
    assert site.near(found) is not None
    site.steps = 1.0
    assert site.near(found) is None


@pytest.mark.requirement("B-21")
async def test_the_end_needs_nobody_to_tell(site: Site) -> None:
    """A session is not served beyond `ends`, by the clock on the wall."""
    found = await site.cached()
    site.now = found.session.ends - 1
    assert site.near(found) is not None
    site.now = found.session.ends
    assert site.near(found) is None
    assert isinstance(await site.sessions.find(cookie(found)), NoSession)


@ON_EACH_SERVER
@pytest.mark.requirement("B-22")
async def test_failover_to_a_replica(site: Site) -> None:
    """A server that has become a replica vouches for nothing: every call asks."""
    found = await site.cached()
    with another_server() as other, site.redis.client() as client:
        client.replicaof("127.0.0.1", other.port)
        await until(lambda: not site.changes.trusted)  # the flush of its data may be heard of before
        assert site.near(found) is None
        client.replicaof("NO", "ONE")


@pytest.mark.requirement("T-10")
async def test_redis_down(site: Site) -> None:
    """Without Redis the cache serves no longer than the lease; then it cannot be known who is signed in."""
    found = await site.cached()
    site.redis.pause()
    await until(lambda: site.near(found) is None)
    site.redis.stop()
    with pytest.raises(StoreUnavailableError):
        await site.sessions.find(cookie(found))
    site.redis.start()
    assert isinstance(await site.sessions.find(cookie(found)), Found)


async def test_a_cookie_that_no_key_signed_is_no_miss(site: Site) -> None:
    """Anybody can send garbage: it is not counted, by either way of asking; an unknown session is."""
    found = await site.signed_in()
    before = site.metrics.near_cache.misses
    forged = [b"bff=" + b"A" * 43 + b"." + b"B" * 42 + b"A"]
    assert site.sessions.cached(forged) is None
    assert site.sessions.near(forged[0]) is None
    assert before == site.metrics.near_cache.misses
    assert site.near(found) is None
    assert before + 1 == site.metrics.near_cache.misses
