"""One server's word on what changes under the sessions' keys, by `CLIENT TRACKING ON BCAST`.

Rule 1: the server's answer vouches for what was told before its question was sent: pushes come in order with
the answers. A connection that was lost is never mended.
Rule 2: every question asks for more than a sign of life: ROLE shows that the server is a master, CLUSTER
SLOTS which masters there are.
Rule 3: a push is told within the turn of the loop that reads it, by no task; so is an end of the connection.
(Redis sends its pushes before it answers the writer, if no threads share its I/O.)
Rule 4: `catch_up` reads what the loop has not come to: a turn may be long, and a call be read before the push
that came first (the kernel names sockets that were busy a turn ago before those that have become so since).
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from bff.session.cluster.slots import Address, OddSlotsError, parse_slots
from bff.session.cluster.topology import QUESTION, Topology
from bff.session.redis_connection import Replies, connect, packed
from bff.session.sentinel_queries import ToMaster

_ROLE = re.compile(r"^role:(\w+)", re.MULTILINE)
_PUSHED = 2  # parts of a push: its kind, and the names
_TEXTS = frozenset({str})
_WATCH_EVERY = 1.0  # seconds between two questions to Sentinel


class FeedBrokenError(Exception):
    """The connection answered something that is not understood, or not in time."""


class Question(Protocol):
    """The question that a server is asked again and again."""

    @property
    def words(self) -> Sequence[str]:
        """The command."""
        ...

    def settle(self, answer: Any) -> None:
        """Reads the answer; raises `FeedBrokenError` if the server must not be followed any more."""
        ...

    def refused(self) -> bool:
        """Takes note that the server does not answer the question; returns true if there is another."""
        ...

    async def watch(self) -> str | None:
        """Runs beside the questions; returns why the server is to be followed no more, if it finds that."""


class MasterQuestion:
    """Asks a server whether it is a master; under Sentinel also whether it is the one that Sentinel names.

    Where ROLE is refused it asks for INFO, which some services allow instead.
    """

    words: Sequence[str] = ("ROLE",)

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection

    def settle(self, answer: Any) -> None:
        """Reads the answer to ROLE, or to INFO."""
        role = answer[0] if isinstance(answer, list) and answer else _ROLE.search(str(answer))
        if role is None:
            raise FeedBrokenError(f"{self.words[0]} was answered oddly")
        if (said := role if isinstance(role, str) else role[1]) != "master":
            raise FeedBrokenError(f"the server is a {said}, no master")

    def refused(self) -> bool:
        """Goes on to INFO."""
        asked, self.words = self.words, ("INFO", "replication")
        return asked != self.words

    async def watch(self) -> str | None:
        """Finds out when Sentinel names another master than the one on this connection."""
        connection = self._connection
        while isinstance(connection, ToMaster):
            await asyncio.sleep(_WATCH_EVERY)
            if connection.is_connected and await connection.has_moved():
                return "Sentinel names another master"
        return None


class SlotsQuestion:
    """Asks a cluster's server which masters there are: the same ones as all others say, and no more."""

    words = QUESTION

    def __init__(self, topology: Topology, address: Address, masters: frozenset[Address]) -> None:
        self._topology = topology
        self._address = address
        self._masters = masters

    def settle(self, answer: Any) -> None:
        """Reads the answer to CLUSTER SLOTS. Slots that moved among these masters are no matter."""
        try:
            found = parse_slots(answer, self._address)
        except OddSlotsError as odd:
            raise FeedBrokenError(str(odd)) from odd
        if found.masters != self._masters:
            raise FeedBrokenError("the cluster has other masters")
        if not self._topology.extra <= self._topology.followed:
            raise FeedBrokenError("another server takes slots over")
        self._topology.take(found)

    def refused(self) -> bool:
        """Has no other question."""
        return False

    async def watch(self) -> None:
        """Finds nothing out."""


