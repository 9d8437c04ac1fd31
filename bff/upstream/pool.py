"""The connection pools of the backends: lending, waiting in turn, ageing.

A *slot* is the right to one connection, open or being made; there are `max_connections` of them.

Rule 1: a slot belongs to exactly one of: a connection in `_open` that is no stream, an `acquire` that is
connecting, or the waiter it was granted to. A task that lets go of a slot hands it on, cancelled or not.
Rule 2: clients that wait are served in turn (`fair_queue.py`), with a freed connection or with a freed slot,
and nobody overtakes them: while one waits that may be served, nothing is idle and no slot is free.
Rule 3: the idle connection that was used last is taken first, so that the others can age and be closed.
Rule 4: a quarter of the slots is kept for clients that hold none, so that one client cannot fill a backend.
Rule 5: a connection whose answer is a stream gives its slot back: streams have a limit of their own.
Rule 6: a retired pool, whose backend no route names any more, keeps no idle connection: calls that began
before still get one, and each is closed after its call.
"""

import asyncio
import contextlib
import math
import ssl
from collections import deque
from dataclasses import dataclass

from bff.policy.routes import Upstream
from bff.upstream.backend_call import CallTimeouts
from bff.upstream.connection import UpstreamConnection
from bff.upstream.connector import Connector, UpstreamFaultError
from bff.upstream.expect_continue import Expectation
from bff.upstream.fair_queue import FairQueue
from bff.upstream.interfaces import Fault, FaultKind
from bff.upstream.response_parser import DEFAULT_LIMITS, AnswerLimits

_Grant = asyncio.Future[UpstreamConnection | None]

_KEPT_SHARE = 4  # of the slots: one in so many is for clients that hold none


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """The limits of a pool: connections, and the seconds that each step may take or last."""

    max_connections: int = 100
    connect_timeout: float = 5.0  # name, all addresses and TLS together
    queue_timeout: float = 5.0
    idle_timeout: float = 60.0
    answer: AnswerLimits = DEFAULT_LIMITS
    lifetime: float = 3600.0  # of a connection: it is not kept beyond, so that a change of address is noticed
    max_streams: int = 1000  # beside the connections


@dataclass(frozen=True, slots=True)
class PoolStats:
    """The numbers of a pool; `open` counts streams and the slots in use."""

    open: int
    idle: int
    waiting: int


