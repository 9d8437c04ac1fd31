"""Sessions' hashes and counts of limits: questions of the same turn of the loop share a round trip.

Rule 1: one connection, one batch on it at a time, no transaction. What is asked for while a batch is under
way is the next batch: the busier, the larger, and the cheaper for each.
Rule 2: a key's error is its own. What breaks the connection, or takes too long, is everyone's who waits.
Rule 3: a read whose connection broke before it was answered is sent once more, on a new one: the server may
have closed an idle one. What took too long is not.
Rule 4: a caller that goes away takes nobody's answer along.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Generic, TypeVar

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from bff.session import redis_connection
from bff.session.batches import Told
from bff.session.hash_read import (
    Loaded,
    LoadedValues,
    SessionReads,
    commands,
    outcome,
    unavailable,
    values_outcome,
)
from bff.session.redis_connection import Replies, connect, new_connection
from bff.settings.model import RedisSettings
from bff.tasks import Tasks, report

T = TypeVar("T")

LARGEST_BATCH = 128
"""The most reads that share a round trip: answers of some 4 kB each should not pile up by the megabyte."""

_MISTAKE = "a reader of Redis failed"
_last: Callable[[Sequence[Any]], Any] = itemgetter(-1)


def _wanted(*, timed: bool, noted: bool) -> tuple[bool | None, ...]:
    """The replies to the read of a hash: its values as bytes, numbers and the note as they are."""
    return False, timed or None, noted or None


_TEXT = (True,)
_NOTED, _TIMED_AND_NOTED = _wanted(timed=False, noted=True), _wanted(timed=True, noted=True)


class _Ask(Generic[T]):
    """A question: the words of its commands, and the function that takes its answer.

    Attributes:
        wanted: whether each of the replies that `read` takes is read as text or as bytes; None for one that
            was not asked for.
        read: makes the answer of the replies.
    """

    __slots__ = ("read", "then", "wanted", "words")

    def __init__(
        self,
        words: bytes,
        wanted: tuple[bool | None, ...],
        read: Callable[[Sequence[Any]], T | Exception],
        then: Told[T],
    ) -> None:
        self.words = words
        self.wanted = wanted
        self.read = read
        self.then = then

    @property
    def abandoned(self) -> bool:
        """True if nobody waits for the answer any more."""
        return False


class _Awaited(_Ask[T]):
    """A question whose answer is awaited: its caller may go away."""

    __slots__ = ("answer",)

    def __init__(
        self, words: bytes, wanted: tuple[bool | None, ...], read: Callable[[Sequence[Any]], T | Exception]
    ) -> None:
        super().__init__(words, wanted, read, self._settle)
        self.answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    @property
    def abandoned(self) -> bool:
        return self.answer.done()

    def _settle(self, outcome: T | Exception) -> None:
        if self.answer.done():
            return  # its caller has gone away
        if isinstance(outcome, Exception):
            self.answer.set_exception(outcome)
        else:
            self.answer.set_result(outcome)


class BatchReader:
    """Reads hashes from one server, and runs commands there that take a moment.

    In a cluster `address` says from which. `took` is told the seconds of each batch.
    """

    def __init__(
        self,
        settings: RedisSettings,
        took: Callable[[float], None] = lambda _: None,
        address: tuple[str, int] | None = None,
    ) -> None:
        self._settings = settings
        self._took = took
        self._address = address
        self._tasks = Tasks()
        self._waiting: list[_Ask[Any]] = []
        self._batch: deque[_Ask[Any]] = deque()  # under way: those that are not answered yet
        self._answers: list[Any] = []  # that have come for the first of them
        self._started = self._used_at = 0.0
        self._resent = False
        self._busy = False
        self._connection: AbstractConnection | None = None
        self._replies: Replies | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._renewing = False
        self._timer: asyncio.TimerHandle | None = None

    def renew(self) -> None:
        """The connection is made anew before its next use."""
        self._renewing = True

    def load(
        self, name: bytes, *, timed: bool = False, note: bytes | None = None
    ) -> "asyncio.Future[Loaded]":
        """Reads a hash, how long it is going to live if `timed`, and the string under the name `note`.

        Raises, once awaited:
            WrongTypeError: it is no hash.
            StoreUnavailableError: it cannot be known now.
        """
        ask = _Awaited(
            commands(name, note, timed=timed), _wanted(timed=timed, noted=note is not None), outcome
        )
        self._ask(ask)
        return ask.answer

    def read(self, key: str, reads: SessionReads, then: Told[LoadedValues], *, timed: bool) -> None:
        """Reads a session and the note of its end for callers that do not await: `then` is called soon.

        A future would cost a further turn of the loop.
        """
        wanted = _TIMED_AND_NOTED if timed else _NOTED
        self._waiting.append(_Ask(reads.words(key, timed=timed), wanted, values_outcome, then))
        if not self._busy:
            self._begin_soon()

    def evaluate(
        self,
        name: bytes,  # noqa: ARG002 - where one server has all keys the name is of no account
        words: bytes,
        *,
        replies: int = 1,
        text: bool = True,
    ) -> "asyncio.Future[Any]":
        """Runs one packed command, twice perhaps where a connection breaks: one of which that does no harm.

        Args:
            name: the key that it is about.
            words: the command.
            replies: how many answers come to them, of which the last one is meant.
            text: whether strings in the answers are read as text, or as bytes.

        Raises, once awaited:
            ResponseError: Redis refuses it; the text begins with NOSCRIPT where it does not know a script.
            StoreUnavailableError: nothing is known of it.
        """
        ask = _Awaited[Any](words, (text,) * replies, _last)
        self._ask(ask)
        return ask.answer

    def run(self, name: bytes, words: bytes, then: Told[Any]) -> None:  # noqa: ARG002 - as above
        """Runs a command as `evaluate` does, for callers that do not await: `then` is called soon."""
        self._ask(_Ask(words, _TEXT, _last, then))

    async def aclose(self) -> None:
        """Closes the connection; callers that still wait get `StoreUnavailableError`."""
        self._give_up(ConnectionAbortedError())
        await self._tasks.cancel_all()
        await self._drop()

    def _ask(self, ask: "_Ask[Any]") -> None:
        self._waiting.append(ask)
        if not self._busy:
            self._begin_soon()

    def _begin_soon(self) -> None:
        self._busy = True
        asyncio.get_running_loop().call_soon(self._begin)

    def _begin(self) -> None:
        """Begins the next batch, if anything is to be asked and none is under way."""
        if self._batch:
            return
        self._busy = bool(self._waiting)
        if not self._busy:
            return
        self._batch.extend(self._waiting[:LARGEST_BATCH])
        del self._waiting[:LARGEST_BATCH]
        self._started = started = time.perf_counter()
        if started - self._used_at > redis_connection.IDLE_FOR:
            self._renewing = True
        self._used_at = started
        self._resent = False
        if self._timer is None:
            self._ring_in(self._settings.timeout)
        self._send()

    def _send(self) -> None:
        """Sends the batch: at once where there is a connection to be used, else by a task that makes one."""
        if self._replies is None or self._renewing:
            self._connecting = self._tasks.spawn(self._connect(), name="loads")
            return
        try:
            self._replies.send(b"".join([ask.words for ask in self._batch]))
        except RedisConnectionError as failure:
            self._broke(failure)

    async def _connect(self) -> None:
        self._renewing = False
        await self._drop()
        connection = new_connection(self._settings, self._address)
        try:
            await connect(connection)
            if self._connecting is not asyncio.current_task():
                raise RedisConnectionError("given up")  # noqa: TRY301 - it ends like any other failure
            self._replies = Replies(connection, self._came, self._ended)
        except (RedisError, OSError) as failure:
            await _disconnect(connection)
            if self._connecting is not asyncio.current_task():
                return  # it took too long, and those who waited have been told
            if isinstance(failure, (RedisConnectionError, OSError)):
                self._broke(failure)
            else:
                self._give_up(failure)
        except BaseException as mistake:
            await _disconnect(connection)
            if self._connecting is asyncio.current_task():
                self._give_up(mistake)
            raise
        else:
            self._connection = connection
            self._send()

    def _came(self) -> None:
        """Takes the replies that are there; each ask is answered once its own are complete."""
        assert self._replies is not None
        batch, answers, take, not_yet = self._batch, self._answers, self._replies.take, Replies.NOT_YET
        if not batch:
            self._renewing = True  # a reply to nothing: the next one would not be that of its question
            return
        try:
            while batch:
                ask = batch[0]
                for asked in ask.wanted[len(answers) :] if answers else ask.wanted:
                    answer = None if asked is None else take(asked)
                    if answer is not_yet:
                        return
                    answers.append(answer)
                batch.popleft()
                answer = ask.read(answers)
                answers.clear()
                try:  # `_tell`, a call less
                    ask.then(answer)
                except Exception as mistake:  # noqa: BLE001 - as there
                    report(_MISTAKE, mistake)
            if take() is not not_yet:
                self._renewing = True  # as above
        except BaseException as failure:
            self._give_up(failure)
            if not isinstance(failure, RedisError):
                raise
        else:
            self._over()

    def _over(self) -> None:
        """Ends a batch of which all asks are answered."""
        self._took(time.perf_counter() - self._started)
        if self._waiting:
            self._begin()
        else:
            self._busy = False

    def _ended(self) -> None:
        self._replies = None
        if self._batch:
            self._broke(RedisConnectionError("the server closed the connection"))

    def _broke(self, failure: Exception) -> None:
        """Sends what is not answered once more, on another connection (Rule 3)."""
        if self._resent:
            self._give_up(failure)
            return
        self._resent = self._renewing = True
        self._answers.clear()
        self._batch = deque([ask for ask in self._batch if not ask.abandoned])
        if self._batch:
            self._send()
        else:
            self._over()

    def _ring_in(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._ring)

    def _ring(self) -> None:
        """Gives a batch up that takes too long. One timer: it is not moved for each batch."""
        self._timer = None
        if self._batch:
            left = self._started + self._settings.timeout - time.perf_counter()
            if left > 0:
                self._ring_in(left)
            else:
                self._give_up(TimeoutError())

    def _give_up(self, failure: BaseException) -> None:
        """Answers all who wait that nothing is known, and ends the connection."""
        asks = [*self._batch, *self._waiting]
        if self._batch:
            self._took(time.perf_counter() - self._started)
        self._batch.clear()
        self._answers.clear()
        self._waiting.clear()
        self._busy = False
        for ask in asks:
            _tell(ask, unavailable(failure))
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._replies is not None:
            self._replies.close()
            self._replies = None
        self._tasks.spawn(self._drop(), name="loads")

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        replies, self._replies = self._replies, None
        if replies is not None:
            replies.close()
        if connection is not None:
            await _disconnect(connection)


def _tell(ask: _Ask[Any], answer: Any) -> None:
    """Calls the function that takes an answer; a mistake in it is reported, and spoils no other answer."""
    try:
        ask.then(answer)
    except Exception as mistake:  # noqa: BLE001 - it is reported; the other answers have to be read
        report(_MISTAKE, mistake)


async def _disconnect(connection: AbstractConnection) -> None:
    with contextlib.suppress(RedisError, OSError):
        await connection.disconnect(nowait=True)
