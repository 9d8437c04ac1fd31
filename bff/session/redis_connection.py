"""Connections to Redis: single ones, for those who wait on their own terms (feed, loads), and a pool of them.

Rule 1: nothing here is bounded in time but the TCP and TLS handshake; the holder of such a connection bounds
every wait on it. (A bound in the client library costs a task for each write, and would end a connection that
has nothing to say.)
Rule 2: whatever becomes of a connection, redis-py's `ConnectionError` tells of it.
Rule 3: a connection that nobody has used for `IDLE_FOR` seconds is made anew before its next use: what stands
between us and Redis may have forgotten it without a word, and a command on it would wait in vain.
"""

import asyncio
import os
import select
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary

import hiredis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError, ResponseError

from bff.session.sentinel_queries import MasterLocator, ToMaster
from bff.settings.model import RedisSettings
from bff.settings.redis_urls import ClusterUrl, SentinelUrl

IDLE_FOR = 30.0
"""Seconds; load balancers and services begin to drop connections after a minute."""

_READ = 65_536  # bytes that `Replies.catch_up` reads at once

# A URL may say this of pools; a single connection does not know it.
_OF_POOLS = ("max_connections", "timeout")


class _Steady:
    """Over a kind of connection: whatever else is raised of it becomes redis-py's word (Rule 2).

    uvloop has one of its own for a connection that has just ended; redis-py raises all sorts at answers that
    are none: a MOVED without an address, a HELLO that is not answered by a map.
    """

    async def connect_check_health(self, *arguments: Any, **options: Any) -> None:
        async with self._understood():
            await super().connect_check_health(*arguments, **options)  # type: ignore[misc] # redis-py's

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        async with self._understood():
            return await super().read_response(*arguments, **options)  # type: ignore[misc] # redis-py's

    @asynccontextmanager
    async def _understood(self) -> AsyncIterator[None]:
        try:
            yield
        except (RedisError, OSError):
            raise
        except Exception as failure:
            assert isinstance(self, AbstractConnection)
            await self.disconnect(nowait=True)
            raise RedisConnectionError(f"the server answers oddly ({type(failure).__name__})") from failure

    async def send_packed_command(self, *arguments: Any, **options: Any) -> None:
        try:
            await super().send_packed_command(*arguments, **options)  # type: ignore[misc] # redis-py's
        except RuntimeError as failure:  # "the handler is closed": neither an OSError nor a RedisError
            raise RedisConnectionError(str(failure)) from failure


def _steady(kind: type[AbstractConnection]) -> type[AbstractConnection]:
    return type(kind.__name__, (_Steady, kind), {})


def _led_to_master(kind: type[AbstractConnection]) -> type[AbstractConnection]:
    return type(kind.__name__, (ToMaster, kind), {})


def _target(settings: RedisSettings, address: tuple[str, int] | None) -> dict[str, Any]:
    """The options of redis-py for `redis.url`, `connection_class` among them.

    `address` is a cluster's server.
    """
    url = settings.url.get_secret_value()
    sentinel, cluster = SentinelUrl.parse(url), ClusterUrl.parse(url)
    several = sentinel or cluster
    options: dict[str, Any] = dict(parse_url(url if several is None else several.server))
    if cluster is not None:
        options["host"], options["port"] = address or cluster.seeds[0]
    kind: type[AbstractConnection] = options.pop("connection_class", Connection)
    if sentinel is not None:
        tls = {name: value for name, value in options.items() if name.startswith("ssl")}
        options["locator"] = MasterLocator(sentinel, timeout=settings.timeout, tls=tls)
        kind = _led_to_master(kind)
    return options | {"connection_class": kind}


def new_connection(settings: RedisSettings, address: tuple[str, int] | None = None) -> AbstractConnection:
    """A connection that is not open yet, to what `redis.url` names; it speaks RESP3.

    In a cluster `address` says to which server.
    """
    options = _target(settings, address)
    for name in _OF_POOLS:
        options.pop(name, None)
    kind: type[AbstractConnection] = options.pop("connection_class")
    ours = {
        "protocol": 3,
        "socket_timeout": None,
        "socket_connect_timeout": settings.timeout,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_timeout": False,
        "health_check_interval": 0,
        "driver_info": None,  # a name and a version for CLIENT LIST: two commands that an account may lack
        "decode_responses": True,
        "encoding_errors": "replace",  # bytes that are no UTF-8 were not written by us: they will not open
    }
    return _steady(kind)(**options | ours)


class FreshPool(BlockingConnectionPool):
    """A pool that lends no connection that has ended or was idle for long, nor one from before `renew`.

    redis-py would find out by the command that is sent, and without resending, which may do things twice,
    each kept connection would cost a request after Redis was away.
    """

    def __init__(self, *, connection_class: type[AbstractConnection] = Connection, **options: Any) -> None:
        super().__init__(connection_class=_steady(connection_class), **options)
        self._round = 0
        self._made_in: WeakKeyDictionary[AbstractConnection, int] = WeakKeyDictionary()
        self._lent_at: WeakKeyDictionary[AbstractConnection, float] = WeakKeyDictionary()

    def renew(self) -> None:
        """Every connection is made anew before its next use."""
        self._round += 1

    async def ensure_connection(self, connection: AbstractConnection) -> None:
        """Prepares a connection for the next command."""
        reader = connection._reader  # noqa: SLF001 - the stream alone knows, and redis-py does not ask it
        now = asyncio.get_running_loop().time()
        idle = now - self._lent_at.get(connection, now) > IDLE_FOR
        if reader is not None and (idle or reader.at_eof() or self._made_in.get(connection) != self._round):
            await connection.disconnect(nowait=True)
            _read_certificates_anew(connection)
        self._made_in[connection] = self._round
        self._lent_at[connection] = now
        await super().ensure_connection(connection)


