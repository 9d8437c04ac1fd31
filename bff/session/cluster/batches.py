"""The batches of reads in a cluster: one `BatchReader` for each master.

Rule 1: a session and the note of its end have different slots, and are read at the same time. The note is
written before the session goes, so that no order of the two shows a session that had ended before.
Rule 2: what was read at a server that the feed does not follow has no time left: the near cache does not keep
it (`topology.py`, Rule 3).
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from redis.exceptions import RedisError, ResponseError

from bff.errors import StoreUnavailableError
from bff.session.batch_reader import BatchReader
from bff.session.batches import Told
from bff.session.cluster.slots import Address
from bff.session.cluster.topology import MAX_REDIRECTS, Topology
from bff.session.hash_read import Loaded, LoadedValues, SessionReads, commands, noted, outcome, unavailable
from bff.session.record import values_of
from bff.session.redis_connection import packed
from bff.settings.model import RedisSettings
from bff.tasks import Tasks

T = TypeVar("T")

_ASKING = packed(b"ASKING")
_KEPT = 2.0  # a server's connection after it has left the map, as a multiple of `redis.timeout`


class ClusterBatches:
    """A reader of hashes from the masters of a cluster, with the promises of `BatchReader`."""

    def __init__(
        self, settings: RedisSettings, topology: Topology, took: Callable[[float], None] = lambda _: None
    ) -> None:
        self._settings = settings
        self._took = took
        self._topology = topology
        self._tasks = Tasks()
        self._readers: dict[Address, BatchReader] = {}

    def load(
        self, name: bytes, *, timed: bool = False, note: bytes | None = None
    ) -> "asyncio.Future[Loaded]":
        """As `BatchReader.load`."""
        return self._promised(self._load(name, timed=timed, note=note))

    def read(self, key: str, reads: SessionReads, then: Told[LoadedValues], *, timed: bool) -> None:
        """As `BatchReader.read`."""

        def answered(done: asyncio.Future[Loaded]) -> None:
            failure = StoreUnavailableError("Redis: closed") if done.cancelled() else done.exception()
            if isinstance(failure, Exception):
                then(failure)
            else:
                fields, lifetime, noted_end = done.result()
                then(LoadedValues(values_of(fields), lifetime, noted_end))

        name, note = reads.names(key)
        self.load(name, timed=timed, note=note).add_done_callback(answered)

    def evaluate(self, name: bytes, words: bytes) -> "asyncio.Future[Any]":
        """As `BatchReader.evaluate`."""
        return self._promised(self._evaluate(name, words))

    def run(self, name: bytes, words: bytes, then: Told[Any]) -> None:
        """As `BatchReader.run`."""

        def answered(done: asyncio.Future[Any]) -> None:
            failure = StoreUnavailableError("Redis: closed") if done.cancelled() else done.exception()
            then(failure if isinstance(failure, Exception) else done.result())

        self.evaluate(name, words).add_done_callback(answered)

    def renew(self) -> None:
        """Every connection is made anew before its next use."""
        for reader in self._readers.values():
            reader.renew()

    async def aclose(self) -> None:
        """Closes the connections; whoever still waits is told that Redis is unavailable."""
        readers, self._readers = self._readers, {}
        for reader in readers.values():
            await reader.aclose()
        await self._tasks.cancel_all()

    def _promised(self, work: Coroutine[Any, Any, T]) -> "asyncio.Future[T]":
        """The outcome of what runs on its own: who goes away ends nothing."""
        promise: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        async def run() -> None:
            try:
                done = await work
            except Exception as failure:  # noqa: BLE001 - it is the caller's, whatever it is
                if not promise.done():
                    promise.set_exception(failure)
            else:
                if not promise.done():
                    promise.set_result(done)
            finally:
                if not promise.done():
                    promise.set_exception(StoreUnavailableError("Redis: closed"))

        self._tasks.spawn(run(), name="loads")
        return promise

    async def _load(self, name: bytes, *, timed: bool, note: bytes | None) -> Loaded:
        if note is None:
            return await self._hash(name, timed=timed)
        both: tuple[Any, Any] = await asyncio.gather(
            self._hash(name, timed=timed), self._evaluate(note, packed(b"GET", note)), return_exceptions=True
        )
        found, said = both
        if isinstance(found, BaseException):
            raise found
        if isinstance(said, BaseException) and not isinstance(said, ResponseError):
            raise said
        return Loaded(found.fields, found.lifetime, noted(said))

    async def _hash(self, name: bytes, *, timed: bool) -> Loaded:
        address, failure = await self._owner(name), None
        for _ in range(MAX_REDIRECTS):
            try:
                found = await self._reader(address).load(name, timed=timed)
            except StoreUnavailableError as failed:
                failure = failed.__cause__
                other = self._topology.elsewhere(failure, address)
                if other is None:
                    raise
                address, asks = other
                if asks:
                    return await self._asked(name, address)
            else:
                unfollowed = timed and address not in self._topology.followed
                return Loaded(found.fields, 0.0) if unfollowed else found
        raise StoreUnavailableError("Redis: sent from one to another") from failure

    async def _asked(self, name: bytes, address: Address) -> Loaded:
        """A hash at a server that takes its slot over just now."""
        words = _ASKING + commands(name, None, timed=False)
        try:
            fields = await self._reader(address).evaluate(name, words, replies=2, text=False)
        except ResponseError as refused:
            fields = refused
        read = outcome((fields, None, None))
        if isinstance(read, Exception):
            raise read
        return Loaded(read.fields, 0.0)

    async def _evaluate(self, name: bytes, words: bytes) -> Any:
        address, asks, failure = await self._owner(name), False, None
        for _ in range(MAX_REDIRECTS):
            reader = self._reader(address)
            try:
                if asks:
                    return await reader.evaluate(name, _ASKING + words, replies=2)
                return await reader.evaluate(name, words)
            except ResponseError as refused:
                failure = refused
                other = self._topology.elsewhere(refused, address)
                if other is None:
                    raise
                address, asks = other
            except StoreUnavailableError as failed:
                self._topology.elsewhere(failed.__cause__, address)
                raise
        raise StoreUnavailableError("Redis: sent from one to another") from failure

    async def _owner(self, name: bytes) -> Address:
        try:
            return await self._topology.owner(name)
        except (RedisError, OSError) as failure:
            raise unavailable(failure) from failure

    def _reader(self, address: Address) -> BatchReader:
        if (reader := self._readers.get(address)) is None:
            reader = self._readers[address] = BatchReader(self._settings, self._took, address)
            for gone in self._readers.keys() - self._topology.masters - {address}:
                self._tasks.spawn(self._leave(self._readers.pop(gone)), name="a server that has left")
        return reader

    async def _leave(self, reader: BatchReader) -> None:
        try:
            await asyncio.sleep(_KEPT * self._settings.timeout)
        finally:
            await reader.aclose()
