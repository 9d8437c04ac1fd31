"""A real worker process with a small application: `python -m tests.support.small_worker SETTINGS`."""

import asyncio
import json
import sys
from typing import Any

from bff.app import Check
from bff.observe.metrics import Metrics
from bff.serve.worker import run
from bff.settings.model import Settings


class SmallApp:
    """Answers at once, or after the seconds that the path names; says when its end was awaited."""

    def __init__(self, settings: Settings) -> None:
        self.metrics = Metrics()
        self._redis = settings.redis.url.get_secret_value()
        self._fail = settings.provider.client_id == "fail-at-start"

    async def readiness(self) -> list[Check]:
        return [Check("redis", ok=True, detail=self._redis)]

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
        if self._fail:
            raise RuntimeError("this application does not start")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        sys.stderr.write('{"event": "application ended"}\n')
        await send({"type": "lifespan.shutdown.complete"})


if __name__ == "__main__":
    sys.exit(run(Settings.model_validate(json.loads(sys.argv[1])), SmallApp))
