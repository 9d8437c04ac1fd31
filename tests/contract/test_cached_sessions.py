"""Sessions from the near cache, on a real redis-server, in orders of events that the test forces."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from pydantic import SecretStr

from bff.crypto import Keyring, new_secret
from bff.errors import StoreUnavailableError
from bff.observe.metrics import Metrics
from bff.session.changes import Changes, steady_now
from bff.session.cookies import SessionCookie
from bff.session.loads import Loaded
from bff.session.model import EndReason, Refreshing
from bff.session.near_cache import NearCache
from bff.session.sessions import Found, Identity, NoSession, Sessions
from bff.session.store import SessionStore, Write
from bff.settings.model import RedisSettings, ServerSettings, SessionSettings
from tests.session.sample import NOW, sample_tokens
from tests.support.redis import RedisServer
from tests.support.redis import redis_server as another_server
from tests.support.relay import TRACKING, Relay, relay_to
from tests.support.tasks import background
from tests.support.wait import until

ALICE = Identity(provider="main", sub="alice", sid="sid-1", name="Alice", claims={"sub": "alice"})


class GatedStore(SessionStore):
    """A store whose reads can be held between Redis' answer and its arrival here."""

    def __init__(self, settings: RedisSettings, metrics: Metrics) -> None:
        super().__init__(settings, metrics)
        self.gate = asyncio.Event()
        self.gate.set()
        self.read = asyncio.Event()
        self.loads = 0

    async def _load(self, key: str, *, timed: bool = False) -> Loaded | None:
        loaded = await super()._load(key, timed=timed)
        self.loads += 1
        self.read.set()
        await self.gate.wait()
        return loaded


class Site:
    """Sessions of one process, with feed and cache; the feed goes through the relay."""

    def __init__(self, redis: RedisServer, relay: Relay, keys: list[str], **settings: float) -> None:
        self.redis = redis
        self.relay = relay
        self.now = NOW
        self.steps = 0.0  # of the steady clock
        self.metrics = Metrics()
        direct = RedisSettings(url=SecretStr(redis.url))
        relayed = RedisSettings(url=SecretStr(f"redis://127.0.0.1:{relay.port}/0"))
        self.store = GatedStore(direct, self.metrics)
        self.changes = Changes(relayed, prefix=self.store.watched)
        self.cache = NearCache[Found](
            size=100,
            feed=self.changes,
            counts=self.metrics.near_cache,
            clock=lambda: steady_now() + self.steps,
        )
        self.changes.subscribe(self.cache)
        session_settings = SessionSettings.model_validate(settings)
        self.sessions = Sessions(
            store=self.store,
            keyring=Keyring(keys),
            cookie=SessionCookie.configured(ServerSettings(public_url="http://localhost"), session_settings),
            settings=session_settings,
            metrics=self.metrics,
            clock=lambda: self.now,
            cache=self.cache,
        )

    async def start(self) -> None:
        await self.changes.start()
        await until(lambda: self.changes.trusted)

    async def aclose(self) -> None:
        await self.changes.aclose()
        await self.store.aclose()

    async def signed_in(self) -> Found:
        """A session that is in Redis, and not in the cache."""
        found = await self.sessions.start(ALICE, sample_tokens(), user_agent="", address="")
        await self.told()
        return found

    async def cached(self) -> Found:
        """A session that is in the cache."""
        found = await self.signed_in()
        assert isinstance(await self.sessions.find(cookie(found)), Found)
        assert self.near(found) is not None
        return found

    def near(self, found: Found) -> Found | None:
        return self.sessions.cached(cookie(found))

    async def told(self) -> None:
        """Waits until all that has changed so far was told: pushes come in order, and this one is the last."""
        mark = Mark()
        self.changes.subscribe(mark)
        with self.redis.client() as client:
            client.set("bff:session:mark", "x", px=10_000)
        await until(lambda: mark.heard)
        self.changes.unsubscribe(mark)

    @contextlib.asynccontextmanager
    async def held_read(self, found: Found) -> AsyncIterator[asyncio.Task[Found | NoSession]]:
        """A read that Redis has answered and that has not arrived; it arrives at the end of the block."""
        self.store.read.clear()
        self.store.gate.clear()
        async with background(self.sessions.find(cookie(found))) as reading:
            await self.store.read.wait()
            yield reading
            self.store.gate.set()
            assert isinstance(await reading, Found)

    def delete(self, found: Found) -> None:
        assert "1" == self.redis.cli("DEL", f"bff:session:{found.session.key}")


