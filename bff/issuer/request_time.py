"""The issuer's connections: bounds on a client's time and on their number, which uvicorn does not have.

Rule 1: a request is whole within `LONGEST` of the connection's beginning, or of the end of the answer before.
Else the connection ends: a client that sends a byte now and then holds it no longer.
Rule 2: a client that leaves an answer unread for `LONGEST` loses the connection, and the rest of the answer.
Rule 3: the number of connections is bounded (`connection_limit.py`). A refused one gets its 503 as soon as it
sends something; our side is closed first, and what still comes is dropped, so that the answer arrives.
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.auto import AutoHTTPProtocol

from bff.issuer.connection_limit import ConnectionLimit, most_connections

LONGEST = 30.0  # seconds; a form has 64 KiB at most
REFUSAL = 1.0
"""Seconds for a refused client to ask and to read the refusal."""
MOST_REFUSALS: Final = 64
"""Refused connections that are told so, at once; others end without a word."""

_BODY: Final = b'{"error": "temporarily_unavailable", "error_description": "too many connections"}'
_REFUSED: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n"
    b"Retry-After: 2\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)


def timed(base: type[Any] = AutoHTTPProtocol, limit: ConnectionLimit | None = None) -> type[asyncio.Protocol]:
    """Returns one of uvicorn's protocols for HTTP, with these bounds; `limit` is that of the process."""
    members = {"limit": limit or ConnectionLimit(most_connections()), "refusals": set()}
    return type("TimedProtocol", (_Timed, base), members)


class _Timed(asyncio.Protocol):
    """An HTTP connection whose requests have to come in time: goes before one of uvicorn's protocols."""

    limit: ConnectionLimit
    refusals: set[asyncio.BaseProtocol]
    cycle: Any  # uvicorn's
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport

    _deadline: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _refused = _told = False

    def connection_made(self, transport: Any) -> None:
        """Begins the time of the first request."""
        if self.limit.admit(self):
            super().connection_made(transport)
            self._begin()
        else:
            self._refuse(transport)

    def data_received(self, data: bytes) -> None:
        """Ends the time of a request with its last byte."""
        if self._refused:
            self._tell_refusal()
            return
        super().data_received(data)
        if self._is_whole():
            self._end()

    def on_response_complete(self) -> None:
        """Begins the time of the next request, of which bytes may be here already."""
        super().on_response_complete()  # type: ignore[misc] # uvicorn's
        if not self._is_whole():
            self._begin()

    def pause_writing(self) -> None:
        """Begins the time for reading an answer."""
        super().pause_writing()
        self._unread = self.loop.call_later(LONGEST, self.transport.abort)

    def resume_writing(self) -> None:
        """Ends that time."""
        self._end_unread()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the waits."""
        self._end()
        self._end_unread()
        self.limit.leave(self)
        if self._refused:
            self.refusals.discard(self)
        else:
            super().connection_lost(exc)

    def give_way(self) -> None:
        """Ends a connection that waits for its client; the rest of an unread answer is dropped."""
        self._end()
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def _is_whole(self) -> bool:
        """Returns True while a request that has come as a whole is being answered."""
        cycle = self.cycle
        return cycle is not None and not cycle.response_complete and not cycle.more_body

    def _begin(self) -> None:
        self._end()
        self.limit.wait(self)
        self._deadline = self.loop.call_later(LONGEST, self.give_way)

    def _end(self) -> None:
        self.limit.work(self)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _refuse(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self._refused = True
        if len(self.refusals) < MOST_REFUSALS:
            self.refusals.add(self)
            self._deadline = self.loop.call_later(REFUSAL, transport.abort)
        else:
            transport.abort()

    def _tell_refusal(self) -> None:
        if not self._told:
            self._told = True
            self.transport.write(_REFUSED)
            self.transport.write_eof()