class Tracking:
    """One connection to one server.

    Args:
        connection: not open yet.
        question: asked every `every` seconds.
        prefixes: what the names of the watched keys begin with; none begins with another one.
        patience: seconds that an answer may take.
        clock: steady seconds.
        tell: takes the names of keys that have changed, of each push; None: any may have.
        vouch: takes the moment of each question that was answered well.
        lost: called as soon as the server cannot be followed any more; `follow` raises why a little later.
    """

    def __init__(
        self,
        connection: AbstractConnection,
        question: Question,
        *,
        prefixes: Sequence[str],
        patience: float,
        every: float,
        clock: Callable[[], float],
        tell: Callable[[Sequence[str] | None], None],
        vouch: Callable[[float], None],
        lost: Callable[[], None],
    ) -> None:
        self._question = question
        self._connection = connection
        self._prefixes = prefixes
        self._patience = patience
        self._every = every
        self._clock = clock
        self._tell = tell
        self._vouch = vouch
        self._lost = lost
        self._replies: Replies | None = None
        self._answer: asyncio.Future[Any] | None = None  # to the question that is under way
        self._broken: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    async def follow(self) -> None:
        """Follows the server until that fails; raises what redis-py raises, OSError, or `FeedBrokenError`."""
        try:
            await self._follow()
        finally:
            self._lost()

    async def _follow(self) -> None:
        async with asyncio.timeout(self._patience):
            await connect(self._connection)
            self._replies = Replies(self._connection, self._came, self._ended)
            watched = [word for prefix in self._prefixes for word in ("PREFIX", prefix)]
            if await self._ask("CLIENT", "TRACKING", "ON", "BCAST", *watched) != "OK":
                raise FeedBrokenError("tracking was answered oddly")
        self._tell(None)
        while True:
            asked = self._clock()
            try:
                answer = await self._ask(*self._question.words)
            except ResponseError:
                if self._question.refused():
                    continue
                raise
            self._question.settle(answer)
            self._vouch(asked)
            while (left := asked + self._every - self._clock()) > 0:
                await self._unless_broken(None, within=left)

    async def watch(self) -> None:
        """Ends `follow` as soon as something beside the server's answers says so; runs beside it."""
        try:
            why = await self._question.watch()
        except Exception as mistake:
            self._break(FeedBrokenError(f"nobody watches it any more ({type(mistake).__name__})"))
            raise
        if why is not None:
            self._break(FeedBrokenError(why))

    def catch_up(self) -> bool:
        """Passes on the pushes that have come so far; returns False where there may be more of them."""
        return self._replies is not None and self._replies.catch_up() and not self._broken.done()

    async def leave(self) -> None:
        """Closes the connection."""
        if self._replies is not None:
            self._replies.close()
        await self._connection.disconnect(nowait=True)

    async def _ask(self, *words: str) -> Any:
        """Returns the server's answer to a command; raises `ResponseError` if that is a refusal."""
        assert self._replies is not None
        self._answer = answer = asyncio.get_running_loop().create_future()
        self._replies.send(packed(*(word.encode() for word in words)))
        await self._unless_broken(answer, within=self._patience)
        self._answer = None
        if not answer.done():
            raise FeedBrokenError(f"no answer within {self._patience:g} s")
        if isinstance(said := answer.result(), ResponseError):
            raise said
        return said

    async def _unless_broken(self, answer: "asyncio.Future[Any] | None", *, within: float) -> None:
        """Waits so many seconds, or until there is an answer; raises what has ended the connection."""
        waited_for = [self._broken] if answer is None else [self._broken, answer]
        await asyncio.wait(waited_for, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        if self._broken.done():
            raise self._broken.result()

    def _came(self) -> None:
        """Takes what the server said, until there is something that ends the connection."""
        assert self._replies is not None
        try:
            while not self._broken.done() and (said := self._replies.take()) is not Replies.NOT_YET:
                self._take(said)
        except (RedisError, FeedBrokenError) as failure:
            self._break(failure)

    def _take(self, said: Any) -> None:
        answer = self._answer
        if not isinstance(said, hiredis.PushNotification):
            if answer is None or answer.done():
                raise FeedBrokenError("an answer came to no question")
            answer.set_result(said)
        elif said and said[0] == "invalidate":
            self._tell(_names(said))

    def _ended(self) -> None:
        self._break(RedisConnectionError("the server closed the connection"))

    def _break(self, failure: Exception) -> None:
        if not self._broken.done():
            self._broken.set_result(failure)
            self._lost()


def _names(said: list[Any]) -> list[str] | None:
    """Returns the names of the keys that a push tells of; None for all."""
    if len(said) == _PUSHED:
        names = said[1]
        if names is None:
            return None
        if isinstance(names, list) and _TEXTS.issuperset(map(type, names)):
            return names
    raise FeedBrokenError("the server tells of changes in no known form")