def cookie(found: Found) -> list[bytes]:
    return [f"bff={found.handle}".encode()]


class Mark:
    heard = False

    def changed(self, key: str | None) -> None:
        self.heard = self.heard or key == "mark"


@pytest.fixture
async def sites(redis_server: RedisServer) -> AsyncIterator[tuple[Site, Site]]:
    """Two processes' worth of the proxy, on one Redis and with the same keys."""
    keys = [new_secret()]
    async with relay_to(redis_server.port) as relay:
        pair = (Site(redis_server, relay, keys), Site(redis_server, relay, keys))
        for site in pair:
            await site.start()
        yield pair
        for site in pair:
            await site.aclose()


@pytest.fixture
def site(sites: tuple[Site, Site]) -> Site:
    return sites[0]


async def test_a_hit_asks_nobody(site: Site) -> None:
    """What was found once is found again without Redis, and is the same."""
    found = await site.cached()
    loads = site.store.loads
    near = site.near(found)
    assert near is not None
    assert (found.handle, found.session) == (near.handle, near.session)
    assert loads == site.store.loads


@pytest.mark.requirement("B-22")
async def test_read_deleted_inserted(site: Site) -> None:
    """A session that was deleted between Redis' answer and its arrival is not kept."""
    found = await site.signed_in()
    async with site.held_read(found):
        site.delete(found)
        await site.told()
    assert site.near(found) is None
    assert isinstance(await site.sessions.find(cookie(found)), NoSession)


@pytest.mark.requirement("B-22")
async def test_read_inserted_deleted(site: Site) -> None:
    """A session that is deleted after it was kept goes from the cache with the feed's word."""
    found = await site.cached()
    site.delete(found)
    await site.told()
    assert site.near(found) is None


async def test_told_before_the_read(site: Site) -> None:
    """A change from before the read does not keep the session out."""
    found = await site.cached()
    with site.redis.client() as client:
        client.hset(f"bff:session:{found.session.key}", "ua", "another")
    await site.told()
    assert site.near(found) is None
    await site.sessions.find(cookie(found))
    near = site.near(found)
    assert near is not None
    assert "another" == near.session.user_agent


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


@pytest.mark.requirement("B-22")
async def test_a_lost_connection_empties_the_cache(site: Site) -> None:
    """What was kept on the former connection is not served on the next: nobody told what came between."""
    found = await site.cached()
    site.relay.cut(TRACKING)
    await until(lambda: not site.changes.trusted)
    assert (0, None) == (len(site.cache), site.near(found))
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


@pytest.mark.requirement("B-22")
async def test_failover_to_a_replica(site: Site) -> None:
    """A server that has become a replica vouches for nothing: every call asks."""
    found = await site.cached()
    with another_server() as other, site.redis.client() as client:
        client.replicaof("127.0.0.1", other.port)
        await until(lambda: site.near(found) is None)
        assert not site.changes.trusted
        client.replicaof("NO", "ONE")


@pytest.mark.requirement("T-10")
async def test_redis_down(site: Site) -> None:
    """Without Redis the cache serves no longer than the lease; then it cannot be known who is signed in."""
    found = await site.cached()
    site.redis.pause()
    await until(lambda: site.near(found) is None)
    with pytest.raises(StoreUnavailableError):
        await site.sessions.find(cookie(found))
    site.redis.resume()
    assert isinstance(await site.sessions.find(cookie(found)), Found)


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
    assert ({}, {}) == (site.cache._entries, site.cache._values)


@pytest.mark.requirement("B-22")
async def test_own_writes_need_no_word(site: Site) -> None:
    """With the feed silent: after our own save, mark, note of use or end the former session is not served."""
    found = await site.cached()
    site.relay.silence(TRACKING)
    sessions = site.sessions
    marked = await sessions.mark_refreshing(found.session, Refreshing(NOW, "1"))
    assert (Write.REPLACED, None) == (marked, site.near(found))
    for write in (
        lambda: sessions.save(sessions.prepare(found, sample_tokens(access_token="new"), claims=None)),
        lambda: sessions.slide(replace(found.session, seen=NOW - 600)),
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
        await asyncio.gather(*(site.sessions.slide(near.session) for _ in range(50)))
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
