"""The servers of a cluster: which master has a key, where a server sends us instead, and who is followed.

Rule 1: the map is what most servers say, asked all at once; MOVED corrects it for one slot until it is read
anew. It is read anew whenever a server sends us elsewhere, does not answer, or says that the cluster is down.
Rule 2: a command that is sent elsewhere was not run, and may be sent again. Whatever else failed may have
been run, and is not (`store.py`, Rule 3).
Rule 3: what was read at a server that the feed of changes does not follow must not be kept: nobody tells of
its changes. So is a server that takes slots over and has none yet (ASK): the feed takes it in (`extra`).
"""

import asyncio
import random
from contextlib import suppress
from typing import Any

from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from bff.session.cluster.slots import Address, OddSlotsError, SlotMap, agreed, named, parse_slots
from bff.session.redis_connection import connect, new_connection
from bff.settings.model import RedisSettings
from bff.settings.redis_urls import ClusterUrl
from bff.tasks import Tasks

MAX_REDIRECTS = 5
"""Servers that a command is sent to, one after the other, before it is given up."""

QUESTION = ("CLUSTER", "SLOTS")

_MOST_ASKED = 16  # servers, for one map
_REST = 0.1  # seconds between two maps that nobody waits for


def slot_of(name: bytes) -> int:
    """Returns the slot of the key of this name."""
    return key_slot(name)


class Topology:
    """The cluster that `redis.url` names.

    Attributes:
        followed: the servers whose changes the feed tells of, while it is trusted or about to be.
        extra: servers without slots that take some over.
    """

    def __init__(self, settings: RedisSettings) -> None:
        url = ClusterUrl.parse(settings.url.get_secret_value())
        assert url is not None
        self.seeds = url.seeds
        self.followed: frozenset[Address] = frozenset()
        self.extra: frozenset[Address] = frozenset()
        self._settings = settings
        self._map: SlotMap | None = None
        self._moved: dict[int, Address] = {}
        self._tasks = Tasks()
        self._reading: asyncio.Task[SlotMap | None] | None = None

    @classmethod
    def of(cls, settings: RedisSettings) -> "Topology | None":
        """Returns the cluster that these settings name; None where they name none."""
        return None if ClusterUrl.parse(settings.url.get_secret_value()) is None else cls(settings)

    async def aclose(self) -> None:
        """Stops asking."""
        await self._tasks.cancel_all()

    @property
    def masters(self) -> frozenset[Address]:
        """The masters that are known, and servers that we were sent to."""
        known = self._map.masters if self._map else frozenset()
        return known | self.extra | frozenset(self._moved.values())

    async def known(self) -> SlotMap:
        """Returns the map as it is known; it is asked for where none is.

        Raises:
            redis.exceptions.ConnectionError: no server tells.
        """
        return self._map or await self.read()

    async def owner(self, name: bytes) -> Address:
        """Returns the master that has the key of this name, as far as is known."""
        slot = slot_of(name)
        if (moved := self._moved.get(slot)) is not None:
            return moved
        owner = (await self.known()).owner(slot)
        if owner is None:
            self.doubt()
            raise RedisConnectionError("no server of the cluster has this slot")
        return owner

    async def read(self) -> SlotMap:
        """Asks the servers; raises as `known`."""
        found = await asyncio.shield(self._begun(0.0))
        if found is None:
            raise RedisConnectionError("no server of the cluster tells of its slots")
        return found

    def doubt(self) -> None:
        """Has the map read anew, beside everything else."""
        self._begun(_REST)

    def take(self, found: SlotMap) -> None:
        """Takes a newer map."""
        self._map = found
        self._moved.clear()
        self.extra -= found.masters

    def elsewhere(self, refused: BaseException | None, asked: Address) -> tuple[Address, bool] | None:
        """Returns where a refused command is to go instead, and true for this time only (ASK); None: nowhere.

        The map learns of it. A server without a name is at the host of the one that was `asked`.
        """
        redirect = _redirect(refused)
        if redirect is None:
            if refused is not None and not isinstance(refused, ResponseError):
                self.doubt()  # a connection that broke, or an answer that did not come
            elif isinstance(refused, ClusterDownError) or str(refused).startswith("CLUSTERDOWN"):
                self.doubt()
            return None
        slot, address, asks = redirect
        address = named(address[0], address[1], asked)
        if asks:
            if address not in self.followed:
                self.extra |= {address}
        else:
            self._moved[slot] = address
            self.doubt()
        return address, asks

    def _begun(self, rest: float) -> "asyncio.Task[SlotMap | None]":
        if self._reading is None or self._reading.done():
            self._reading = self._tasks.spawn(self._read(rest), name="the slots of the cluster")
        return self._reading

    async def _read(self, rest: float) -> SlotMap | None:
        await asyncio.sleep(rest)
        known = self._map
        masters = known.masters if known else frozenset()
        others = known.replicas - masters if known else frozenset()
        asked = list(dict.fromkeys([*self.seeds, *_shuffled(masters), *_shuffled(others)]))[:_MOST_ASKED]
        told: list[SlotMap] = []
        tasks = Tasks()
        try:
            asking = [tasks.spawn(self._ask(each), name="slots") for each in asked]
            for answer in asyncio.as_completed(asking):
                if (one := await answer) is not None:
                    told.append(one)
                    if told.count(one) > len(asked) // 2:
                        break
        finally:
            await tasks.cancel_all()
        if (found := agreed(told)) is not None:
            self.take(found)
        return found

    async def _ask(self, address: Address) -> SlotMap | None:
        connection = new_connection(self._settings, address)
        try:
            async with asyncio.timeout(self._settings.timeout):
                await connect(connection)
                await connection.send_command(*QUESTION)
                return parse_slots(await connection.read_response(), address)
        except (RedisError, OSError, TimeoutError, OddSlotsError):
            return None
        finally:
            with suppress(RedisError, OSError):
                await connection.disconnect(nowait=True)


def is_redirect(answer: Any) -> bool:
    """Returns true for a refusal that names another server: there the command is to be run."""
    return isinstance(answer, Exception) and _redirect(answer) is not None


def _redirect(refused: BaseException | None) -> tuple[int, Address, bool] | None:
    """Reads MOVED and ASK: slot, server, and true for ASK. redis-py has read them, or they are as sent.

    One that names no slot or no server leads nowhere.
    """
    if isinstance(refused, AskError):
        return refused.slot_id, (refused.host, refused.port), not isinstance(refused, MovedError)
    word, _, rest = str(refused).partition(" ")
    if word not in {"MOVED", "ASK"}:
        return None
    try:
        return _redirect((MovedError if word == "MOVED" else AskError)(rest))
    except ValueError:
        return None


def _shuffled(servers: frozenset[Address]) -> list[Address]:
    return random.sample(sorted(servers), len(servers))
