"""Notes of use without a task: what others do meanwhile, lost answers, a crowd of them, and a stop."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import pytest
from structlog.testing import capture_logs

from bff.credentials.session_credentials import Credentials
from bff.errors import StoreUnavailableError
from bff.session.cached_session import CachedSession
from bff.session.model import EndReason, OwnToken, Refreshing
from bff.session.record import format_device
from bff.session.sessions import Found, NoSession
from bff.session.use_writes import Use
from bff.settings.model import RefreshSettings
from tests.contract.cached import ALICE, Site, cookie
from tests.contract.test_slides import LATER, due
from tests.session.sample import NOW, sample_tokens
from tests.support.network.relay import TRACKING, Relay, relay_to
from tests.support.processes.redis import ON_BOTH_SERVERS
from tests.support.settings import redis_settings
from tests.support.tasks import background
from tests.support.wait import until

pytestmark = pytest.mark.requirement("B-22")

MANY = 1000


def name(found: Found) -> str:
    return f"bff:session:{found.session.key}"


def cached(site: Site, found: Found) -> CachedSession:
    packed = site.sessions.near(cookie(found)[0])
    assert packed is not None
    return packed


def seen_in_redis(site: Site, found: Found) -> float:
    return float(site.redis.cli("HGET", name(found), "seen").partition(".")[0] or 0)


async def delete(site: Site, found: Found) -> None:
    site.delete(found)


async def end(site: Site, found: Found) -> None:
    await site.store.end(found.session, EndReason.LOGOUT)


async def note_the_end(site: Site, found: Found) -> None:
    """The first half of an end; the record stands beside it, as one that was put back does."""
    await site.store.endings.note(found.session.key, EndReason.LOGOUT, version=None, kept=60)


async def save(site: Site, found: Found) -> None:
    newer = site.sessions.prepare(found, sample_tokens(access_token="new"), claims=None)
    await site.store.replace(newer.session, newer.record, expected_version=1, now=LATER, idle_timeout=1800)


async def mark(site: Site, found: Found) -> None:
    await site.store.mark_refreshing(found.session.key, Refreshing(NOW, "1"), expected_version=1)


async def exchange(site: Site, found: Found) -> None:
    other = {"orders": OwnToken("own", NOW, None)}
    await site.store.keep_exchanged(replace(found.session, exchanged={}), f"sealed {other}")


async def bind(site: Site, found: Found) -> None:
    key = found.session.key
    await site.store.bind(key, format_device(key, "public", site.sessions._keyring))


async def bind_by_hand(site: Site, found: Found) -> None:
    site.redis.cli("HSET", name(found), "device", "somebody's")


async def rename(site: Site, found: Found) -> None:
    site.redis.cli("HSET", name(found), "sub", "mallory")


async def use_by_hand(site: Site, found: Found) -> None:
    site.redis.cli("HSET", name(found), "seen", "1900000000")


async def replace_by_text(site: Site, found: Found) -> None:
    site.redis.cli("SET", name(found), "no hash")


TOLD = [
    delete,
    end,
    note_the_end,
    save,
    mark,
    exchange,
    bind,
    bind_by_hand,
    rename,
    use_by_hand,
    replace_by_text,
]
Change = Callable[[Site, Found], Awaitable[None]]


async def whole(site: Site, found: Found) -> Found:
    opened = await site.sessions.open(found.handle)
    assert isinstance(opened, Found)
    return opened


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("change", TOLD)
async def test_changed_between_note_and_put_back(site: Site, change: Change, *, told: bool) -> None:
    """By somebody else, whether the feed tells of it or not: what was kept does not come back."""
    found = await due(site)
    complete = await whole(site, found)
    if not told:
        site.relay.silence(TRACKING)

    async def meanwhile() -> None:
        await change(site, complete)
        if told:
            await site.told()

    site.store.after_note(meanwhile)
    await site.sessions.slide(found)
    assert site.near(found) is None
    assert {} == site.cache._readings
    assert set() == site.sessions._uses.under_way


@pytest.mark.parametrize("change", TOLD)
async def test_changed_while_it_is_read_again(site: Site, change: Change) -> None:
    """After Redis' answer, before its arrival: the word of the feed keeps it out."""
    found = await due(site)
    complete = await whole(site, found)
    site.store.read.clear()
    site.store.gate.clear()
    async with background(site.sessions.slide(found)) as sliding:
        await site.store.read.wait()
        await change(site, complete)
        await site.told()
        site.store.gate.set()
        await sliding
    assert site.near(found) is None
    assert {} == site.cache._readings


