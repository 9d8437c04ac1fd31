"""The counts of shared limits, on a real redis-server."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count

import pytest

from bff.errors import StoreUnavailableError
from bff.limits.rate_limits import RateLimits
from bff.observe.metrics import Metrics
from bff.policy.quota import Quota
from bff.session.store import SessionStore
from tests.support.processes.redis import ON_EACH_SERVER, RedisServer
from tests.support.settings import redis_settings
from tests.support.tasks import background

pytestmark = [ON_EACH_SERVER, pytest.mark.requirement("S-08")]
HOURLY = Quota("login", 5, 36_000.0)  # one more only after two hours: no test takes that long
KEY = "bff:rate:login:127.0.0.1"


@pytest.fixture
async def stores(redis_server: RedisServer) -> AsyncIterator[list[SessionStore]]:
    """Four processes' worth."""
    settings = redis_settings(redis_server.url)
    stores = [SessionStore(settings, Metrics()) for _ in range(4)]
    yield stores
    for store in stores:
        await store.aclose()


async def test_exactly_so_many_pass(stores: list[SessionStore]) -> None:
    """Of two hundred at once over four processes, five; the others are told when."""
    asked = (store.rates.take(HOURLY, "127.0.0.1") for _ in range(50) for store in stores)
    waits = sorted(await asyncio.gather(*asked))
    assert [0.0] * 5 == waits[:5]
    assert all(7000 < wait <= 7200 for wait in waits[5:])
    assert 0.0 == await stores[0].rates.take(HOURLY, "127.0.0.2")


async def test_a_key_goes_by_itself(stores: list[SessionStore], redis_server: RedisServer) -> None:
    """One key for a client, which lives until its quota is whole again, and no longer."""
    await stores[0].rates.take(HOURLY, "127.0.0.1")
    with redis_server.client() as client:
        assert [KEY] == client.keys("*")
        assert 7190 < client.ttl(KEY) <= 7200
        for _ in range(9):
            await stores[0].rates.take(HOURLY, "127.0.0.1")
        assert 35_990 < client.ttl(KEY) <= 36_000
        await stores[0].rates.take(Quota("quick", 1000, 1.0), "x")
        assert client.pttl("bff:rate:quick:x") <= 1


async def test_one_more_comes_after_each_interval(stores: list[SessionStore]) -> None:
    """What was told to wait for is enough: after it one more passes."""
    quick = Quota("quick", 2, 1.0)
    for _ in range(2):
        await stores[0].rates.take(quick, "x")
    async with asyncio.timeout(60):
        while wait := await stores[0].rates.take(quick, "x"):
            assert wait <= 0.5
            await asyncio.sleep(wait)


@pytest.mark.parametrize(
    ("command", "passes"),
    [
        (("SET", KEY, "nonsense"), True),
        (("RPUSH", KEY, "1"), True),
        (("SET", KEY, "-1e300"), True),
        (("SET", KEY, "nan"), True),
        (("SET", KEY, "1e300"), False),  # used up, and no more than that
        (("SET", KEY, "inf"), False),
    ],
)
async def test_a_foreign_value_locks_nobody_out(
    stores: list[SessionStore], redis_server: RedisServer, command: tuple[str, ...], passes: bool
) -> None:
    """Whatever an operator's slip left there, one interval is the longest that a client waits."""
    redis_server.cli(*command)
    wait = await stores[0].rates.take(HOURLY, "127.0.0.1")
    assert (0.0 if passes else 7200.0) == wait


async def test_it_says_when_it_does_not_know(stores: list[SessionStore], redis_server: RedisServer) -> None:
    """Without Redis there is no answer, rather than a wrong one."""
    redis_server.stop()
    with pytest.raises(StoreUnavailableError):
        await stores[0].rates.take(HOURLY, "127.0.0.1")


async def test_a_wait_that_was_given_up_leaves_no_answer_behind(redis_server: RedisServer) -> None:
    """Counts share a connection with the sessions' reads: what comes late is nobody else's answer."""
    settings = redis_settings(redis_server.url)
    store, metrics = SessionStore(settings, Metrics()), Metrics()
    clock = (1000.0 + 10 * turn for turn in count())  # each act is one after the pause
    limits = RateLimits(store.rates, timeout=0.05, metrics=metrics, clock=lambda: next(clock))
    with redis_server.client() as client:
        client.hset("bff:session:k", "sub", "alice")
    try:
        for _ in range(3):
            redis_server.pause()
            assert None is await limits.over(HOURLY, "x", address="127.0.0.1")
            async with background(store.load_all(["k", "k"])) as reading:
                redis_server.resume()
                assert [{"sub": "alice"}] * 2 == [each and each.fields for each in await reading]
        unchecked = metrics.registry.get_sample_value("bff_limits_unchecked_total", {"limit": "login"})
        assert 3 == unchecked
    finally:
        await store.aclose()


async def test_redis_may_have_forgotten_the_script(
    stores: list[SessionStore], redis_server: RedisServer
) -> None:
    """A restart or SCRIPT FLUSH costs the next act a second round trip, and counts it once."""
    for _ in range(2):
        redis_server.cli("SCRIPT", "FLUSH")
        assert 0.0 == await stores[0].rates.take(HOURLY, "127.0.0.1")
    with redis_server.client() as client:
        assert 14_390 < client.ttl(KEY) <= 14_400


async def test_counts_and_reads_share_a_round_trip(
    stores: list[SessionStore], redis_server: RedisServer
) -> None:
    """Each gets its own answer, an error included, whatever else is in the batch."""
    with redis_server.client() as client:
        client.hset("bff:session:k", "sub", "alice")
        client.set("bff:session:wrong", "no hash")
    store = stores[0]
    answers = await asyncio.gather(
        store.load("k"), store.rates.take(HOURLY, "a"), store.load("wrong"), store.load("none")
    )
    assert ({"sub": "alice"}, 0.0, {}, None) == tuple(answers)
