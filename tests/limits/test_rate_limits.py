"""The limits that all processes share, where Redis answers as a test wants it."""

import asyncio
import time
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from bff.errors import StoreUnavailableError
from bff.limits.rate_limits import PAUSE, RateLimits
from bff.observe.metrics import Metrics
from bff.policy.quota import Limited, Quota
from bff.session.rate_counts import RateCounts

pytestmark = pytest.mark.requirement("S-08")
LIMIT = Quota("session:/api", 10, 60.0)
WALLED = Quota("login", 2, 60.0, wall=True)


class Counts:
    """Redis' side: answers, fails, or says nothing."""

    def __init__(self) -> None:
        self.wait = 0.0
        self.fails = self.silent = False
        self.asked: list[str] = []
        self.meanwhile = 0.0  # seconds for which the loop is busy with something else

    async def take(self, quota: Quota, who: str) -> float:
        self.asked.append(f"{quota.name} {who}")
        if self.meanwhile:
            loop = asyncio.get_running_loop()
            answered = loop.create_future()
            loop.call_soon(time.sleep, self.meanwhile)
            loop.call_soon(loop.call_soon, answered.set_result, None)
            await answered
        if self.silent:
            await asyncio.Event().wait()
        if self.fails:
            raise StoreUnavailableError("Redis: ConnectionError")
        return self.wait


class Harness:
    def __init__(self) -> None:
        self.counts, self.metrics, self.now = Counts(), Metrics(), 1000.0
        self.limits = RateLimits(
            cast("RateCounts", self.counts), timeout=0.01, metrics=self.metrics, clock=lambda: self.now
        )

    async def over(self, quota: Quota = LIMIT, who: str = "alice") -> Limited | None:
        return await self.limits.over(quota, who, address="127.0.0.1")

    def counted(self, name: str, limit: str = LIMIT.name) -> float:
        value = self.metrics.registry.get_sample_value(name, {"limit": limit})
        return value or 0.0


@pytest.fixture(name="harness")
def _harness() -> Harness:
    return Harness()


async def test_a_refusal_is_counted_and_remembered(harness: Harness) -> None:
    """Redis says when; until then, for a second at most, nobody asks it again about this client."""
    harness.counts.wait = 30.0
    assert Limited(LIMIT, 30.0) == await harness.over()
    harness.now += 0.5
    assert Limited(LIMIT, 29.5) == await harness.over()
    assert 1 == len(harness.counts.asked)
    harness.now += 0.5
    harness.counts.wait = 0.0
    assert None is await harness.over()
    assert ["session:/api alice"] * 2 == harness.counts.asked
    assert 2 == harness.counted("bff_rate_limited_total")
    assert None is await harness.over(who="bob")


@pytest.mark.requirement("P-01")
async def test_each_frontend_counts_by_itself(harness: Harness) -> None:
    """The same address or session at another frontend is somebody else, with Redis and without."""
    parts: dict[str, Any] = {"timeout": 0.01, "metrics": harness.metrics, "clock": lambda: harness.now}
    shop = RateLimits(cast("RateCounts", harness.counts), frontend="shop", **parts)
    for _ in range(2):
        assert await harness.over(WALLED) is None
        assert await shop.over(WALLED, "alice", address="127.0.0.1") is None
    assert ["login alice", "login shop/alice"] * 2 == harness.counts.asked
    assert None not in {await harness.over(WALLED), await shop.over(WALLED, "alice", address="127.0.0.1")}


async def test_a_flood_is_few_audit_events(harness: Harness) -> None:
    """One for each client and limit within ten seconds; each refusal is in the metric."""
    harness.counts.wait = 60.0
    with capture_logs() as lines:
        for _ in range(5):
            await harness.over()
        await harness.over(who="bob")
        harness.now += 10
        await harness.over()
    events = [(line["event"], line["reason"], line["address"]) for line in lines]
    assert [("rate_limited", "session:/api", "127.0.0.1")] * 3 == events
    assert 7 == harness.counted("bff_rate_limited_total")


@pytest.mark.parametrize("how", ["fails", "silent"])
async def test_a_limit_fails_open(harness: Harness, how: str) -> None:
    """Redis away or hung: acts go on, counted, after one wait for all; the log says so once."""
    setattr(harness.counts, how, True)
    with capture_logs() as lines:
        assert [None] * 20 == [await harness.over() for _ in range(20)]
        assert 1 == len(harness.counts.asked)
        assert 20 == harness.counted("bff_limits_unchecked_total")
        harness.now += PAUSE
        assert [None] * 20 == list(await asyncio.gather(*(harness.over() for _ in range(20))))
        assert 2 == len(harness.counts.asked)  # one tries for all
        setattr(harness.counts, how, False)
        harness.now += PAUSE
        assert [None] * 3 == [await harness.over() for _ in range(3)]
        assert 5 == len(harness.counts.asked)
    assert ["limits_not_shared", "limits_shared_again"] == [line["event"] for line in lines]
    assert 40 == harness.counted("bff_limits_unchecked_total")


async def test_a_process_that_is_late_itself_still_asks(harness: Harness) -> None:
    """Redis' answer was there when a busy loop looked at it, long after its time: it counts."""
    harness.counts.meanwhile, harness.counts.wait = 0.1, 30.0
    assert Limited(LIMIT, 30.0) == await harness.over()
    assert 0 == harness.counted("bff_limits_unchecked_total")


async def test_a_process_holds_its_own_limit_meanwhile(harness: Harness) -> None:
    """Sign-ins and rotations stay limited within each process, and a flood of them asks Redis nothing."""
    harness.counts.fails = True
    assert [None, None] == [await harness.over(WALLED) for _ in range(2)]
    assert Limited(WALLED, 30.0) == await harness.over(WALLED)
    assert 1 == len(harness.counts.asked)
    assert 1 == harness.counted("bff_rate_limited_total", "login")
    assert 2 == harness.counted("bff_limits_unchecked_total", "login")


async def test_what_is_remembered_is_bounded(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many refused clients the first ones are forgotten, and Redis is asked about them again."""
    monkeypatch.setattr("bff.limits.rate_limits._MOST_REFUSED", 3)
    harness.counts.wait = 30.0
    for who in ("a", "b", "c", "d", "a"):
        assert Limited(LIMIT, 30.0) == await harness.over(who=who)
    assert 5 == len(harness.counts.asked)
    assert Limited(LIMIT, 30.0) == await harness.over(who="d")
    assert 5 == len(harness.counts.asked)
