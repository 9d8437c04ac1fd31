"""The sessions of one process with feed and near cache, whose events a test puts in order."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

from bff.crypto import Keyring
from bff.errors import StoreUnavailableError
from bff.observe.metrics import Metrics
from bff.session.batches import Told
from bff.session.cached_session import CachedSession
from bff.session.hash_read import Loaded, LoadedValues
from bff.session.invalidation_feed import InvalidationFeed, steady_now
from bff.session.lifetime import milliseconds
from bff.session.model import Session
from bff.session.near_cache import NearCache
from bff.session.session_builder import Identity
from bff.session.session_cookie import SessionCookie
from bff.session.sessions import Found, NoSession, Sessions
from bff.session.store import SessionStore
from bff.session.use_writes import Use, Written
from bff.settings.model import RedisSettings, ServerSettings, SessionSettings
from bff.tasks import Tasks
from tests.session.sample import NOW, sample_tokens
from tests.support.network.relay import Relay
from tests.support.processes.redis import RedisServer
from tests.support.settings import redis_settings
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
        self.tasks = Tasks()

    async def _load(self, key: str, *, timed: bool = False, noted: bool = False) -> Loaded | None:
        loaded = await super()._load(key, timed=timed, noted=noted)
        self.loads += 1
        self.read.set()
        await self.gate.wait()
        return loaded

    def ask(self, key: str, then: Told[LoadedValues], *, timed: bool) -> None:
        async def wait(loaded: LoadedValues | Exception) -> None:
            await self.gate.wait()
            then(loaded)

        def answered(loaded: LoadedValues | Exception) -> None:
            self.loads += 1
            self.read.set()
            if self.gate.is_set():
                then(loaded)
            else:
                self.tasks.spawn(wait(loaded), name="held")

        super().ask(key, answered, timed=timed)

    def after_note(self, do: Callable[[], Awaitable[None]]) -> None:
        """Has something done between each note of use, which is written, and the word of it."""
        write = self.uses.write

        def written(use: Use, then: Written, *, at_once: bool = False) -> None:
            async def tell(outcome: bool | StoreUnavailableError) -> None:
                await do()
                then(outcome)

            write(use, lambda outcome: _spawned(self.tasks, tell(outcome)), at_once=at_once)

        self.uses.write = written  # type: ignore[method-assign] # of this store alone


class Site:
    """Sessions of one process, with feed and cache.

    The feed goes through the relay, or by `feed_url`; all else directly, or by `url`. The near cache has so
    many bytes of `memory`.
    """

    def __init__(
        self,
        redis: RedisServer,
        relay: Relay,
        keys: list[str],
        *,
        url: str | None = None,
        feed_url: str | None = None,
        memory: int = 1024**2,
        **settings: float,
    ) -> None:
        self.redis = redis
        self.relay = relay
        self.now = NOW
        self.steps = 0.0  # of the steady clock
        self.metrics = Metrics()
        direct = redis_settings(url or redis.url)
        relayed = redis_settings(feed_url or f"redis://127.0.0.1:{relay.port}/0")
        self.store = GatedStore(direct, self.metrics)
        self.changes = InvalidationFeed(relayed, prefix=self.store.watched, notes=self.store.watched_notes)
        self.cache = NearCache(
            memory=memory,
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
        await until(lambda: self.near(found) is not None)  # the word of Redis may be late
        return found

    def near(self, found: Found) -> Found | None:
        return self.sessions.cached(cookie(found))

    async def told(self) -> None:
        """Waits until all that has changed so far was told: pushes come in order, this one last."""
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


async def read(sessions: Sessions, found: Found) -> CachedSession | None:
    """What a caller without a task reads."""
    reader = sessions.reader(cookie(found)[0])
    assert reader is not None
    answer: asyncio.Future[CachedSession | None] = asyncio.get_running_loop().create_future()
    reader(answer.set_result)
    return await answer


async def noted(store: SessionStore, session: Session, seen: str, *, now: float, idle_timeout: float) -> bool:
    """Notes a use as the store does it; returns if the session was there."""
    answer: asyncio.Future[bool | StoreUnavailableError] = asyncio.get_running_loop().create_future()
    use = Use(session.key, session.sub, seen.encode(), round(now * 1000), milliseconds(idle_timeout))
    store.uses.write(use, answer.set_result)
    outcome = await answer
    if isinstance(outcome, StoreUnavailableError):
        raise outcome
    return outcome


def _spawned(tasks: Tasks, work: Coroutine[Any, Any, None]) -> None:
    tasks.spawn(work, name="after a note")


def cookie(found: Found) -> list[bytes]:
    return [f"bff={found.handle}".encode()]


class Mark:
    heard = False

    def changed(self, key: str | None) -> None:
        self.heard = self.heard or key == "mark"
