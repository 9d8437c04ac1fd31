"""One run of the data path on one input: clients, sessions and backends that do anything, in any order."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import uvicorn
from uvicorn.server import ServerState

from bff.proxy.forward.current_app import STATE, CurrentApp
from bff.proxy.server.http_protocol import HttpServerProtocol
from bff.serve.uvicorn_config import client_protocol
from bff.settings.model import ServerSettings
from tests.tools.soak.hand_loop import HandLoop, Wire
from tests.tools.soak.path_answers import pieces
from tests.tools.soak.path_reading import answered, asked
from tests.tools.soak.path_world import ENDED, HANDLES, BackendWire, World

_MOST_STEPS = 40
_MOST_CLIENTS = 4
_PATIENCE = 6  # moments of a second: the store, a queue, a go-ahead
WITH_ASGI, CUT_SHORT = 2, 32  # options: both fronts are compared; clients leave with all that is under way
RAW = 5  # the kind of step
_HEARD = 0.2  # seconds after which the ASGI front too knows that a client has left (`asgi_client_side.py`)
_HEARD_WITH_BODY = 70.0  # the same while no backend takes a body: not before the wait for it ends
_SECONDS = (0.01, 0.06, 0.2, 1.1, 5.5, 31.0, 61.0, 301.0)

_LINES = (
    b"GET /api/x HTTP/1.1", b"GET /api/x HTTP/1.1", b"GET /api/y?q=1 HTTP/1.1", b"GET /open/z HTTP/1.1",
    b"HEAD /api/x HTTP/1.1", b"POST /api/p HTTP/1.1", b"GET /bff/user HTTP/1.1", b"GET /may/m HTTP/1.1",
)  # fmt: skip
_COOKIES = (
    b"Cookie: bff=" + HANDLES["a"].encode() + b"\r\n", b"Cookie: bff=" + HANDLES["b"].encode() + b"\r\n", b"",
    b"Cookie: x=1; bff=" + HANDLES["a"].encode() + b"\r\nCookie: bff=" + HANDLES["b"].encode() + b"\r\n",
)  # fmt: skip
_MORE = (
    (b"", b""), (b"", b""), (b"Sec-Fetch-Site: cross-site\r\n", b""), (b"Connection: close\r\n", b""),
    (b"X-More: 1\r\n", b""),
    (b"Content-Length: 5\r\n", b"hello"),
    (b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"),
    (b"Content-Length: 5\r\nExpect: 100-continue\r\n", b"hello"),
)  # fmt: skip
_DENIED = 0x40  # which is answered at once


def request(how: int) -> bytes:
    """One of the grammar's requests: three bits of line, two of cookie, three of what else."""
    fields, body = _MORE[how >> 5]
    head = _LINES[how & 7] + b"\r\nHost: app.example.com\r\nX-CSRF: 1\r\n" + _COOKIES[how >> 3 & 3] + fields
    return head + b"\r\n" + body


@dataclass
class Client:
    """One client connection. `floors`: how much it had sent when the sessions were of which versions."""

    wire: Wire
    sent: bytearray = field(default_factory=bytearray)
    last: bytes = b""
    kept: bytes = b""  # begun, and not yet sent
    floors: list[tuple[int, dict[str, int]]] = field(default_factory=list)


class Bench(Protocol):
    """The parts that all runs share: no run may change them."""

    loop: HandLoop
    config: uvicorn.Config
    settings: ServerSettings
    world: World


def cut(data: bytes, how: int) -> list[bytes]:
    """Cuts bytes into pieces: 0, one; 1, each byte; else two."""
    if how == 0 or len(data) < 2:
        return [data] if data else []
    if how == 1:
        return [data[at : at + 1] for at in range(len(data))]
    at = 1 + how % (len(data) - 1)
    return [data[:at], data[at:]]