@asynccontextmanager
async def on_a_wire(site: Site, **settings: Any) -> AsyncIterator[Relay]:
    """The batches of the site's store go through a relay."""
    async with relay_to(site.redis.port) as wire:
        batches: Any = site.store._loads
        batches._settings = redis_settings(f"redis://127.0.0.1:{wire.port}/0", **settings)
        batches.renew()
        await site.sessions.slide(await due(site))  # the server knows the script
        site.now = NOW
        yield wire
        await site.store.aclose()


async def test_an_answer_that_is_lost_with_its_connection(site: Site) -> None:
    """The note is sent once more, which changes nothing, and the session stays in memory."""
    async with on_a_wire(site) as wire:
        found = await due(site)
        wire.hold_answers()
        async with background(site.sessions.slide(found)) as sliding:
            await until(lambda: seen_in_redis(site, found) == LATER)
            wire.cut()
            await sliding
        near = site.near(found)
        assert near is not None
        assert LATER == near.session.seen


async def test_an_answer_that_never_comes(site: Site) -> None:
    """A note that was done, for all that is known: the session is read anew, and has not ended by it."""
    async with on_a_wire(site, timeout=0.5) as wire:
        found = await due(site)
        wire.hold_answers()
        with pytest.raises(StoreUnavailableError):
            await site.sessions.slide(found)
        assert site.near(found) is None
        assert LATER == seen_in_redis(site, found)
        assert set() == site.sessions._uses.under_way
        wire.resume()
        again = await site.sessions.find(cookie(found))
        assert isinstance(again, Found)
        assert LATER == again.session.seen


def credentials_of(site: Site) -> Credentials:
    refresher: Any = None
    return Credentials(
        sessions=site.sessions,
        refresher=refresher,
        refresh_settings=RefreshSettings(),
        clock=lambda: site.now,
    )


@ON_BOTH_SERVERS
async def test_a_call_notes_its_use_without_a_task(site: Site) -> None:
    """The call goes out at once; of further ones meanwhile none notes it again."""
    found = await due(site)
    packed = cached(site, found)
    credentials = credentials_of(site)
    before = asyncio.all_tasks()
    with site.redis.client() as client:
        client.config_resetstat()
        assert [packed] * 50 == [credentials.quiet(packed) for _ in range(50)]
        assert before == asyncio.all_tasks() | before
        await until(lambda: not site.sessions._uses.under_way)
        assert 1 == client.info("commandstats")["cmdstat_hset"]["calls"]
    near = site.near(found)
    assert near is not None
    assert (LATER, False) == (near.session.seen, site.sessions.slide_due(near.session))


async def test_a_note_that_fails_beside_a_call(site: Site) -> None:
    """The log says so once; the call has long gone out."""
    found = await due(site)
    packed = cached(site, found)
    site.redis.stop()
    with capture_logs() as lines:
        assert packed is credentials_of(site).quiet(packed)
        await until(lambda: not site.sessions._uses.under_way)
    assert [found.session.id] == [line["session"] for line in lines if line["event"] == "slide_failed"]
    assert 0 == len(site.cache)


@pytest.mark.parametrize("refused", [True, False])
async def test_a_note_that_fails_is_a_failure_of_redis(site: Site, *, refused: bool) -> None:
    """It is counted and told of as such, and the session, if it lives, is noted by its next call."""
    found = await due(site)
    packed = cached(site, found)
    site.store.failures = failures = Mock()
    errors = site.metrics._store_errors._value
    before = errors.get()
    if refused:
        site.redis.cli("CONFIG", "SET", "maxmemory", "1")
    else:
        site.redis.stop()
    assert packed is credentials_of(site).quiet(packed)
    await until(lambda: not site.sessions._uses.under_way)
    assert (1, before + 1) == (failures.tell.call_count, errors.get())
    if refused:
        site.redis.cli("CONFIG", "SET", "maxmemory", "0")
        assert packed is credentials_of(site).quiet(packed)
        await until(lambda: not site.sessions._uses.under_way)
        assert LATER == seen_in_redis(site, found)


@pytest.mark.requirement("T-04")
async def test_a_session_that_is_gone(site: Site) -> None:
    """Its note makes nothing in Redis, neither record nor mark, and fails for nobody."""
    found = await due(site)
    packed = cached(site, found)
    site.relay.silence(TRACKING)
    with site.redis.client() as client:
        client.delete(name(found), site.store.endings.mark(found.session.key))
        before = set(client.scan_iter("*"))
        assert packed is credentials_of(site).quiet(packed)
        await until(lambda: not site.sessions._uses.under_way)
        assert before == set(client.scan_iter("*"))
    assert site.near(found) is None


