"""The life of an application in this process, as a server gives it one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, cast

from bff.app import App
from bff.tasks import Tasks


@contextlib.asynccontextmanager
async def living(app: App) -> AsyncIterator[dict[str, Any]]:
    """Runs the application's lifespan, and gives the state that its connections get."""
    wishes: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    answers: asyncio.Queue[Any] = asyncio.Queue()
    tasks = Tasks()
    state: dict[str, Any] = {}
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": state}
    life = tasks.spawn(cast("Any", app(scope, wishes.get, answers.put)), name="lifespan")
    await wishes.put({"type": "lifespan.startup"})
    assert (await answers.get())["type"] == "lifespan.startup.complete"
    try:
        yield state
    finally:
        await wishes.put({"type": "lifespan.shutdown"})
        await life
