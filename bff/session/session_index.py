"""The indexes of sessions by user and by sign-in at the provider, and the notes of those ended as such.

An index may name sessions that are no more: an idle end or `redis-cli DEL` tells no index. Each sign-in
cleans the indexes that it writes, in a sample of `SAMPLE` members of each.

    <prefix>:user:<provider>:<sub>           sorted set of session keys, score = `ends`, with the fraction of
                                             the second in which it was written, for an order
    <prefix>:sid:<provider>:<sid>            set of session keys
    <prefix>:starting:<key>                  a session's first write is under way; for five minutes
    <prefix>:ended:<provider>:<sub or sid>   when all of these were ended, and why, kept for five minutes;
                                             <sub>%0A stands for those of a person's without a `sid`,
                                             <sub>%0A<frontend> for those at one frontend

Rule 1: the note is written before the index is read, and a sign-in reads it after it has written its session:
one of the two sees the other (T-15).
Rule 2: a session that lives, or is about to, is never out of its index, not for a moment: who reads the index
meanwhile, to end them all, would miss it. A new session is in the index before its record is there, and
`starting` stands from before the index's write until after the record's. The cleaner reads the index, then
`starting`, then the record, each after the answer to the one before. No `starting` for a member
means that its sign-in had written the record by then; no record after that means that it is gone, and no key
is used twice. What has died stays dead, so the removal may come at any time, and nothing is put back.
The one assumption is Rule 1's: a sign-in takes less than `NOTE_SECONDS` from `begin` to its record.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast
from urllib.parse import quote

from redis.asyncio import Redis

from bff.session import lua_scripts
from bff.session.end_reasons import text_of
from bff.session.hash_read import Loaded
from bff.session.keyed_script import KeyedScript
from bff.session.model import EndReason, Session
from bff.session.record import Record, format_second, format_time
from bff.session.redis_errors import Translated

NOTE_SECONDS = 300
"""Longer than any sign-in takes from its provider's answer to its session."""

SAMPLE = 32
"""Members of an index that a sign-in looks at. It adds one and, of D dead among N, removes 32 x D / N on
average, so that the dead stay few beside the living; an index of up to 32 members is left without any."""

_PART = 500
"""Members of an index that are read at a time, where all of them are."""

Whose = tuple[str, str, str | None]
"""A session's provider, `sub` and `sid`: the indexes that it is in."""


def whose_is(record: Record) -> Whose:
    """Returns whose a session is, as its record says."""
    return record.get("provider", ""), record.get("sub", ""), record.get("sid") or None


def is_of(frontend: str, loaded: Loaded) -> bool:
    """Returns True for a record of a session of this frontend: an index is of all frontends."""
    return loaded.fields.get("frontend", "") == frontend


def user_key(prefix: str, provider: str, sub: str) -> str:
    """The name of a user's index."""
    return f"{prefix}:user:{provider}:{quote(sub, safe='')}"


def sid_key(prefix: str, provider: str, sid: str) -> str:
    """The name of a sign-in's index."""
    return f"{prefix}:sid:{provider}:{quote(sid, safe='')}"


@dataclass(frozen=True, slots=True)
class Sample:
    """Some members of the indexes that a session was added to."""

    of_user: Sequence[str]
    of_sid: Sequence[str]