def steps(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Gives the steps of an input: what, how, and the bytes that a raw one sends."""
    at = 2
    for _ in range(_MOST_STEPS):
        if at + 1 >= len(data):
            return
        what, how = data[at : at + 2]
        raw = data[at + 2 : at + 2 + (how & 63)] if what & 15 == RAW else b""
        at += 2 + len(raw)
        yield what, how, raw


class Run:
    """One input on one front, its pieces cut or not.

    Attributes:
        passed_over: a call waited for a connection while one was kept for clients that hold none.
        held: a slow client's answer held its connection while there were other calls or connections.
    """

    def __init__(self, bench: Bench, data: bytes, front: str, *, cut: int = 0, cut_answers: int = 0) -> None:
        options = data[0]
        self.loop = bench.loop
        self.world = World(self.loop, cached=not options & 4, connections=1 + (options >> 3 & 1))
        self.clients: list[Client] = []
        self._steps = steps(data)
        self._cut, self._cut_answers = cut, cut_answers
        self._compared_to_asgi = options & 3 == WITH_ASGI
        self._over_asgi = front == "asgi"
        self._see_it_through = not options & CUT_SHORT
        self._same_peer = not options & 16
        self._rush = False
        self.passed_over = self.held = False
        self._state = ServerState()
        bench.world = self.world
        protocol = client_protocol(bench.settings)
        app_state = {STATE: CurrentApp(self.world.forwarding, self.world.lines)} if front == "server" else {}
        self._accepted: Callable[[], HttpServerProtocol] = lambda: protocol(
            bench.config, self._state, app_state, _loop=self.loop
        )

    # Steps

    def play(self) -> None:
        """All steps, and then whatever it takes for everything to come to its end."""
        self.connect()
        for what, how, raw in self._steps:
            self._rush = bool(what & 128)
            self._step(what & 15, how, raw, self.clients[(what >> 4 & 7) % len(self.clients)])
            self._turn()
        self._rush = False
        self.loop.settle()
        self._finish()

    def _turn(self) -> None:
        if not self._rush:
            self.loop.settle()
        pool = self.world.pool.stats()
        self.passed_over |= bool(pool.waiting and pool.idle)
        if pool.waiting or pool.open > 1:
            self.held |= any(wire._paused and not wire.over for wire in self.world.wires)
        assert not self.loop.errors, self.loop.errors

    def _step(  # noqa: C901, PLR0912 - a list of what can happen
        self, what: int, how: int, raw: bytes, client: Client
    ) -> None:
        match what:
            case 0 | 1:
                client.last = request(how)
                self.send(client, client.last)
            case 2 | 3:  # again, one by one or pipelined
                again = [client.last] * (1 + (how & 3))
                for piece in [b"".join(again)] if how & 4 else again:
                    self.send(client, piece)
            case 4:  # a part of it; the rest comes before anything else
                begun = client.last if how & 1 else request(0)
                at = (how >> 3) * len(begun) >> 5
                self.send(client, (request(_DENIED) if how & 2 else b"") + begun[:at])
                client.kept = b"" if how & 4 else begun[at:]  # or it comes to something else
            case 5:
                self.send(client, raw)
            case 6 | 7 | 8 | 9:
                waiting = [wire for wire in self.world.wires if wire.waits]
                if waiting:
                    self.answer(waiting[(how >> 7) % len(waiting)], 0 if what == 6 else how & 127)
            case 10:
                for wire in self.world.wires:
                    self.more(wire, 1 + (how & 3))
            case 11:
                self._client_event(how, client)
                if self._compared_to_asgi and not self._rush:
                    self.loop.advance(_HEARD)
            case 12:
                if self.world.wires:
                    self._backend_event(how & 7, self.world.wires[(how >> 3) % len(self.world.wires)])
            case 13:
                self.loop.advance(_SECONDS[how & 7])
            case 14:
                self._session_event(how)
            case _:
                self.world.dialing = how % 3

    def connect(self) -> None:
        """A client connects."""
        peer = "127.0.0.1" if self._same_peer else f"127.0.0.{1 + len(self.clients)}"
        wire = Wire(self.loop, peer)
        wire.protocol = self._accepted()
        wire.protocol.connection_made(wire)
        self.clients.append(Client(wire))
        self.world.clients.append(wire)

    def send(self, client: Client, data: bytes) -> None:
        """A client sends, what it had kept first."""
        data, client.kept = client.kept + data, b""
        for piece in cut(data, self._cut):
            if client.wire.over:
                return
            client.sent += piece
            client.floors.append((len(client.sent), dict(self.world.store.versions)))
            client.wire.feed(piece)
            self._turn()

    def answer(self, wire: BackendWire, kind: int) -> None:
        """A backend answers the request that waits there, or begins to."""
        assert wire.call is not None
        wire.answering = True
        number = self.world.calls.index(wire.call)
        wire.pending = pieces(wire.call, number, kind)
        self.more(wire, 1 if kind & 64 else len(wire.pending))

    def more(self, wire: BackendWire, count: int) -> None:
        """Sends more pieces of the answer."""
        for _ in range(min(count, len(wire.pending))):
            piece = wire.pending.pop(0)
            sound = wire.call is None or wire.call.sound  # what is too much is so in one read
            for part in [piece] if piece is None else cut(piece, self._cut_answers * sound):
                if not wire.over:
                    wire.feed(part)
                    self._turn()

    def _client_event(self, how: int, client: Client) -> None:
        wire = client.wire
        match how & 7:
            case 0:
                wire.feed(None)
            case 1:
                wire.lose(ConnectionResetError())
            case 2:
                wire.slow = True
            case 3:
                wire.drain()
            case 4 | 5 if len(self.clients) < _MOST_CLIENTS:
                self.connect()
            case 6:
                wire.protocol.shutdown()
            case 7:
                wire.abort()
            case _:
                pass

    def _backend_event(self, how: int, wire: BackendWire) -> None:
        if wire.lost:
            return
        match how:
            case 0 | 4:
                wire.feed(None)
            case 1:
                wire.lose(ConnectionResetError())
            case 5:
                wire.abort()  # it is being lost, and will be told so
            case 2:
                wire.slow = True
            case 3:
                wire.drain()
            case 6 | 7 if wire.waits or wire.pending:
                pass  # it would be taken for the answer, and rightly so
            case 6:
                wire.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Planted: 1\r\n\r\n")
            case _:
                wire.feed(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")

    def _session_event(self, how: int) -> None:
        store, name = self.world.store, "ab"[how >> 3 & 1]
        match how & 7:
            case 0 | 1:
                store.rotate(name)
            case 2 if how & 16:
                store.change(name, ENDED)
            case 3:
                store.reachable = not store.reachable
            case 4:
                store.distrust()
            case 5 | 6:
                self.world.refresher.mode = how % 3
            case _:
                if store.cache is not None:
                    store.cache.changed(None)

    # The end

    def _finish(self) -> None:
        self.world.dialing = 0
        if self._see_it_through:
            self._answer_all()
            self._check_answered()
        for client in self.clients:
            client.wire.lose(None)
        self._turn()
        if self._over_asgi:
            self.loop.advance(self._until_heard())
        live = [wire for wire in self.world.wires if not wire.over]
        stats = self.world.pool.stats()
        assert (len(live), len(live), 0) == (stats.open, stats.idle, stats.waiting), (live, stats)
        for wire in live:
            assert wire.protocol._call is None
            assert wire.protocol._fast is None
        self.loop.advance(400.0)
        assert not self._state.connections
        assert not self._state.tasks
        assert not len(self.world.tasks)
        closing = self.loop.create_task(self.world.pool.aclose())
        self._turn()
        assert closing.done()
        assert all(wire.lost for wire in self.world.wires)
        assert 0 == self.world.pool.stats().open
        self.loop.advance(400.0)
        assert 0 == self.loop.timers

    def _until_heard(self) -> float:
        sent = [request for client in self.clients for request in asked(bytes(client.sent))]
        return _HEARD_WITH_BODY if any(request.announced for request in sent) else _HEARD

    def _answer_all(self) -> None:
        for wire in [*self.world.clients, *self.world.wires]:
            wire.drain()
        self._turn()
        waits = 0
        while waits < _PATIENCE:
            busy = [wire for wire in self.world.wires if not wire.over and (wire.waits or wire.pending)]
            waits += not busy
            for wire in busy:
                if wire.waits:
                    self.answer(wire, 0)
                self.more(wire, 9)
            self.loop.advance(0.01 if busy else 1.1)

    def _check_answered(self) -> None:
        """Checks that each client that is still there has got an answer to each whole request."""
        for client in self.clients:
            if not (client.wire.over or client.wire.said_eof):
                requests = asked(bytes(client.sent))
                got = answered(bytes(client.wire.written), requests, ended=False)
                last = bool(got) and got[-1].fields.get(b"connection") == b"close"
                assert last or len(got) >= sum(one.whole for one in requests), (requests, got)
