"""A worker among several: a program that dies with its supervisor.

It gets its sockets by inheritance and its settings by the link.
"""

import socket
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import structlog

from bff.app import create_app
from bff.child import die_with
from bff.live_settings import NotTakenError, Reloaded
from bff.observe.logs import configure, get_logger
from bff.serve.ipc import OtherVersionError, WorkerSide, receive_settings
from bff.serve.ops_port import said
from bff.serve.served_app import MakeApp, ServedApp, built
from bff.serve.settings_reload import tell_not_taken
from bff.serve.worker import Worker
from bff.settings.model import Settings

_log = get_logger("bff.serve")


def main(arguments: Sequence[str], make_app: MakeApp = create_app) -> int:
    """Serves under a supervisor.

    Args:
        arguments: the worker's number, and the descriptors of its socket, its link and the lifeline.
        make_app: builds the application.
    """
    number, listening, linked, lifeline = (int(argument) for argument in arguments)
    die_with(lifeline)
    link, listener = socket.socket(fileno=linked), socket.socket(fileno=listening)
    try:
        settings = receive_settings(link)
    except OtherVersionError as failure:
        _log.error("cannot_start", detail=f"{failure}: restart the service as a whole", worker=number)
        return 1
    configure(settings.log)
    structlog.contextvars.bind_contextvars(worker=number)
    return TeamWorker(settings, built(make_app, settings), link).run_on(listener)


class TeamWorker(Worker):
    """A worker among several, which answers to the supervisor."""

    def __init__(self, settings: Settings, app: ServedApp, link: socket.socket) -> None:
        super().__init__(settings, app)
        self._link = WorkerSide(
            link,
            answers={
                "readiness": self._readiness,
                "metrics": self._metrics,
                "openmetrics": partial(self._metrics, openmetrics=True),
                "prepare": self._prepare,
            },
            orders={"stop": self.stop, "retire": self.retire, "force": self.force, "drop": app.drop},
            reload=self.reload,
        )
        self._retires = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts the application, listens, and says so."""
        await self._link.open()
        await super().startup(sockets)
        self._link.report_serving()

    def retire(self) -> None:
        """Begins to stop without a delay: a successor serves on the same socket."""
        self._retires = self.drains = True
        self.stop()

    def _delay(self) -> float:
        return 0.0 if self._retires else super()._delay()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stops."""
        self._link.report_stopping()
        await super().shutdown(sockets)
        await self._link.close()

    async def _reload(self, newer: Settings | None) -> Reloaded:
        try:
            return await super()._reload(newer)
        except NotTakenError as error:  # all others have taken them: a successor begins with them
            tell_not_taken(error.left, str(error), several=True)
            self.stop()
            return await super()._reload(None)

    async def _prepare(self, newer: Settings | None) -> str | None:
        """Builds what newer settings ask for; returns what is wrong, None where they can be taken."""
        assert newer is not None
        try:
            await self._app.prepare(newer)
        except NotTakenError as error:
            return str(error)
        return None

    async def _readiness(self, _: Settings | None) -> list[dict[str, Any]]:
        return [said(check) for check in await self._app.readiness()]

    async def _metrics(self, _: Settings | None, *, openmetrics: bool = False) -> str:
        return self._app.metrics.render(openmetrics=openmetrics)[0].decode()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