class SessionIndex:
    """Writes, cleans and reads the indexes, and keeps the notes.

    `translated` turns redis-py's errors into our own.
    """

    def __init__(self, redis: Redis, prefix: str, translated: Translated) -> None:
        self._redis = redis
        self._prefix = prefix
        self._translated = translated
        self._add_user = KeyedScript(redis, lua_scripts.INDEX_USER)
        self._add_sid = KeyedScript(redis, lua_scripts.INDEX_SID)

    async def begin(self, key: str) -> None:
        """Says that a session is about to be written: until `clean` no cleaner takes it for a dead one."""
        async with self._translated():
            await self._redis.set(self._starting(key), "1", ex=NOTE_SECONDS)

    async def add(self, session: Session, now: float, lifetime: int, *, sample: int = 0) -> Sample:
        """Adds a session, for `lifetime` ms at least; returns up to `sample` members of each index."""
        ends = f"{format_second(session.ends)}.{int(now % 1 * 1000):03}"
        async with self._translated():
            of_user: list[str] = await self._add_user(
                keys=[user_key(self._prefix, session.provider, session.sub)],
                args=[session.key, ends, format_second(now), lifetime, sample],
            )
            of_sid: list[str] = []
            if session.sid is not None:
                of_sid = await self._add_sid(
                    keys=[sid_key(self._prefix, session.provider, session.sid)],
                    args=[session.key, lifetime, sample],
                )
        return Sample(of_user, of_sid)

    async def clean(self, session: Session, sample: Sample) -> None:
        """Ends the mark of `begin`, and removes the dead ones of a sample that was taken meanwhile.

        One round trip where the session stands alone, two where all others live, else three. Each command
        is on one key, without a transaction: a cluster allows no more.
        """
        others = sorted({*sample.of_user, *sample.of_sid} - {session.key})
        async with self._translated():
            pipe = self._redis.pipeline(transaction=False)
            pipe.delete(self._starting(session.key))
            for key in others:
                pipe.exists(self._starting(key))
            begun = (await pipe.execute())[1:]
            dead = await self._dead([key for key, starts in zip(others, begun, strict=True) if not starts])
            if dead:
                await self._remove(session, sample, dead)

    async def drop_dead(self, provider: str, sub: str, keys: Sequence[str]) -> int:
        """Removes those of these members of a user's index whose session is gone (Rule 2); how many."""
        async with self._translated():
            pipe = self._redis.pipeline(transaction=False)
            for key in keys:
                pipe.exists(self._starting(key))
            begun = await pipe.execute()
            dead = await self._dead([key for key, starts in zip(keys, begun, strict=True) if not starts])
            if dead:
                await self._redis.zrem(user_key(self._prefix, provider, sub), *sorted(dead))
            return len(dead)

    async def _dead(self, settled: Sequence[str]) -> set[str]:
        """Returns those without a record, of members for which no `starting` stood after they were read."""
        if not settled:
            return set()
        pipe = self._redis.pipeline(transaction=False)
        for key in settled:
            pipe.exists(f"{self._prefix}:session:{key}")
        return {key for key, lives in zip(settled, await pipe.execute(), strict=True) if not lives}

    async def _remove(self, session: Session, sample: Sample, dead: set[str]) -> None:
        pipe = self._redis.pipeline(transaction=False)
        if gone := dead.intersection(sample.of_user):
            pipe.zrem(user_key(self._prefix, session.provider, session.sub), *gone)
        if session.sid is not None and (gone := dead.intersection(sample.of_sid)):
            pipe.srem(sid_key(self._prefix, session.provider, session.sid), *gone)
        await pipe.execute()

    async def count_of_user(self, provider: str, sub: str) -> int:
        """The number of members in a user's index, those whose session is gone included."""
        async with self._translated():
            return await self._redis.zcard(user_key(self._prefix, provider, sub))

    async def of_user(self, provider: str, sub: str, *, most: int | None = None) -> list[str]:
        """The keys of a user's sessions; with `most` those so many that end last."""
        name, last = user_key(self._prefix, provider, sub), -1 if most is None else most - 1
        async with self._translated():
            return cast("list[str]", await self._redis.zrange(name, 0, last, desc=most is not None))

    async def of_sid(self, provider: str, sid: str) -> list[str]:
        """The keys of the sessions that began with one sign-in at the provider."""
        async with self._translated():
            members = await self._redis.smembers(sid_key(self._prefix, provider, sid))
        return cast("list[str]", list(members))

    async def scan_user(self, provider: str, sub: str) -> AsyncIterator[tuple[list[str], bool]]:
        """Yields a user's session keys in parts, each with True for the last.

        A session that is there the whole time is in one of them at least.
        """
        name, cursor = user_key(self._prefix, provider, sub), 0
        while True:
            async with self._translated():
                cursor, found = await self._redis.zscan(name, cursor, count=_PART)
            yield [cast("str", key) for key, _ in found], not cursor
            if not cursor:
                return

    async def leave(self, sessions: Mapping[str, Whose]) -> None:
        """Takes sessions that have ended out of their indexes, by their keys, in one round trip."""
        async with self._translated():
            pipe = self._redis.pipeline(transaction=False)
            for key, (provider, sub, sid) in sessions.items():
                pipe.zrem(user_key(self._prefix, provider, sub), key)
                if sid is not None:
                    pipe.srem(sid_key(self._prefix, provider, sid), key)
            for answer in await pipe.execute(raise_on_error=False):
                if isinstance(answer, Exception) and not str(answer).startswith("WRONGTYPE"):
                    raise answer  # something else in an index's place holds none of them

    async def leave_sid(self, provider: str, sid: str, key: str) -> None:
        """Takes a session out of a sign-in's index: the provider names it otherwise now."""
        async with self._translated():
            await self._redis.srem(sid_key(self._prefix, provider, sid), key)

    async def note_end(self, provider: str, name: str, now: float, reason: EndReason) -> None:
        """Notes that everything of a `sub` or `sid` that began before `now` is over, and why."""
        note = f"{format_time(now)} {reason}"
        async with self._translated():
            await self._redis.set(self._note(provider, name), note, ex=NOTE_SECONDS)

    async def notes_since(self, provider: str, names: Sequence[str], began: float) -> Mapping[str, EndReason]:
        """Returns why a sign-in that began at `began` was ended, by the names that were ended since."""
        async with self._translated():
            pipe = self._redis.pipeline(transaction=False)  # no MGET: a cluster takes one key at a time
            for name in names:
                pipe.get(self._note(provider, name))
            notes = [text_of(said) for said in await pipe.execute(raise_on_error=False)]
        reasons = zip(names, (_ended(note, began) for note in notes), strict=True)
        return {name: reason for name, reason in reasons if reason is not None}

    def _starting(self, key: str) -> str:
        return f"{self._prefix}:starting:{key}"

    def _note(self, provider: str, name: str) -> str:
        return f"{self._prefix}:ended:{provider}:{quote(name, safe='')}"


def _ended(note: str | None, began: float) -> EndReason | None:
    """The reason that a note gives for ending a sign-in that began at `began`; None for no reason."""
    if note is None:
        return None
    moment, _, reason = note.partition(" ")
    try:
        if float(moment) < began:
            return None
        return EndReason(reason)
    except ValueError:
        return EndReason.UNKNOWN  # another type of value was put there by hand: an end was meant
