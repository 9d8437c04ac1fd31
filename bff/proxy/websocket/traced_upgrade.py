"""Upgrades that leave a trace: the handshake is a span, and the socket's life is none."""

from typing import Any

from websockets.asyncio.client import ClientConnection

from bff.credentials.credential import Anonymous, Refused, Signed
from bff.policy.fields import Header
from bff.proxy.forward.call_accounting import CLIENT_GONE
from bff.proxy.forward.traced_calls import attempted, begun
from bff.proxy.websocket.upgrade import Upgrade
from bff.upstream.websocket_connector import Answered

_SWITCHING = 101


class TracedUpgrade(Upgrade):
    """An upgrade with its trace."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._trace = begun(self._context, self._request, self._verdict.route)

    async def _cleared(self) -> tuple[Signed | Anonymous, tuple[Header, ...]] | Refused:
        with self._trace.attached():
            return await super()._cleared()

    async def _opened(self) -> ClientConnection | Answered | Refused | None:
        with self._trace.attached():
            return await super()._opened()

    async def _call(self) -> ClientConnection | Answered | Refused:
        self._request, self._ids = attempted(self._trace, self._request, self._ids, self._admitted)
        outcome = await super()._call()
        if isinstance(outcome, Refused):
            self._trace.attempt_over(None, outcome.problem.code)
        else:
            self._trace.attempt_over(outcome.status if isinstance(outcome, Answered) else _SWITCHING)
        return outcome

    def _note(self, status: int) -> None:
        if not self._answered:
            gone = status == CLIENT_GONE
            self._trace.end(0 if gone else status, "client_gone" if gone else None)
        super()._note(status)
