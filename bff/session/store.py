"""The sessions' Redis: the only place that knows its keys, and that writes.

    <prefix>:session:<key>                hash, TTL = idle timeout
    <prefix>:user:<provider>:<sub>        sorted set of session keys, score = `ends`
    <prefix>:sid:<provider>:<sid>         set of session keys
    <prefix>:jti:<…>                      replay guards, and their like (`one_time_values.py`)
    <prefix>:lock:<key>                   who is rotating its tokens (`redis_locks.py`)
    <prefix>:client:<name>                a token in the proxy's own name (`client_token_store.py`)
    <prefix>:ended:<key>, until:<…>       why a session ended, and whose it was (`end_reasons.py`)
    <prefix>:auditor                      who tells of endings that nobody else tells of (`end_reasons.py`)
    <prefix>:starting:<key>               its first write is under way (`session_index.py`)
    <prefix>:rate:<limit>:<who>           how much a client has used of a limit (`rate_counts.py`)

Rule 1: no write but `create` makes a session exist, and `create` never overwrites one.
Rule 2: every update is a compare-and-set on `version` in one script on one key.
Rule 3: each write is sealed for itself alone (a nonce of its own); after a lost answer the record is
read, once, and finding it there means that the write was done. No write is resent by the client library. A
note of use (`use_writes.py`) may be done twice: the second time it changes nothing.
Rule 4: indexes are written before the session, and may outlive it; their TTLs only grow. Sign-ins clean them.
Rule 5: every key has a TTL, and no command here takes longer than O(log n).
Rule 6: an index that somebody replaced by something else is made anew: it never stands in a sign-in's way.
Rule 7: whatever redis-py raises leaves here as `StoreUnavailableError`.
Reads go by `batch_reader.py`, which joins them, and of the indexes by `session_index.py`;
`invalidation_feed.py` tells of writes; both have connections of their own by `redis_connection.py`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from enum import Enum
from functools import partial

from redis.exceptions import ReadOnlyError, RedisError

from bff.crypto import packed_seal
from bff.errors import StoreUnavailableError
from bff.observe.logs import audit
from bff.observe.metrics import Metrics
from bff.session import lua_scripts
from bff.session.batches import Told
from bff.session.cluster.topology import Topology
from bff.session.end_reasons import Endings
from bff.session.hash_read import Loaded, LoadedValues, SessionReads, WrongTypeError, unavailable
from bff.session.inventory import Inventory
from bff.session.keyed_script import KeyedScript
from bff.session.lifetime import ends_by, milliseconds, record_ttl
from bff.session.model import EndReason, Fence, Refreshing, Session
from bff.session.one_time_values import OneTimeValues
from bff.session.rate_counts import RateCounts
from bff.session.record import Record, format_marker
from bff.session.redis_clients import connected
from bff.session.redis_condition import Readiness, eviction_policy, tried
from bff.session.redis_errors import is_full
from bff.session.redis_failure_log import FailureLog
from bff.session.redis_locks import RedisLocks
from bff.session.replication import Replication
from bff.session.sealed_tokens import SealedTokens
from bff.session.session_index import SAMPLE, SessionIndex, Whose
from bff.session.use_writes import UseWrites
from bff.settings.model import RedisSettings

Arguments = list[str | bytes | int | float]

_NOTABLE = 1000  # milliseconds by which a save has to move a session's end for that to be noted
_AT_TIMES = frozenset({"refreshing", "exchanged"})


class Write(Enum):
    """The outcome of a write."""

    REPLACED = "replaced"  # done, now or by an earlier attempt with the same id
    STALE = "stale"  # the record has a newer version: somebody else was first
    GONE = "gone"  # there is no such session; none was made


class SessionStore:
    """Sessions in Redis. Every method raises `StoreUnavailableError` when Redis fails."""

    def __init__(self, settings: RedisSettings, metrics: Metrics) -> None:
        self._metrics = metrics
        self.failures: FailureLog | None = None  # a command tells of them itself
        self._prefix, self._patience = settings.prefix, settings.timeout
        self.topology = Topology.of(settings)
        took = partial(metrics.store_calls.took, "batch")
        self._redis, self._loads, self.renewal = connected(settings, self.topology, took)
        self.endings = Endings(self._redis, settings.prefix, self._translated)
        self.index = SessionIndex(self._redis, settings.prefix, self._translated)
        self._reads = SessionReads(settings.prefix)
        self._replication = Replication(self._redis, settings)
        self.rates = RateCounts(self._loads, settings.prefix, self._translated)
        self.inventory = Inventory(self._redis, settings.prefix, self._translated)
        self.one_time = OneTimeValues(self._redis, settings.prefix, self._translated)
        self.locks = RedisLocks(self._redis, settings.prefix, self._translated)
        self.client_tokens = SealedTokens(self._redis, f"{settings.prefix}:client:", self._translated)
        register = partial(KeyedScript, self._redis)
        self._create, self._replace = register(lua_scripts.CREATE), register(lua_scripts.REPLACE)
        self._mark, self._exchanged = register(lua_scripts.MARK), register(lua_scripts.EXCHANGED)
        self._bind = register(lua_scripts.BIND)
        self.uses = UseWrites(self._loads, settings.prefix, self.endings, self._failed, self._refused)

    async def aclose(self) -> None:
        """Closes the connections, once the notes of use that are under way are done, or take too long."""
        await self.uses.settled(self._patience)
        await self._loads.aclose()
        await self._redis.aclose()

    @property
    def watched(self) -> str:
        """The beginning of the sessions' names in Redis; the session's key follows."""
        return self._session("")

    @property
    def watched_notes(self) -> str:
        """The beginning of the names of the notes of their ends, likewise."""
        return self.endings.name("")

    # Reading

    async def load(self, key: str) -> Record | None:
        """The record as it stands, or None."""
        loaded = await self._load(key)
        return None if loaded is None else loaded.fields

    async def load_noted(self, key: str, *, timed: bool = False) -> Loaded | None:
        """The record as it stands, with the note of its end, in one round trip; or None.

        If `timed` also how long it will stand, if it is not written before.
        """
        return await self._load(key, timed=timed, noted=True)

    async def load_all(self, keys: Sequence[str]) -> list[Loaded | None]:
        """The records of these keys with the notes of their ends, in few round trips; None where none is."""
        return list(await asyncio.gather(*(self.load_noted(key) for key in keys)))

    def ask(self, key: str, then: Told[LoadedValues], *, timed: bool) -> None:
        """Reads as `load_noted`, for callers that do not await; a failure is `load_noted`'s to tell."""
        self._loads.read(key, self._reads, then, timed=timed)

    async def _load(self, key: str, *, timed: bool = False, noted: bool = False) -> Loaded | None:
        note = self.endings.name(key).encode() if noted else None
        try:
            loaded = await self._loads.load(self._session(key).encode(), timed=timed, note=note)
        except WrongTypeError:
            return Loaded({}, None)  # somebody put something else there: a record that does not open
        except StoreUnavailableError as failure:
            self._failed(failure.__cause__)
            raise
        return loaded if loaded.fields else None

    # Writing

    async def create(
        self,
        session: Session,
        record: Record,
        *,
        now: float,
        idle_timeout: float,
    ) -> Write:
        """Writes a new session, indexes first. What is sealed for one write is sealed for it alone.

        Then it cleans those indexes; if that fails the next sign-in does it.
        """
        lifetime = milliseconds(session.ends - now)
        ttl = record_ttl(session.ends, now, idle_timeout)
        await self.index.begin(session.key)
        sample = await self.index.add(session, now, lifetime, sample=SAMPLE)
        async with self._translated():
            await self._lives(session, ttl, now)
            args: Arguments = [ttl, packed_seal(record["tokens"]), *_flat(record)]
            written = Write(await self._create(keys=[self._session(session.key)], args=args))
        with suppress(StoreUnavailableError):
            await self.index.clean(session, sample)
        return written

    async def replace(
        self,
        session: Session,
        record: Record,
        *,
        expected_version: int,
        now: float,
        idle_timeout: float,
    ) -> Write:
        """Compare-and-set: writes the record if `version` is the expected one.

        It is no use of the session: its TTL is the rest of the idle time, `ends` at most; where only
        the former `ends` had cut it short, it becomes longer. If the answer is lost the
        record is read once, and `StoreUnavailableError` means that the write may still be under way:
        repeat it with the same record.
        """
        lifetime = milliseconds(session.ends - now)
        try:
            await self.index.add(session, now, lifetime)
            async with self._translated():
                times = [lifetime, round(now * 1000), milliseconds(idle_timeout)]
                fields = {name: value for name, value in record.items() if name != "seen"}
                args: Arguments = [expected_version, packed_seal(record["tokens"]), *times, *_flat(fields)]
                outcome = await self._replace(keys=[self._session(session.key)], args=args)
        except StoreUnavailableError:
            current = await self.load(session.key)
            if current is not None and current.get("tokens") == record["tokens"]:
                return Write.REPLACED
            raise
        if not isinstance(outcome, list):
            return Write(outcome)
        before, left = outcome
        if abs(before - left) > _NOTABLE:
            await self._lives(session, left, now, again=True)
        return Write.REPLACED

    async def mark_refreshing(
        self,
        key: str,
        marker: Refreshing | None,
        *,
        expected_version: int,
        expected: Refreshing | None = None,
    ) -> Write:
        """Sets or clears the marker, if `version` is the expected one, and the present marker, if given."""
        async with self._translated():
            args: Arguments = [expected_version, format_marker(marker)]
            if expected is not None:
                args.append(format_marker(expected))
            return Write(await self._mark(keys=[self._session(key)], args=args))

    async def keep_exchanged(self, session: Session, sealed: str) -> Write:
        """Writes the tokens for single backends, if they and `version` still are the session's."""
        async with self._translated():
            args: Arguments = [session.version, packed_seal(sealed), packed_seal(session.exchanged_seal)]
            return Write(await self._exchanged(keys=[self._session(session.key)], args=args))

    async def bind(self, key: str, device: str) -> Write:
        """Writes the device that a session is bound to; `STALE` where it is bound to another one."""
        async with self._translated():
            return Write(await self._bind(keys=[self._session(key)], args=[device]))

    async def _lives(self, session: Session, ttl: int, now: float, *, again: bool = False) -> None:
        """Notes how long the session has."""
        by = ends_by(session.ends, ttl, now)
        await self.endings.lives_until(session.key, ttl, by, session.sub, again=again)

    async def end(
        self, session: Session, reason: EndReason, *, fence: Fence = None, kept: float = 0.0
    ) -> bool:
        """Deletes a session, the reason first; an earlier one stays. True if this call deleted it.

        With a `fence` it does so only while that is still the session's. `kept` is the idle timeout.
        After `StoreUnavailableError` it may have ended, or not; once its reason was written it has for every
        process, though its record may stand. It may be repeated.
        """
        if fence is not None:
            return await self._end_fenced(session, reason, fence, kept=kept)
        whose = (session.provider, session.sub, session.sid)
        return session.key in await self.end_many({session.key: whose}, reason, kept=kept)

    async def end_many(
        self, sessions: Mapping[str, Whose], reason: EndReason, *, kept: float = 0.0
    ) -> set[str]:
        """Ends sessions by their keys, in four round trips for all; returns those that this call deleted.

        Where Redis is full they end first, and their reason is noted if there is room then.
        Each command is on one key. After `StoreUnavailableError` some may have ended; it may be repeated.
        """
        note = partial(self.endings.note_all, sessions, reason, kept=kept)
        full = await _is_too_full(note)
        async with self._translated():
            pipe = self._redis.pipeline(transaction=False)
            for key in sessions:
                pipe.delete(self._session(key))
            deleted, replicated = await self._replication.run(pipe)
        ended = {key for key, count in zip(sessions, deleted, strict=True) if count}
        if not replicated:
            _tell_of_unreplicated(ended, reason)
        if full:
            await _is_too_full(note)
        await self._clear_up(sessions, ended)
        return ended

    async def _clear_up(self, sessions: Mapping[str, Whose], ended: Collection[str]) -> None:
        """Removes the remains of sessions that have ended. After a failure others tell of their end."""
        await self.index.leave(sessions)
        await self.endings.unmark(ended)  # last: until then others may tell of them

    async def _end_fenced(self, session: Session, reason: EndReason, fence: Fence, *, kept: float) -> bool:
        key = session.key
        noted = False

        async def note() -> None:
            nonlocal noted
            noted = await self.endings.note(key, reason, version=session.version, kept=kept)

        full = await _is_too_full(note)
        async with self._translated():
            pipe = self._redis.pipeline(transaction=False)
            exchanged = [packed_seal(session.exchanged_seal)] if fence == "all tokens" else []
            pipe.eval(lua_scripts.DELETE, 1, self._session(key), str(session.version), *exchanged)
            (deleted,), replicated = await self._replication.run(pipe)
            if not deleted and await self._redis.exists(self._session(key)):
                if noted:
                    await self.endings.forget(key, reason, version=session.version)
                return False
        if deleted and not replicated:
            _tell_of_unreplicated([key], reason)
        if full:
            await _is_too_full(note)
        whose = {key: (session.provider, session.sub, session.sid)}
        await self._clear_up(whose, [key] if deleted else [])
        return bool(deleted == 1)

    async def readiness(self) -> Readiness:
        """Tries a write, and asks for the eviction policy; in a cluster one master is enough."""
        async with self._translated():
            await tried(self._redis, f"{self._prefix}:ready", seconds=60)
        try:
            policy = await eviction_policy(self._redis)
        except (RedisError, OSError):
            policy = None  # an ACL user without CONFIG: nothing can be said
        return Readiness(writable=True, eviction_policy=policy)

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        started = time.perf_counter()
        try:
            yield
        except (RedisError, OSError) as failure:
            self._refused(failure)
            raise unavailable(failure) from failure
        finally:
            self._metrics.store_calls.took("command", time.perf_counter() - started)

    def _refused(self, failure: Exception) -> None:
        self._failed(failure)
        # the latter: 6.2, and a batch
        if isinstance(failure, ReadOnlyError) or "READONLY" in str(failure):
            self.renewal.changed(None)

    def _failed(self, failure: BaseException | None) -> None:
        self._metrics.store_failed()
        if failure is not None and self.failures is not None:
            self.failures.tell(failure)

    # Keys

    def _session(self, key: str) -> str:
        return f"{self._prefix}:session:{key}"


def _tell_of_unreplicated(keys: Collection[str], reason: EndReason) -> None:
    for key in keys:
        audit("ending_not_replicated", session=key, reason=reason)


async def _is_too_full(write: Callable[[], Awaitable[object]]) -> bool:
    """Writes; returns True if Redis refuses that for want of memory: it takes deletions still."""
    try:
        await write()
    except StoreUnavailableError as failure:
        if not is_full(failure.__cause__):
            raise
        return True
    return False


def _flat(record: Record) -> list[str]:
    """The fields to write beside `tokens`; those that stand there at times only cost no memory at others."""
    return [
        part
        for name, value in record.items()
        if name != "tokens" and (value or name not in _AT_TIMES)
        for part in (name, value)
    ]
