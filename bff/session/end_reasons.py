"""Notes that outlive a session: why it was ended, how long it would have lived, and whose it was.

    <prefix>:ended:<key>                 why a session was ended, kept for an hour, or for more than the idle
                                         timeout
    <prefix>:until:<16 of the key>       the mark: the limit on its time, and its `sub`; as long as the
                                         session, and an hour more
    <prefix>:auditor                     the process that tells of the endings that nobody else tells of

Rule 1: the reason of an end is there before the session goes, if Redis has room for it. A record that stands
beside the note of its end is no session: somebody put it back, or the deletion failed (`note_of`). So the
note is kept for longer than any record that it is about can live, and the feed tells of it as of a deletion.
Rule 2: an end that is bound to a version says which, and is about no later one. The note of an end that came
too late is taken back by its writer; another note stays, which is somebody else's end.
Rule 3: only the reason given to a page and the audit log depends on the mark. By Redis' own clock: while the
mark has more than its hour left, a session that is gone was deleted before its time.
Rule 4: an ending is told to the audit log by the process that ended the session, and then the mark goes; any
other (`redis-cli DEL`, expiry, eviction, a process that died over it) by the first to write so into the mark.
So a mark that has gone stays away: only a new session gets one, and later ones are written over it.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, unquote

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from bff.session import lua_scripts
from bff.session.cluster.client import ClusterClient, masters_of
from bff.session.keyed_script import KeyedScript
from bff.session.lifetime import CLOCKS_APART
from bff.session.model import EndReason
from bff.session.redis_errors import Translated

ENDED_SECONDS: Final = 3600.0
_UNTIL_LENGTH = 16  # characters of the key: a million sessions need 8 MB less than with all of it
_SET = b"*6\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n$2\r\nPX\r\n$%d\r\n%b\r\n$2\r\nXX\r\n"
_AT_ONCE = 500  # names that one SCAN looks at
_LATE_USES = 3 * CLOCKS_APART  # seconds: the tolerance of an idle end, clocks apart, a use noted meanwhile
_LATE = 2000  # milliseconds by which the mark may have been written after the record
_BY = {EndReason.IDLE: "1", EndReason.MAX_LIFETIME: "2"}
_WHY = {value: reason for reason, value in _BY.items()}
_TOLD = "!"  # no percent-encoded `sub` holds it
_CLAIMED_SECONDS = 600
_LONGEST_VERSION = 18  # digits

Ended = Callable[[str, str | None, str], None]
"""Hears of an ending: the session's id, whose it was where that is known, and why."""


def untold(_session: str, _sub: str | None, _reason: str) -> None:
    """Does nothing, where no listener wants to know of endings."""


def version_in(text: str) -> int | None:
    """Reads a version; None for a text that is none, or longer than Python reads: we have not written it."""
    return int(text) if text.isdecimal() and len(text) <= _LONGEST_VERSION else None


def note_of(note: str | None, version: int) -> EndReason | None:
    """Returns why a session of this version was ended, by its note; None where there is none about it."""
    if note is None:
        return None
    reason, _, last = note.partition(" ")
    last_version = version_in(last)
    if last_version is not None and version > last_version:
        return None
    return EndReason(reason) if reason in set(EndReason) else EndReason.UNKNOWN


@dataclass(frozen=True, slots=True)
class Trace:
    """The traces of a session that is gone.

    Attributes:
        note: why it was ended here; None where it was not.
        due: the limit by which its time ran out; None where it had time left, or nothing is known.
        marked: whether there is a mark; `told` whether an ending was told by it.
        sub: whose it was, where that is known.
    """

    note: EndReason | None
    due: EndReason | None
    marked: bool
    told: bool
    sub: str | None


