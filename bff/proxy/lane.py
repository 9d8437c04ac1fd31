"""The lane: requests for configured routes answered inside uvicorn's protocol, without entering ASGI.

No task, no scope, no message dictionaries: the exchange is called as bytes arrive, and writes to the
client's transport. What is not for a configured route goes to the application, untouched.

Rule 1: whether a request goes by the lane is decided once, when its head is complete, by the same admission
as on the ASGI front.
Rule 2: the lane's cycle stands in for uvicorn's: `GuardedHttpProtocol` counts, times and ends both alike.
Rule 3: it leans on uvicorn's inner workings, which `tests/proxy/test_lane.py` pins.
"""

from typing import Any, NamedTuple, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from bff.errors import Problem
from bff.policy.admission import Admitted, Denied, RequestHead
from bff.policy.fields import Fields
from bff.policy.routes import is_own
from bff.proxy.exchange import Exchange
from bff.proxy.front_door import Refusal, RequestLine, parse_line
from bff.proxy.parts import ExchangeParts
from bff.proxy.protocol import GuardedHttpProtocol
from bff.proxy.sinks import Header

STATE = "bff_forwarding"
"""The name under which the lifespan state holds the `Forwarding`."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_NO_CONTENT, _NOT_MODIFIED = 204, 304


class Forwarding(Protocol):
    """What the lane needs of the application."""

    parts: ExchangeParts

    def admit(self, request: RequestHead) -> Admitted | Denied:
        """Applies path, method, origin and size rules."""
        ...


class LaneProtocol(GuardedHttpProtocol):
    """One client connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._forwarding: Forwarding | None = self.app_state.get(STATE)
        self._known: _KnownFields | None = None
        self._default_headers: list[Header] | None = None
        self._default_lines = b""

    # Requests

    def on_message_begin(self) -> None:
        """A request begins; what only ASGI needs is made when it turns out to be ASGI's."""
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def _dispatch(self) -> None:
        if self._forwarding is not None and not self.parser.should_upgrade():
            assert self._head is not None
            if not self._head.http_1_0 and self._take_lane(self._forwarding):
                return
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)  # the scope holds this list
        super()._dispatch()

    def _take_lane(self, forwarding: Forwarding) -> bool:
        """Whether the request whose head has just been parsed goes by the lane."""
        head, length = self._head, self._verdict
        assert head is not None
        fields = Fields(self.headers)
        keep_alive: bool = self.parser.should_keep_alive()
        body_length = length if isinstance(length, int) else None
        line = RequestLine(head.method, head.target, head.http_1_0)
        if not self._begin(forwarding, line, fields, body_length, keep_alive=keep_alive):
            return False
        if body_length == 0:
            self._known = _KnownFields(head.raw[head.raw.index(b"\r\n") :], fields, keep_alive)
        return True

    def _take_head(self, data: bytes) -> bytes:
        known = self._known
        if known is not None and not self._reader.begun:
            rest = self._take_known(known, data)
            if rest is not None:
                return rest
        return super()._take_head(data)

    def _take_known(self, known: "_KnownFields", data: bytes) -> bytes | None:
        """Takes a head whose fields are, byte for byte, those of the one before; None for any other.

        They have been judged and parsed, and there is no body: all that is left is the request line.
        """
        end = data.find(b"\r\n")
        if end < 0 or not data.startswith(known.raw, end) or self._forwarding is None:
            return None
        over = end + len(known.raw)
        line = parse_line(data[:end])
        if over > self.door.max_head_bytes or isinstance(line, Refusal) or line.http_1_0:
            return None
        self.expect_100_continue = False
        if not self._begin(self._forwarding, line, known.fields, 0, keep_alive=known.keep_alive):
            return None
        self._stop_read_watch()
        self._message_over = True
        self._head_taken()
        return data[over:]

    def _begin(
        self,
        forwarding: Forwarding,
        line: RequestLine,
        fields: Fields,
        body_length: int | None,
        *,
        keep_alive: bool,
    ) -> bool:
        path, _, query = line.target.partition(b"?")
        if is_own(path):
            return False
        peer = self.client[0] if self.client else "unknown"
        request = RequestHead(line.method, path, query, fields, peer, body_length)
        verdict = forwarding.admit(request)
        if isinstance(verdict, Denied) and verdict.problem is Problem.NO_ROUTE:
            return False
        cycle = LaneCycle(self, with_body=line.method != b"HEAD", keep_alive=keep_alive)
        cycle.exchange = Exchange(forwarding.parts, request, verdict, cycle)
        self.cycle = cycle  # type: ignore[assignment] # Rule 2
        return True

    def _head_taken(self) -> None:
        if isinstance(self.cycle, LaneCycle) and not self.cycle.begun:
            self.cycle.begun = True
            self.cycle.exchange.begin()

    def on_body(self, body: bytes) -> None:
        """A piece of the request's body."""
        cycle = self.cycle
        if not isinstance(cycle, LaneCycle):
            super().on_body(body)
        elif not cycle.response_complete:
            cycle.exchange.body(body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        cycle = self.cycle
        if not isinstance(cycle, LaneCycle):
            super().on_message_complete()
            return
        self._message_over = True
        if cycle.begun and not cycle.response_complete:
            cycle.exchange.body_end()

    # The connection

    def _client_gone(self) -> None:
        if isinstance(self.cycle, LaneCycle):
            self.cycle.disconnected = True
            self.cycle.exchange.client_gone()
        else:
            super()._client_gone()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, and with it the call under way."""
        cycle = self.cycle
        super().connection_lost(exc)
        if isinstance(cycle, LaneCycle) and not cycle.response_complete:
            cycle.exchange.client_gone()

    def pause_writing(self) -> None:
        """The client reads more slowly than we write."""
        super().pause_writing()
        if isinstance(self.cycle, LaneCycle):
            self.cycle.exchange.pause_answer()

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        if isinstance(self.cycle, LaneCycle):
            self.cycle.exchange.resume_answer()

    def default_lines(self) -> bytes:
        """The header lines of every answer; uvicorn makes the list anew each second."""
        default = self.server_state.default_headers
        if default is not self._default_headers:
            self._default_headers = default
            self._default_lines = b"".join(b"%b: %b\r\n" % header for header in default)
        return self._default_lines


class _KnownFields(NamedTuple):
    """The fields of the last head here that had no body; `raw` begins with the request line's CRLF."""

    raw: bytes
    fields: Fields
    keep_alive: bool


class LaneCycle:
    """One request and its answer, as the protocol and the exchange (`ClientSide`) see it."""

    __slots__ = (
        "_chunked",
        "_protocol",
        "_unsent",
        "_with_body",
        "begun",
        "disconnected",
        "exchange",
        "keep_alive",
        "response_complete",
        "response_started",
        "waiting_for_100_continue",
    )

    exchange: Exchange

    def __init__(self, protocol: LaneProtocol, *, with_body: bool, keep_alive: bool) -> None:
        self._protocol = protocol
        self._with_body = with_body
        self._chunked = False
        self._unsent = b""
        self.begun = False
        self.disconnected = False
        self.keep_alive = keep_alive
        self.response_started = False
        self.response_complete = False
        self.waiting_for_100_continue = protocol.expect_100_continue

    @property
    def message_event(self) -> "LaneCycle":
        """Uvicorn wakes its own cycles by an event; this one has nobody asleep."""
        return self

    def set(self) -> None:
        """Nobody is asleep."""

    def send_head(self, status: int, headers: list[Header]) -> None:
        """Writes status line and headers; a body of unknown length goes in chunks."""
        protocol = self._protocol
        self.response_started = True
        self.waiting_for_100_continue = False
        lines = [STATUS_LINE[status], protocol.default_lines()]
        known = status in {_NO_CONTENT, _NOT_MODIFIED} or not self._with_body
        self._with_body = self._with_body and status not in {_NO_CONTENT, _NOT_MODIFIED}
        for name, value in headers:
            if name == b"content-length":
                known = True
            lines += (name, b": ", value, b"\r\n")
        if not known:
            self._chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
        lines.append(b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")
        self._unsent = b"".join(lines)
        protocol.loop.call_soon(self._flush)  # unless content comes at once, and takes it along

    def send_data(self, chunk: bytes) -> None:
        """Writes a piece of the body."""
        if not self._with_body or not chunk:
            return
        head, self._unsent = self._unsent, b""
        if self._chunked:
            self._protocol.transport.write(b"%b%x\r\n%b\r\n" % (head, len(chunk), chunk))
        else:
            self._protocol.transport.write(head + chunk if head else chunk)

    def send_end(self) -> None:
        """Ends the answer; the connection goes on to the next request, or ends."""
        protocol = self._protocol
        self._flush()
        if self._chunked and self._with_body:
            protocol.transport.write(b"0\r\n\r\n")
        self.response_complete = True
        if not self.keep_alive:
            protocol._hang_up()  # noqa: SLF001 - the cycle is the protocol's own part
        protocol.on_response_complete()

    def abort(self) -> None:
        """Breaks the answer off: the client sees that it is incomplete by its framing."""
        self._flush()
        self.response_complete = True
        self._protocol.transport.abort()

    def _flush(self) -> None:
        """Writes the head, if no content has taken it along."""
        if self._unsent:
            head, self._unsent = self._unsent, b""
            self._protocol.transport.write(head)

    def pause_request(self) -> None:
        """Stops reading the request's body."""
        self._protocol.flow.pause_reading()

    def resume_request(self) -> None:
        """Goes on reading it, and tells a client that waits for it to go ahead."""
        protocol = self._protocol
        if self.waiting_for_100_continue:
            self.waiting_for_100_continue = False
            protocol.transport.write(_CONTINUE)
        protocol.flow.resume_reading()
