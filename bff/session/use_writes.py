"""Notes of use as Redis is given them: together, with the batches of the reads, by a call and no task.

Rule 1: a note may be done twice, where a connection breaks: the second time it changes nothing.
Rule 2: a session that is gone stays so.
Rule 3: the mark of the session's end (`end_reasons.py`) follows with the next batch, once the session is
known to live: a mark that is prolonged behind its end would tell of another reason.
Rule 4: a note that was done is told of a turn of the loop after its answer. Redis sends the push of a write
before the answer to it, so that this turn reads it: whoever then reads the session is not disturbed by it.
Rule 5: a mistake in telling of one note is reported, and spoils no other one.
Rule 6: a note that nobody waits for waits for others itself, `GATHER_FOR` at most: one alone costs more in
system calls than in all else. One for which the session's idle timeout may not wait goes at once.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from bff.errors import StoreUnavailableError
from bff.session import lua_scripts
from bff.session.batch_script import BatchScript
from bff.session.batches import Batches
from bff.session.end_reasons import Endings
from bff.session.hash_read import unavailable
from bff.session.model import EndReason
from bff.tasks import report

GATHER_FOR: Final = 0.02
"""Seconds that a note waits for others at most."""

_MOST_GATHERED = 16  # notes that go at once: more would hold up the calls of the turn that makes their words
_MISTAKE = "a note of use failed"

Written = Callable[[bool | StoreUnavailableError], None]
"""Is told if the session was there, and its use is noted, or why that is not known. It does not raise."""


class Use(NamedTuple):
    """A use of a session.

    Attributes:
        key: the session's.
        sub: whose it is.
        seen: the field as the record is to hold it.
        now: when, in milliseconds since the epoch.
        idle: milliseconds that the record is to live, unless the session ends before.
    """

    key: str
    sub: str
    seen: bytes
    now: int
    idle: int


class UseWrites:
    """Writes notes of use. `failed` and `refused` hear why one was not written."""

    def __init__(
        self,
        batches: Batches,
        prefix: str,
        endings: Endings,
        failed: Callable[[BaseException | None], None],
        refused: Callable[[Exception], None],
    ) -> None:
        self._batches = batches
        self._session = f"{prefix}:session:".encode()
        self._endings = endings
        self._failed, self._refused = failed, refused
        self._touch = BatchScript(batches, lua_scripts.TOUCH)
        self._gathered: list[tuple[Use, Written]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._done: list[tuple[Use, int, Written]] = []  # in this turn of the loop
        self._under_way = 0
        self._settled: asyncio.Future[None] | None = None

    def write(self, use: Use, then: Written, *, at_once: bool = False) -> None:
        """Writes `seen`, and slides the idle timeout; tells `then` soon (Rule 4)."""
        self._under_way += 1
        self._gathered.append((use, then))
        if at_once or len(self._gathered) >= _MOST_GATHERED:
            self.send()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_FOR, self.send)

    def send(self) -> None:
        """Sends the notes that wait for others."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        gathered, self._gathered = self._gathered, []
        for use, then in gathered:
            name = self._session + use.key.encode()
            answered = partial(self._answered, use, then)
            self._touch.begin(answered, name, use.seen, b"%d" % use.now, b"%d" % use.idle)

    async def settled(self, patience: float) -> None:
        """Waits until none is under way, so many seconds at most."""
        if self._under_way:
            self.send()
            self._settled = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._settled], timeout=patience)

    def _answered(self, use: Use, then: Written, answer: object) -> None:
        if isinstance(answer, int):
            if not self._done:
                asyncio.get_running_loop().call_soon(self._tell)
            self._done.append((use, answer, then))
            return
        self._over()
        if answer == "gone":
            then(False)
            return
        if not isinstance(answer, Exception):
            answer = StoreUnavailableError("Redis: an odd answer")
        if isinstance(answer, StoreUnavailableError):
            self._failed(answer.__cause__)
            then(answer)
        else:
            self._refused(answer)
            then(unavailable(answer))

    def _tell(self) -> None:
        """Calls back for the writes of the last turn of the loop, and marks their sessions' ends."""
        done, self._done = self._done, []
        for use, ttl, then in done:
            self._mark(use, ttl)
            try:
                then(True)
            except Exception as mistake:  # noqa: BLE001 - as in `_mark`
                report(_MISTAKE, mistake)

    def _mark(self, use: Use, ttl: int) -> None:
        """Marks the end of a session whose record lives so many milliseconds; the note is over then."""
        by = EndReason.IDLE if ttl == use.idle else EndReason.MAX_LIFETIME
        try:
            name, words = self._endings.marking(use.key, ttl, by, use.sub)
        except Exception as mistake:  # noqa: BLE001 - it is reported, and no other note stays under way for it
            report(_MISTAKE, mistake)
            self._over()
        else:
            self._batches.run(name, words, self._over)

    def _over(self, _: object = None) -> None:
        self._under_way -= 1
        if not self._under_way and self._settled is not None and not self._settled.done():
            self._settled.set_result(None)