class Endings:
    """Writes and reads the notes. `translated` turns redis-py's errors into our own."""

    def __init__(self, redis: Redis, prefix: str, translated: Translated) -> None:
        self._redis = redis
        self._prefix = prefix
        self._translated = translated
        self._lead = KeyedScript(redis, lua_scripts.LEAD)
        self._release = KeyedScript(redis, lua_scripts.RELEASE)

    def name(self, key: str) -> str:
        """The name of a session's note."""
        return f"{self._prefix}:ended:{key}"

    async def note(self, key: str, reason: EndReason, *, version: int | None, kept: float) -> bool:
        """Notes why a session ends, at `version` at the latest where given; an earlier note stays.

        `kept` is the idle timeout: a record that stands there, or is put back, has no idle time left later.
        """
        value, seconds = _written(reason, version), _note_seconds(kept)
        async with self._translated():
            if await self._redis.set(self.name(key), value, ex=seconds, nx=True):
                return True
            if version is None:  # one about a former version must not stand in the way
                former = text_of(await self._redis.get(self.name(key)))
                if former is None or " " in former:
                    await self._redis.set(self.name(key), value, ex=seconds)
            return False

    async def note_all(self, keys: Collection[str], reason: EndReason, *, kept: float) -> None:
        """Notes why sessions end, of whatever version, in one round trip for all of them."""
        seconds = _note_seconds(kept)
        async with self._translated():
            pipe = self._redis.pipeline(transaction=False)
            for key in keys:
                pipe.set(self.name(key), reason.value, ex=seconds, nx=True)
            written = await pipe.execute()
        for key, new in zip(keys, written, strict=True):
            if not new:  # an earlier note: it may be about a former version
                await self.note(key, reason, version=None, kept=kept)

    async def found(self, beginning: str) -> EndReason | None:
        """The reason in the note of the first session found whose key has this beginning (of hex digits)."""
        async with self._translated():
            for server in await masters_of(self._redis):
                async for name in server.scan_iter(f"{self.name(beginning)}*", count=_AT_ONCE):
                    return note_of(text_of(await self._redis.get(name)), 0)
        return None

    async def forget(self, key: str, reason: EndReason, *, version: int) -> None:
        """Takes this note back: the session lives. Another one stays: somebody else has ended the session."""
        async with self._translated():
            await self._release(keys=[self.name(key)], args=[_written(reason, version)])

    async def lives_until(
        self, key: str, milliseconds: int, by: EndReason, sub: str, *, again: bool = False
    ) -> None:
        """Marks how long a session has, and by which limit. A failure costs it nothing but the reason.

        Where it is marked `again` a mark is changed that stands there (Rule 4): none is made.
        """
        name, mark, lifetime = self._mark_of(key, milliseconds, by, sub)
        try:
            await self._redis.set(name, mark, px=lifetime, xx=again)
        except (RedisError, OSError):
            return

    def marking(self, key: str, milliseconds: int, by: EndReason, sub: str) -> tuple[bytes, bytes]:
        """Returns the name of the mark, and the command that marks the same again."""
        text, mark, lifetime = self._mark_of(key, milliseconds, by, sub)
        name, value, until = text.encode(), mark.encode(), b"%d" % lifetime
        return name, _SET % (len(name), name, len(value), value, len(until), until)

    def _mark_of(self, key: str, milliseconds: int, by: EndReason, sub: str) -> tuple[str, str, int]:
        lifetime = milliseconds + int(ENDED_SECONDS * 1000)
        plain = sub.isascii() and sub.isalnum()  # as a call of `quote` would find out
        return self.mark(key), f"{_BY[by]} {sub if plain else quote(sub, safe='')}", lifetime

    async def why(self, key: str) -> EndReason | None:
        """Returns why a session is gone; None if somebody else deleted it, or over an hour ago."""
        (trace,) = await self._traces([key])
        return trace.note or trace.due

    # Endings that nobody here has told of (Rule 4)

    async def gone(self, keys: Sequence[str]) -> dict[str, Trace]:
        """The traces of those of these sessions that are not there.

        One server is asked for all of them at once: nearly always they all are there.
        """
        names = [f"{self._prefix}:session:{key}" for key in keys]
        async with self._translated():
            if not isinstance(self._redis, ClusterClient):
                with suppress(ResponseError):  # a proxy in front of several servers may refuse several names
                    if not names or await self._redis.exists(*names) == len(names):
                        return {}
            pipe = self._redis.pipeline(transaction=False)
            for name in names:
                pipe.exists(name)
            missing = [key for key, lives in zip(keys, await pipe.execute(), strict=True) if not lives]
        return dict(zip(missing, await self._traces(missing), strict=True)) if missing else {}

    async def claim(self, traces: Mapping[str, Trace]) -> dict[str, Trace]:
        """Takes it upon the caller to tell of these endings; returns those that nobody else tells of."""
        pipe = self._redis.pipeline(transaction=False)
        for key, trace in traces.items():
            if trace.marked:
                by = _BY.get(trace.due or EndReason.UNKNOWN, "0")
                pipe.set(self.mark(key), f"{by} {_TOLD}", xx=True, keepttl=True, get=True)
            else:
                pipe.set(f"{self._prefix}:jti:ended:{key}", "1", ex=_CLAIMED_SECONDS, nx=True)
        async with self._translated():
            before = await pipe.execute(raise_on_error=False)
        answers = zip(traces.items(), before, strict=True)
        return {key: trace for (key, trace), was in answers if _is_claimed(was, marked=trace.marked)}

    async def unmark(self, keys: Collection[str]) -> None:
        """Takes away the marks of sessions whose ending the caller tells of."""
        if not keys:
            return
        async with self._translated():
            pipe = self._redis.pipeline(transaction=False)
            for key in keys:
                pipe.delete(self.mark(key))
            await pipe.execute()

    async def lead(self, owner: str, lifetime: float) -> bool:
        """Makes a process the one that looks, for `lifetime` seconds; False while another one is."""
        async with self._translated():
            return bool(await self._lead(keys=[self._auditor], args=[owner, round(lifetime * 1000)]))

    async def retire(self, owner: str) -> None:
        """Lets another process be the one that looks."""
        async with self._translated():
            await self._release(keys=[self._auditor], args=[owner])

    async def evictions(self) -> int | None:
        """Returns the number of keys that Redis has evicted since it began; None where it does not say."""
        try:
            counts: list[Any] = [
                (await server.info("stats")).get("evicted_keys") for server in await masters_of(self._redis)
            ]
        except (RedisError, OSError):
            return None
        return sum(counts) if all(isinstance(count, int) for count in counts) else None

    async def _traces(self, keys: Sequence[str]) -> list[Trace]:
        async with self._translated():
            pipe = self._redis.pipeline(transaction=False)
            for key in keys:
                pipe.get(self.name(key))
                pipe.get(self.mark(key))
                pipe.pttl(self.mark(key))
            said = await pipe.execute(raise_on_error=False)
            return [_trace(*said[at : at + 3]) for at in range(0, len(said), 3)]

    def mark(self, key: str) -> str:
        """The name of a session's mark."""
        return f"{self._prefix}:until:{key[:_UNTIL_LENGTH]}"

    @property
    def _auditor(self) -> str:
        return f"{self._prefix}:auditor"


