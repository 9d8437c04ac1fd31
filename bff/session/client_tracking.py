"""One server's word on what changes under the sessions' keys, by `CLIENT TRACKING ON BCAST`.

Rule 1: the server's answer vouches for what was told before its question was sent: pushes come in order with
the answers. A connection that was lost is never mended.
Rule 2: every question asks for more than a sign of life: ROLE shows that the server is a master, CLUSTER
SLOTS which masters there are.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from bff.session.cluster.slots import Address, OddSlotsError, parse_slots
from bff.session.cluster.topology import QUESTION, Topology
from bff.session.redis_connection import connect
from bff.session.sentinel import ToMaster

_ROLE = re.compile(r"^role:(\w+)", re.MULTILINE)
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

    async def watch(self) -> None:
        """Runs beside the questions."""


class MasterQuestion:
    """Asks a server whether it is a master; under Sentinel also whether it is the one that Sentinel names.

    Where ROLE is refused it asks for INFO, which some services allow instead.
    """

    words: Sequence[str] = ("ROLE",)

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._moved = False

    def settle(self, answer: Any) -> None:
        """Reads the answer to ROLE, or to INFO."""
        role = answer[0] if isinstance(answer, list) and answer else _ROLE.search(str(answer))
        if role is None:
            raise FeedBrokenError(f"{self.words[0]} was answered oddly")
        if (said := role if isinstance(role, str) else role[1]) != "master":
            raise FeedBrokenError(f"the server is a {said}, no master")
        if self._moved:
            raise FeedBrokenError("Sentinel names another master")

    def refused(self) -> bool:
        """Goes on to INFO."""
        asked, self.words = self.words, ("INFO", "replication")
        return asked != self.words

    async def watch(self) -> None:
        """Notes when Sentinel names another master than the one on this connection."""
        connection = self._connection
        while isinstance(connection, ToMaster) and not self._moved:
            await asyncio.sleep(_WATCH_EVERY)
            self._moved = connection.is_connected and await connection.has_moved()


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
        """Has nothing to do."""


@dataclass(frozen=True, slots=True)
class Push:
    """Names of keys that have changed; None: any may have."""

    keys: list[str] | None


class Tracking:
    """One connection to one server.

    Args:
        connection: not open yet.
        question: asked every `every` seconds.
        prefix: what the names of the watched keys begin with.
        patience: seconds that an answer may take.
        clock: steady seconds.
        tell: takes each push.
        vouch: takes the moment of each question that was answered well.
    """

    def __init__(
        self,
        connection: AbstractConnection,
        question: Question,
        *,
        prefix: str,
        patience: float,
        every: float,
        clock: Callable[[], float],
        tell: Callable[[Push], None],
        vouch: Callable[[float], None],
    ) -> None:
        self.question = question
        self._connection = connection
        self._prefix = prefix
        self._patience = patience
        self._every = every
        self._clock = clock
        self._tell = tell
        self._vouch = vouch

    async def follow(self) -> None:
        """Follows the server until that fails; raises what redis-py raises, OSError, or `FeedBrokenError`."""
        connection = self._connection
        async with asyncio.timeout(self._patience):
            await connect(connection)
            connection._parser.set_invalidation_push_handler(_received)  # type: ignore[attr-defined] # noqa: SLF001 - redis-py has no public way
            await self._command("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", self._prefix)
            if await self._answer() != "OK":
                raise FeedBrokenError("tracking was answered oddly")
        self._tell(Push(None))
        while True:
            asked = self._clock()
            await self._command(*self.question.words)
            try:
                answer = await self._answer()
            except ResponseError:
                if self.question.refused():
                    continue
                raise
            self.question.settle(answer)
            self._vouch(asked)
            await self._rest(until=asked + self._every)

    async def leave(self) -> None:
        """Closes the connection."""
        await self._connection.disconnect(nowait=True)

    async def _answer(self) -> Any:
        """The next answer; pushes that come before it are told first."""
        deadline = asyncio.get_running_loop().time() + self._patience
        while True:
            left = deadline - asyncio.get_running_loop().time()
            said = await self._connection.read_response(timeout=max(left, 0), push_request=True)
            if isinstance(said, Push):
                self._tell(said)
            elif said is None:
                raise FeedBrokenError(f"no answer within {self._patience:g} s")
            else:
                return said

    async def _rest(self, until: float) -> None:
        """Passes on the changes that arrive until the next question is due."""
        while (left := until - self._clock()) > 0:
            said = await self._connection.read_response(timeout=left, push_request=True)
            if isinstance(said, Push):
                self._tell(said)
            elif said is not None:
                raise FeedBrokenError("an answer came to no question")

    async def _command(self, *words: str) -> None:
        if not self._connection.is_connected:  # redis-py would connect again, without tracking
            raise FeedBrokenError("the connection is closed")
        await self._connection.send_command(*words, check_health=False)


async def _received(message: list[Any]) -> Push:
    """Turns a push into an answer of its own kind, and no more: the parser swallows errors raised here."""
    return Push(message[1])
