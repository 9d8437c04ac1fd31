"""The server protocol under fuzzing: what reaches the application is what a slower reader finds.

Input: one byte (where the bytes are cut), then what a client sent on one connection.
"""

import asyncio
import functools
import re
import weakref
from dataclasses import dataclass, field
from typing import Any

import h11
import uvicorn
from uvicorn.server import ServerState

from bff.policy.request_refusal import Refusal
from bff.proxy.server.http_protocol import HttpServerProtocol
from bff.serve.uvicorn_config import client_protocol
from bff.settings.model import ServerSettings
from tests.support.error_log import no_error_logged

HOST = b"app.example.com"
_IDLE_TURNS = 4
"""So many turns of the loop without a word, and the application waits for more of a body."""

_CONTINUE = 100  # said or not, as the body comes
_OWN = re.compile(rb"\Ahttp://app\.example\.com(:80)?(?=[/?]|$)", re.IGNORECASE)
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) [A-Z]")

Request = tuple[bytes, bytes, bytes]
"""Method, target, content."""


class Wire(asyncio.Transport):
    """A transport without a socket."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.paused = False
        self.over = self.lost = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name in {"peername", "sockname"} else default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.lost, "written to a lost connection: uvloop raises"
        self.written += data

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def is_closing(self) -> bool:
        return self.over

    def close(self) -> None:
        self.over = True

    abort = close

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0


@dataclass
class Served:
    """The outcome of one connection."""

    requests: list[Request] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)


class Door:
    """The protocol on a loop of its own, in front of an application that takes everything."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        weakref.finalize(self, self.loop.close)  # with the process, where it serves all inputs
        self.errors: list[str] = []  # no input may cause one
        self.loop.set_exception_handler(lambda _, context: self.errors.append(str(context)))
        self.served = Served()
        settings = ServerSettings(public_url=f"http://{HOST.decode()}")
        self.protocol = client_protocol(settings, self.refused)
        self.config = uvicorn.Config(
            self.app, interface="asgi3", lifespan="off", ws="none", log_config=None, access_log=False,
            proxy_headers=False,
        )  # fmt: skip
        self.config.load()

    def refused(self, refusal: Refusal, _: str) -> None:
        """Notes a refusal by its code alone: its text may depend on the pieces."""
        self.served.refusals.append(refusal.problem.code)

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
        else:
            return
        query = scope["query_string"]
        target = scope["raw_path"] + (b"?" + query if query else b"")
        self.served.requests.append((scope["method"].encode("ascii"), target, body))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    def serve(self, pieces: list[bytes]) -> Served:
        """Feeds one connection to its end; what is said and logged on the way is checked."""
        with no_error_logged():
            return self._serve(pieces)

    def _serve(self, pieces: list[bytes]) -> Served:
        served = self.served = Served()
        state = ServerState()
        connection: HttpServerProtocol = self.protocol(self.config, state, {}, _loop=self.loop)
        wire = Wire()
        connection.connection_made(wire)
        for piece in pieces:
            if wire.over:
                break
            connection.data_received(piece)
            self._run(state, wire)
        assert wire.over or not wire.paused, "reading is paused, and nothing is under way"
        wire.over = True
        connection.connection_lost(None)
        wire.lost = True
        self._run(state, wire)
        assert not self.errors, self.errors
        statuses = [int(status) for status in _STATUS.findall(wire.written)]
        assert not served.refusals or statuses[-1] != _CONTINUE, "something is said after the last word"
        served.statuses = [status for status in statuses if status != _CONTINUE]
        return served

    def _run(self, state: ServerState, wire: Wire) -> None:
        turns, before = 0, -1
        while (state.tasks or wire.paused) and turns < _IDLE_TURNS:
            self.loop.run_until_complete(asyncio.sleep(0))
            words = len(self.served.requests) + len(wire.written)
            turns, before = (turns + 1 if words == before else 0), words


@functools.cache
def door() -> Door:
    """One door serves all inputs: nothing may stick to it."""
    return Door()


def reference(data: bytes) -> list[Request]:
    """The requests that h11 finds, up to the first that it refuses; it lets through more than we do."""
    found: list[Request] = []
    goes_on = True
    while goes_on:
        server = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        server.receive_data(data.removeprefix(b"\r\n"))  # one empty line may come first (RFC 9112, 2.2)
        try:
            request = _next(server)
        except h11.RemoteProtocolError:
            break
        if request is None:
            break
        method, target, body = request
        target = _OWN.sub(b"", target)
        target = target if target.startswith(b"/") else b"/" + target
        path, _, query = target.partition(b"?")
        found.append((method, target if query else path, body))  # ASGI cannot tell an empty query from none
        data = server.trailing_data[0]
        goes_on = repr(server.states[h11.CLIENT]) in {"DONE", "MIGHT_SWITCH_PROTOCOL"}
    return found


def _next(server: h11.Connection) -> Request | None:
    asked, body = None, b""
    while isinstance(event := server.next_event(), h11.Request | h11.Data):
        if isinstance(event, h11.Request):
            asked = event
        else:
            body += event.data
    whole = isinstance(event, h11.EndOfMessage) and asked is not None
    return (asked.method, asked.target, body) if whole and asked is not None else None


def check(data: bytes) -> None:
    """Raises AssertionError where a request is framed wrongly, and whatever the protocol raises."""
    if len(data) < 2:
        return
    sent = data[1:]
    at = 1 + data[0] % len(sent)
    whole = door().serve([sent])
    halves = door().serve([piece for piece in (sent[:at], sent[at:]) if piece])
    parts = door().serve([sent[i : i + 1] for i in range(len(sent))])
    assert whole == halves, (whole, halves)
    assert whole == parts, (whole, parts)
    assert len(whole.refusals) <= 1
    assert len(whole.requests) + len(whole.refusals) >= len(whole.statuses)
    assert whole.requests == reference(sent)[: len(whole.requests)], whole.requests
