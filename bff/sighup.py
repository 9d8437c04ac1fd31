"""A server that SIGHUP does not end: the issuer, which reloads its server keys, and the sample API.

By default the signal ends a process at once, with every request under way.
"""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Awaitable, Callable

import uvicorn

from bff.observe.logs import get_logger
from bff.tasks import Tasks

Reload = Callable[[], Awaitable[None]]
"""Takes what can be taken without a restart, and tells the log of it."""

_log = get_logger("bff.serve")


async def reload_nothing() -> None:
    """Says that there is nothing to reload."""
    _log.warning("nothing_reloaded", detail="settings are read at the start alone: restart to change them")


def serve(
    config: uvicorn.Config, listener: socket.socket | None = None, reload: Reload = reload_nothing
) -> bool:
    """Serves until a signal comes, as `uvicorn.run` does; False if it could not begin.

    It listens on the `listener`, or makes its own; SIGHUP calls `reload`.
    """
    server = SteadyServer(config, reload)
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=None if listener is None else [listener])
    return server.started


def ignore_hangups() -> None:
    """Ignores the signal until there is a handler: a program's first line."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


class SteadyServer(uvicorn.Server):
    """Serves like `uvicorn.run`, and reloads at SIGHUP; a signal during a reload is a second one after it."""

    def __init__(self, config: uvicorn.Config, reload: Reload = reload_nothing) -> None:
        super().__init__(config)
        self._reload = reload
        self._tasks = Tasks()
        self._turn = asyncio.Lock()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts, with a handler in place."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hang_up)
        await super().startup(sockets)

    def _hang_up(self) -> None:
        self._tasks.spawn(self._in_turn(), name="reload")

    async def _in_turn(self) -> None:
        async with self._turn:
            await self._reload()