async def crowd(site: Site, number: int = MANY, *, beside: int = 0) -> list[Found]:
    """Many sessions in the cache, all of which are to be noted; so many others are `beside` them."""
    sessions = site.sessions
    started = [
        await sessions.start(replace(ALICE, sub=f"u{at}"), sample_tokens(), user_agent="", address="")
        for at in range(number)
    ]
    await site.told()
    await asyncio.gather(*(sessions.find(cookie(found)) for found in started))
    await until(lambda: len(site.cache) == number + beside)
    site.now = LATER
    return started


async def test_a_thousand_at_once(site: Site) -> None:
    """All stay in memory but those that are deleted meanwhile, and none is noted twice."""
    started = await crowd(site)
    deleted, kept = started[::10], [found for at, found in enumerate(started) if at % 10]
    credentials = credentials_of(site)
    with site.redis.client() as client:
        client.config_resetstat()
        for packed in [cached(site, found) for found in started] * 2:
            assert credentials.quiet(packed) is packed
        assert MANY == len(site.sessions._uses.under_way)
        await asyncio.sleep(0)
        client.delete(*map(name, deleted))
        await until(lambda: not site.sessions._uses.under_way)
        assert MANY - len(deleted) <= client.info("commandstats")["cmdstat_hset"]["calls"] <= MANY
    await site.told()
    assert {None} == {site.near(found) for found in deleted}
    assert {LATER} == {near.session.seen for found in kept if (near := site.near(found)) is not None}
    assert len(kept) == len(site.cache)
    assert {} == site.cache._readings


@pytest.mark.parametrize("where", ["mark", "callback"])
async def test_a_mistake_in_telling_of_one_note(
    site: Site, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """It is reported; the other notes of the same turn are over, and so is a stop at once."""
    started = await crowd(site, 10)
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, report: reported.append(report["exception"]))
    uses, broken = site.sessions._uses, started[3].session.key
    at, attribute = (site.store.endings, "marking") if where == "mark" else (uses, "_written")
    working: Callable[..., Any] = getattr(at, attribute)
    mistake = KeyError("a mistake")

    def mistaken(whose: Any, *more: Any) -> Any:
        if broken in (whose, getattr(whose, "use", Use("", "", b"", 0, 0)).key):
            raise mistake
        return working(whose, *more)

    monkeypatch.setattr(at, attribute, mistaken)
    credentials = credentials_of(site)
    for packed in [cached(site, found) for found in started]:
        credentials.quiet(packed)
    left = {broken} if where == "callback" else set()
    await until(lambda: left == uses.under_way)
    await until(lambda: not site.store.uses._under_way)
    assert [mistake] == reported
    assert [LATER] * 10 == [seen_in_redis(site, found) for found in started]


@pytest.mark.parametrize("beginning", [True, False])
async def test_a_stop_with_notes_under_way(site: Site, *, beginning: bool) -> None:
    """The store closes once they are written; no session is lost by it, and no task is left."""
    started = await crowd(site)
    packed = [cached(site, found) for found in started]
    before = asyncio.all_tasks()
    credentials = credentials_of(site)
    with capture_logs() as lines:
        for one in packed:
            credentials.quiet(one)
        if not beginning:
            await asyncio.sleep(0)
        await site.changes.aclose()
        await site.store.aclose()
    assert [] == [line for line in lines if line["event"] == "slide_failed"]
    assert (set(), {}) == (site.sessions._uses.under_way, site.cache._readings)
    assert asyncio.all_tasks() <= before
    with site.redis.client(decode_responses=True) as client:
        pipe = client.pipeline()
        for found in started:
            pipe.hget(name(found), "seen")
        assert {f"{LATER:.0f}"} == {seen.partition(".")[0] for seen in pipe.execute()}


async def test_a_stop_while_redis_says_nothing(site: Site) -> None:
    """It takes no longer than any wait for Redis; the note has failed, and is over."""
    async with on_a_wire(site, timeout=0.5) as wire:
        found = await due(site)
        packed = cached(site, found)
        wire.hold_answers()
        assert packed is credentials_of(site).quiet(packed)
        await site.changes.aclose()
        with capture_logs() as lines:
            await site.store.aclose()
        assert ["slide_failed"] == [line["event"] for line in lines if line["event"] == "slide_failed"]
        assert (set(), {}) == (site.sessions._uses.under_way, site.cache._readings)
        wire.resume()
    assert not isinstance(found.session, NoSession)
