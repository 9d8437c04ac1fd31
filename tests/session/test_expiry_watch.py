"""Watched sessions: how many are read at a time, and what happens while Redis does not answer."""

import asyncio
from typing import cast

import pytest

from bff.errors import Problem, StoreUnavailableError
from bff.session.expiry_watch import ExpiryWatch
from bff.session.model import EndReason, Session
from bff.session.sessions import Found, NoSession, Sessions
from bff.tasks import Tasks
from tests.session.sample import NOW, sample_session

GONE = NoSession(Problem.SESSION_ENDED, EndReason.UNKNOWN)
MANY = 500


class Signed:
    """Every handle is signed by a server key that is still good."""

    def handle(self, value: bytes) -> str:
        return value.decode()


class Store:
    """What the watch asks of `Sessions`; `gate` is closed while Redis takes its time."""

    decrypted = Signed()

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.now = NOW
        self.gone = False
        self.away = False
        self.asked = 0
        self.under_way = 0
        self.most = 0

    async def open(self, handle: str) -> Found | NoSession:
        self.asked += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await self.gate.wait()
            if self.away:
                raise StoreUnavailableError("away")
            return GONE if self.gone else Found(handle, sample_session(key=handle))
        finally:
            self.under_way -= 1

    def idle_left(self, session: Session, now: float) -> float:
        return session.ends - now

    def time_is_up(self, _: Session) -> EndReason:
        return EndReason.MAX_LIFETIME


class Feed:
    """It names no session by itself; `told` are those that it is to tell of."""

    trusted = True

    def __init__(self) -> None:
        self.told: list[str] = []

    def follow(self, key: str, _: ExpiryWatch) -> None:
        self.told.append(key)

    def leave(self, key: str, _: ExpiryWatch) -> None:
        self.told.remove(key)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def tasks() -> Tasks:
    return Tasks()


@pytest.fixture
def feed() -> Feed:
    return Feed()


@pytest.fixture
def watch(store: Store, feed: Feed, tasks: Tasks) -> ExpiryWatch:
    sessions = cast("Sessions", store)
    return ExpiryWatch(sessions=sessions, feed=feed, tasks=tasks, clock=lambda: store.now)


@pytest.mark.requirement("S-02")
async def test_many_that_end_at_once(watch: ExpiryWatch, store: Store, feed: Feed, tasks: Tasks) -> None:
    """They are read a few at a time, each once more, and all are told; the feed tells of those alone."""
    store.gate.set()
    watched = [watch.join(Found(str(number), sample_session(key=str(number)))) for number in range(MANY)]
    assert [] == await tasks.drain(60)
    assert all(each.known for each in watched)
    store.gate.clear()
    store.gone, store.most = True, 0
    watch.changed(None)
    watch.changed(None)
    await asyncio.sleep(0)
    store.gate.set()
    assert [] == await tasks.drain(60)
    assert {GONE} == {each.over.result() for each in watched}
    again = watch.join(watched[0].found)  # it takes the place of one that is over
    assert sorted(map(str, range(MANY))) == sorted(feed.told)
    assert 1 < store.most <= 32
    assert 2 * MANY == store.asked
    for each in (*watched, again):
        watch.leave(each)
    assert 0 == len(watch) == len(feed.told)


@pytest.mark.requirement("B-21", "T-10")
async def test_redis_does_not_answer(watch: ExpiryWatch, store: Store, tasks: Tasks) -> None:
    """One wait is enough to know: sessions live on, and end by the clock at their absolute end."""
    store.gate.set()
    watched = [watch.join(Found(str(number), sample_session(key=str(number)))) for number in range(MANY)]
    assert [] == await tasks.drain(60)
    store.away, store.asked = True, 0
    watch.changed(None)
    assert [] == await tasks.drain(60)
    assert store.asked <= 32
    assert not any(each.over.done() or each.known for each in watched)
    store.now = NOW + 3600
    watch.changed(None)
    assert [] == await tasks.drain(60)
    assert {NoSession(Problem.SESSION_EXPIRED, EndReason.MAX_LIFETIME)} == {
        each.over.result() for each in watched
    }
    for each in watched:
        watch.leave(each)


async def test_a_change_while_it_is_read(watch: ExpiryWatch, store: Store, tasks: Tasks) -> None:
    """It is read again: what was on its way may be older than the change."""
    watched = watch.join(Found("one", sample_session(key="one")))
    told: list[None] = []
    watched.followers["me"] = lambda: told.append(None)
    await asyncio.sleep(0)
    watch.changed("one")
    watch.changed("another")
    store.gate.set()
    assert [] == await tasks.drain(60)
    assert 2 == store.asked == len(told)
    watch.leave(watched)