def _written(reason: EndReason, version: int | None) -> str:
    """Returns a note as it is written."""
    return reason.value if version is None else f"{reason} {version}"


def _note_seconds(idle_timeout: float) -> int:
    """Returns how long a note is kept."""
    return math.ceil(max(ENDED_SECONDS, idle_timeout + _LATE_USES))


def _trace(note: Any, mark: Any, left: Any) -> Trace:
    text = text_of(mark) or ""
    by, _, sub = text.partition(" ")
    over = isinstance(left, int) and 0 < left <= ENDED_SECONDS * 1000 + _LATE
    return Trace(
        note=note_of(text_of(note), 0),
        due=_WHY.get(by) if over else None,
        marked=bool(text),
        told=_is_told(text),
        sub=None if not sub or _is_told(text) else unquote(sub),
    )


def _is_claimed(was: object, *, marked: bool) -> bool:
    """Reads the answer to the write of a claim: the mark until now, or that there was none."""
    return isinstance(was, str) and not _is_told(was) if marked else was is True


def _is_told(mark: str) -> bool:
    return mark.endswith(f" {_TOLD}")


def text_of(answer: Any) -> str | None:
    """Returns the answer to a GET; None also where somebody put something else there."""
    if isinstance(answer, ResponseError) and str(answer).startswith("WRONGTYPE"):
        return None
    if isinstance(answer, Exception):
        raise answer
    return answer if isinstance(answer, str) else None