def _read_certificates_anew(connection: AbstractConnection) -> None:
    """A connection keeps what it read of certificates when it was made, over all its lives."""
    if isinstance(connection, SSLConnection):
        connection.ssl_context.context = None


def new_pool(settings: RedisSettings, address: tuple[str, int] | None = None) -> FreshPool:
    """A pool of connections to what `redis.url` names: nothing is sent twice, and a crowd waits its turn.

    In a cluster `address` says to which server.
    """
    ours: dict[str, Any] = {
        "timeout": settings.timeout,
        "decode_responses": True,
        "encoding_errors": "replace",  # as of `new_connection`
        "socket_timeout": settings.timeout,
        "socket_connect_timeout": settings.timeout,
        "max_connections": settings.max_connections,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        "driver_info": None,  # a name and a version for CLIENT LIST: two commands that an account may lack
    }
    return FreshPool(**ours | _target(settings, address))


class Renewable(Protocol):
    """A keeper of connections."""

    def renew(self) -> None:
        """Makes each anew before its next use."""
        ...


class Renewal:
    """Renews what keeps connections, where those may lead to a server that is the master no more.

    After a failover the name leads elsewhere; a connection that the old master has not ended stays there for
    ever. The feed notices, since it asks for the ROLE, and begins anew, which its listeners hear; where there
    is no feed, the first write that is refused tells.
    """

    def __init__(self, *renewed: Renewable) -> None:
        self._renewed = renewed

    def changed(self, key: str | None) -> None:
        """Renews the connections where the feed of changes says None: it was lost, or begins."""
        if key is None:
            for part in self._renewed:
                part.renew()


async def connect(connection: AbstractConnection) -> None:
    """Connects and signs in; raises what redis-py raises, or OSError."""
    await connection.connect()  # type: ignore[no-untyped-call] # redis-py gives it no types


def packed(*words: bytes) -> bytes:
    """A command as it is sent."""
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])


class Replies(asyncio.Protocol):
    """The replies on an open connection, as the protocol of its transport: redis-py only closes it any more.

    redis-py's own reading costs three coroutines for each reply, most of what a read costs in a batch, and a
    stream two more turns of the loop for each round trip.

    Args:
        connection: it is open, and nothing is under way on it.
        came: called when bytes have come: `take` the replies then.
        ended: called once, when the connection has ended by itself: as soon as its end is read.
    """

    NOT_YET: Final = object()
    """Stands in place of a reply that is not there yet."""

    def __init__(
        self, connection: AbstractConnection, came: Callable[[], None], ended: Callable[[], None]
    ) -> None:
        reader, writer = connection._reader, connection._writer  # noqa: SLF001 - as in `FreshPool`
        if reader is None or writer is None or reader.at_eof() or writer.transport.is_closing():
            raise RedisConnectionError("the server closed the connection")
        self._came, self._ended = came, ended
        self._parser = hiredis.Reader(
            protocolError=InvalidResponse,
            replyError=ResponseError,
            encoding="utf-8",
            errors="replace",  # as of `new_connection`
            notEnoughData=self.NOT_YET,
        )
        self.take = self._parser.gets  # with False: strings of the reply as bytes
        self._transport = writer.transport
        self._encrypted = self._transport.get_extra_info("sslcontext") is not None
        self._poll: Callable[[int], list[tuple[int, int]]] | None = None
        self._transport.set_protocol(self)

    def send(self, words: bytes) -> None:
        """Sends packed commands; raises redis-py's `ConnectionError` where the connection has ended."""
        if self._transport.is_closing():
            raise RedisConnectionError("the connection is closed")
        self._transport.write(words)

    def close(self) -> None:
        """Closes the connection; neither function is called any more."""
        self._came = self._ended = _nothing
        self._transport.close()

    def catch_up(self) -> bool:
        """Takes the replies that have come, and that the loop has not read yet.

        Returns False where some may be left: of a reply only a part is there, there are too many of them, the
        connection has ended, or TLS keeps them for the loop.
        """
        if self._transport.is_closing():
            return False
        poll = self._poll
        if poll is None:
            poller = select.poll()
            poller.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
            poll = self._poll = poller.poll
        if poll(0):
            if self._encrypted:
                return False
            try:
                data = os.read(self._transport.get_extra_info("socket").fileno(), _READ)
            except OSError:  # the loop finds the end as well
                return False
            if not data:
                return False
            self.data_received(data)
            if len(data) == _READ:
                return False
        return not self._parser.has_data()

    def data_received(self, data: bytes) -> None:
        """Takes a part of the replies."""
        self._parser.feed(data)
        self._came()

    def eof_received(self) -> None:
        """Reports the end by the server; the transport closes itself, in a later turn of the loop."""
        self._report_end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Reports any other end."""
        del exc
        self._report_end()

    def _report_end(self) -> None:
        ended, self._came, self._ended = self._ended, _nothing, _nothing
        ended()


def _nothing() -> None:
    """Does nothing."""
