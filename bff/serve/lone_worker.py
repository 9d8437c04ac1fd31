"""The only serving process of a service (`workers = 1`): a worker with the ops port and its own reloads."""

import socket
from types import FrameType

from bff.app import create_app
from bff.live_settings import NotTakenError, Reloaded
from bff.observe.logs import configure, get_logger
from bff.serve.ops_port import OpsServer
from bff.serve.resources import CannotStartError, ServerResources, prepared
from bff.serve.served_app import MakeApp, ServedApp, built
from bff.serve.settings_file_watch import SettingsFileWatch
from bff.serve.settings_reload import Outcome, Source, read_again, tell_not_taken, tell_reload
from bff.serve.worker import Worker
from bff.settings.model import Settings

_log = get_logger("bff.serve")


def run(settings: Settings, make_app: MakeApp = create_app, *, source: Source | None = None) -> int:
    """Serves in this process until a signal comes; returns its exit code, 0 after a clean stop.

    Args:
        settings: all of them.
        make_app: builds the application.
        source: where they are read again, at SIGHUP and when their file changes.
    """
    configure(settings.log)
    try:
        with prepared(settings) as ground:
            return LoneWorker(ground, built(make_app, ground.settings), source).run_on(ground.listener)
    except CannotStartError as failure:
        _log.error("cannot_start", detail=str(failure))
        return 1


class LoneWorker(Worker):
    """The only serving process: it has the ops port, and logs its own steps."""

    def __init__(self, ground: ServerResources, app: ServedApp, source: Source | None = None) -> None:
        super().__init__(ground.settings, app)
        self._ground = ground
        self._source = source
        self._outcome = Outcome()
        self._ops = OpsServer(self._metrics_page, app.readiness, ground.settings.server.ops_names())

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts the application, then listens on both ports."""
        await super().startup(sockets)
        if self._ground.ops is not None:
            await self._ops.start(self._ground.ops)
        if self._source is not None and self._source.file is not None:
            watch = SettingsFileWatch(self._source.file, self.reload, self._source.seen)
            self._tasks.spawn(watch.run(lambda: self._settings), name="settings file")
        loop = type(self._loop).__module__.partition(".")[0]
        _log.info("listening", **self._ground.announcement(), loop=loop)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Turns readiness off, and stops."""
        server = self._settings.server
        self._ops.stopping = True
        _log.info("stopping", delay=server.shutdown_delay, timeout=server.shutdown_timeout)
        await super().shutdown(sockets)
        await self._ops.close()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's form
        """The first signal stops, the second forces."""
        if self.should_exit:
            self.force()
        self.stop()

    def cannot_roll(self) -> None:
        """Logs that no process is there to start a successor."""
        _log.warning("roll_refused", detail="one process cannot replace itself: set server.workers to 2")

    async def _reload(self, newer: Settings | None) -> Reloaded:
        before = self._settings
        newer = await read_again(self._source, before)
        good = newer is not None
        try:
            reloaded = await super()._reload(newer)
        except NotTakenError as error:
            tell_not_taken(error.left, str(error), several=False)
            good = False
            reloaded = await super()._reload(None)
        if good:
            self._outcome.taken(reloaded.changed)
        else:
            self._outcome.refused("invalid" if newer is None else "not_taken")
        tell_reload(changed=reloaded.changed, refused=reloaded.refused, good=good)
        return reloaded

    async def _metrics_page(self, openmetrics: bool) -> tuple[bytes, str]:
        page, kind = self._app.metrics.render(openmetrics=openmetrics)
        return self._outcome.page().encode() + page, kind