class UpstreamPool:
    """A connection pool for one backend. It belongs to one event loop."""

    def __init__(
        self,
        upstream: Upstream,
        limits: PoolLimits,
        timeouts: CallTimeouts | None = None,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
    ) -> None:
        assert (tls is not None) == (upstream.scheme == "https")
        self._limits = limits
        self._timeouts = timeouts
        self.dialer = Connector(upstream, tls, server_name)  # also for connections that are not the pool's
        self._expectation = Expectation()
        self._slots = 0
        self._open: set[UpstreamConnection] = set()
        self._closing: set[UpstreamConnection] = set()
        self._idle: deque[UpstreamConnection] = deque()
        self._streams: set[UpstreamConnection] = set()
        self._waiters: FairQueue[UpstreamConnection | None] = FairQueue()
        self._held: dict[str, int] = {}  # by client: connections that carry its calls, or are being made
        most = limits.max_connections
        self._crowded_from = most if most == 1 else most - max(1, most // _KEPT_SHARE)
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = self._retired = False

    def stats(self) -> PoolStats:
        """Returns the numbers of connections that are open, idle, and waited for."""
        return PoolStats(self._slots + len(self._streams), len(self._idle), len(self._waiters))

    @property
    def has_idle(self) -> bool:
        """True when `acquire_nowait` most likely gives a connection."""
        return bool(self._idle)

    # Getting a connection.

    def acquire_nowait(self, client: str | None = None) -> UpstreamConnection | None:
        """Returns an idle connection, on which the caller calls `start`, `carry` or `put_back`; else None."""
        idle, held = self._idle, self._held
        while idle:
            carrying = 0 if client is None else held.get(client, 0)
            if carrying and self._slots - len(idle) >= self._crowded_from:
                return None
            connection = idle.pop()
            clock = connection.now
            if connection.idle_since + self._limits.idle_timeout > clock():
                if client is not None:
                    held[client] = carrying + 1
                    connection.client = client
                return connection
            connection.abort()
        return None

    async def acquire(self, client: str | None = None) -> UpstreamConnection:
        """Returns a connection: idle, new, or the next one to become free when it is the client's turn.

        Raises:
            UpstreamFaultError: TIMEOUT in the queue or while connecting, UNREACHABLE where no address of the
                backend took the connection or none of them could be found.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._limits.queue_timeout
        while not self._closed:
            connection = self.acquire_nowait(client)
            if connection is None and not self._takes(client):
                connection = await self._wait(client, loop, deadline)
            elif connection is None:
                self._take_slot(client)
            if connection is None:
                return await self._fill_slot(client, loop)
            if not connection.closed:  # it may have closed between the grant and this task's turn
                return connection
        raise UpstreamFaultError(Fault(FaultKind.UNREACHABLE, "the pool is closed"))

    def _takes(self, client: str | None) -> bool:
        """Returns true if a slot is free for this client."""
        if self._slots >= self._limits.max_connections:
            return False
        return client not in self._held or not self._crowded()

    def _crowded(self) -> bool:
        return self._slots - len(self._idle) >= self._crowded_from

    def _take_slot(self, client: str | None) -> None:
        self._slots += 1
        self._hold(client)

    async def _wait(
        self, client: str | None, loop: asyncio.AbstractEventLoop, deadline: float
    ) -> UpstreamConnection | None:
        """Returns a freed connection, or None with a slot to fill."""
        grant: _Grant = loop.create_future()
        self._waiters.add(client, grant)
        try:
            async with asyncio.timeout_at(deadline):
                return await grant
        except TimeoutError:
            self._give_up(client, grant)
            raise UpstreamFaultError(Fault(FaultKind.TIMEOUT, "queue")) from None
        except asyncio.CancelledError:
            self._give_up(client, grant)
            raise

    def _give_up(self, client: str | None, grant: _Grant) -> None:
        """Removes a waiter; a connection granted to it in the same moment goes to the next."""
        if not grant.done() or grant.cancelled():
            self._waiters.remove(client, grant)  # unless `_serve` has passed over it already
        elif grant.exception() is None:
            connection = grant.result()
            if connection is None:
                self._drop_slot(client)
            elif not connection.closed:
                self.free(connection)

    async def _fill_slot(self, client: str | None, loop: asyncio.AbstractEventLoop) -> UpstreamConnection:
        """Connects, and gives the slot up where that fails."""
        connection: UpstreamConnection | None = None
        try:
            connection = await self.dialer.dial(
                lambda: UpstreamConnection(
                    loop, self, self._timeouts, self._limits.answer, self._expectation
                ),
                loop.time() + self._limits.connect_timeout,
            )
        finally:
            if connection is None:
                self._drop_slot(client)
        connection.client = client
        self._open.add(connection)
        if self._closed:
            connection.abort()
            raise UpstreamFaultError(Fault(FaultKind.UNREACHABLE, "the pool is closed"))
        return connection

    def stream(self, connection: UpstreamConnection) -> bool:
        """Counts the connection of a stream apart from calls; returns False if there are too many."""
        if len(self._streams) >= self._limits.max_streams:
            return False
        if connection in self._open:
            self._streams.add(connection)
            self._let_go(connection.client)
            connection.client = None
            self._free_slot()
        return True

    # Letting go (`bff.upstream.interfaces.ConnectionOwner`).

    def free(self, connection: UpstreamConnection) -> None:
        """Takes back a connection that can be used again."""
        client = connection.client
        if client is not None:  # `_let_go`, without a call: once for each call on the fast path
            left = self._held.pop(client) - 1
            if left:
                self._held[client] = left
            connection.client = None
        if self._streams and connection in self._streams and not self._end_stream(connection):
            return
        if self._closed or connection.idle_since - connection.born > self._limits.lifetime:
            connection.abort()
            return
        if self._retired and not self._waiters.lines:
            connection.abort()
            return
        self._idle.append(connection)
        if self._waiters.lines:
            self._serve()
        if self._sweep is None and self._idle:
            self._sweep_at(connection.idle_since + self._limits.idle_timeout)

    def _end_stream(self, connection: UpstreamConnection) -> bool:
        """Gives a stream's connection a slot again, or closes it where none is free."""
        if self._slots >= self._limits.max_connections:
            connection.abort()
            return False
        self._streams.remove(connection)
        self._slots += 1
        return True

    def gone(self, connection: UpstreamConnection) -> None:
        """Forgets a connection that is closed or being closed."""
        if connection not in self._open:  # it never got as far as to be handed out
            return
        self._open.remove(connection)
        self._closing.add(connection)
        connection.lost.add_done_callback(lambda _: self._closing.discard(connection))
        self._let_go(connection.client)
        connection.client = None
        if connection in self._streams:
            self._streams.remove(connection)
            return
        with contextlib.suppress(ValueError):
            self._idle.remove(connection)
        self._free_slot()

    def _hold(self, client: str | None) -> None:
        if client is not None:
            self._held[client] = self._held.get(client, 0) + 1

    def _let_go(self, client: str | None) -> None:
        """Counts one connection less for a client, and forgets a client that holds none."""
        if client is not None:
            left = self._held.pop(client) - 1
            if left:
                self._held[client] = left

    def _drop_slot(self, client: str | None) -> None:
        """Gives a slot up before a connection came of it."""
        self._let_go(client)
        self._free_slot()

    def _free_slot(self) -> None:
        self._slots -= 1
        self._serve()

    def _serve(self) -> None:
        """Hands free connections and slots to the waiters that may have them."""
        while self._waiters.lines and (self._idle or self._slots < self._limits.max_connections):
            served = self._waiters.take(barred=self._held if self._crowded() else ())
            if served is None:
                return
            client, grant = served
            connection = self._idle.pop() if self._idle else None
            if connection is None:
                self._take_slot(client)
            elif client is not None:
                self._hold(client)
                connection.client = client
            grant.set_result(connection)

    # Ageing and the end.

    def trust(self, tls: ssl.SSLContext) -> None:
        """Connects with other certificates from now on; a call under way is the last of its connection."""
        self.dialer.trust(tls)
        for connection in self._open:
            connection.born = -math.inf
        for connection in list(self._idle):
            connection.abort()

    def retire(self) -> None:
        """Keeps no connection from now on (Rule 6)."""
        self._retired = True
        for connection in list(self._idle):
            connection.abort()

    def _sweep_at(self, when: float) -> None:
        self._sweep = asyncio.get_running_loop().call_at(when, self._close_aged)

    def _close_aged(self) -> None:
        """Closes the connections that have been idle for too long: the oldest lie at the left."""
        self._sweep = None
        while self._idle:
            connection = self._idle[0]
            due = connection.idle_since + self._limits.idle_timeout
            if due > connection.now():
                self._sweep_at(due)
                return
            connection.abort()  # `gone` takes it out

    async def aclose(self) -> None:
        """Closes every connection, breaks calls under way, turns waiters away; returns when all are gone."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for waiter in self._waiters.drain():
            if not waiter.done():
                waiter.set_exception(UpstreamFaultError(Fault(FaultKind.UNREACHABLE, "the pool is closed")))
        for connection in [*self._open, *self._closing]:
            connection.abort()
        if self._closing:
            await asyncio.wait([connection.lost for connection in self._closing])
