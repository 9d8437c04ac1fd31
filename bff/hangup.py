"""A server that SIGHUP does not end: for programs that have nothing to reload, the issuer and the sample API.

By default the signal ends a process at once, with every request under way.
"""

import asyncio
import contextlib
import signal
import socket

import uvicorn

from bff.observe.logs import get_logger

_log = get_logger("bff.serve")


def serve(config: uvicorn.Config, listener: socket.socket | None = None) -> bool:
    """Serves until a signal comes, as `uvicorn.run` does; False if it could not begin.

    It listens on the `listener`, or makes its own.
    """
    server = SteadyServer(config)
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=None if listener is None else [listener])
    return server.started


def ignore_hangups() -> None:
    """Ignores the signal until there is a handler: a program's first line."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


class SteadyServer(uvicorn.Server):
    """Serves like `uvicorn.run`, and says at SIGHUP that nothing was reloaded."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts, with a handler in place."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._say)
        await super().startup(sockets)

    def _say(self) -> None:
        _log.warning(
            "nothing_reloaded", detail="settings are read at the start alone: restart to change them"
        )
