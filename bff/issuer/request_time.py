"""A bound on the time that a client takes for a request: uvicorn has none for the first of a connection.

Rule: a request is whole within `LONGEST` of the connection's beginning, or of the end of the answer before.
Else the connection ends: a client that sends a byte now and then holds it no longer.

The number of connections is the reverse proxy's to bound, which ends TLS.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

LONGEST = 30.0  # seconds; a form has 64 KiB at most


def timed(base: type[Any] = AutoHTTPProtocol) -> type[asyncio.Protocol]:
    """Returns one of uvicorn's protocols for HTTP, with that bound."""

    class TimedProtocol(base):  # type: ignore[misc] # which of two is known at the start
        """An HTTP connection whose requests have to come in time."""

        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            """Begins the time of the first request."""
            super().connection_made(transport)
            self._begin()

        def data_received(self, data: bytes) -> None:
            """Ends the time of a request with its last byte."""
            super().data_received(data)
            if self._is_whole():
                self._end()

        def on_response_complete(self) -> None:
            """Begins the time of the next request, of which bytes may be here already."""
            super().on_response_complete()
            if not self._is_whole():
                self._begin()

        def connection_lost(self, exc: Exception | None) -> None:
            """Ends the wait."""
            self._end()
            super().connection_lost(exc)

        def _is_whole(self) -> bool:
            """Returns True while a request that has come as a whole is being answered."""
            cycle = self.cycle
            return cycle is not None and not cycle.response_complete and not cycle.more_body

        def _begin(self) -> None:
            self._end()
            self._deadline = self.loop.call_later(LONGEST, self._late)

        def _end(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _late(self) -> None:
            self._deadline = None
            self.transport.close()

    return TimedProtocol
