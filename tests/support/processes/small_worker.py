"""Worker processes with a small application: `python -m tests.support.processes.small_worker FILE`."""

import asyncio
import sys
from pathlib import Path
from typing import Any
from weakref import finalize

from bff.live_settings import Reloaded
from bff.observe.metrics import Metrics
from bff.serve import lone_worker, supervisor, team_worker, worker
from bff.serve.settings_reload import Source
from bff.settings.model import Settings
from bff.web.readiness import Check
from tests.support.processes.forked_workers import fork_workers


class _Part:
    """A part that only the garbage collector can free."""

    def __init__(self) -> None:
        self.itself = self
        finalize(self, sys.stderr.write, '{"event": "former part freed"}\n').atexit = False


class SmallApp:
    """Answers at once, or after the seconds that the path names; says when its end was awaited.

    Newer settings replace a part of it, which refers to itself; it says when that one is no more.
    """

    def __init__(self, settings: Settings) -> None:
        self.metrics = Metrics()
        self._redis = settings.redis.url.get_secret_value()
        self._settings = settings
        self._start = settings.provider.client_id
        self._part = _Part()

    async def readiness(self) -> list[Check]:
        return [Check("redis", ok=True, detail=self._redis)]

    async def reload(self, newer: Settings | None = None, taken: Any = None) -> Reloaded:
        if newer is None or newer == self._settings:
            return Reloaded(self._settings, (), ())
        self._settings, self._part = newer, _Part()
        taken(newer)
        return Reloaded(newer, ("limits.timeout",), ())

    async def prepare(self, newer: Settings) -> None:
        pass

    def drop(self) -> None:
        pass

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
        await send({"type": "http.response.body", "body": b"do", "more_body": True})
        await asyncio.sleep(float(scope["path"][1:] or 0))
        await send({"type": "http.response.body", "body": b"ne"})

    async def _lifespan(self, receive: Any, send: Any) -> None:
        await receive()
        if self._start == "fail-at-start":
            raise RuntimeError("this application does not start")
        if self._start == "hang-at-start":
            await asyncio.Event().wait()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        sys.stderr.write('{"event": "application ended"}\n')
        await send({"type": "lifespan.shutdown.complete"})


TEAM = "--team"


def main() -> int:
    worker.Worker.drain_time = 60.0  # no test has to be faster
    if sys.argv[1] == TEAM:
        return team_worker.main(sys.argv[2:], SmallApp)

    def read() -> Settings:
        return Settings.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))

    settings = read()
    if settings.server.workers == 1:
        return lone_worker.run(settings, SmallApp, source=Source(read, Path(sys.argv[1])))
    fork_workers()
    command = (sys.executable, "-m", "tests.support.processes.small_worker", TEAM)
    return supervisor.run(settings, command, source=Source(read, Path(sys.argv[1])))


if __name__ == "__main__":
    sys.exit(main())
