"""A task that goes on beside the test."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
_ATTEMPTS = 30


@contextlib.asynccontextmanager
async def background(work: Coroutine[Any, Any, T]) -> AsyncIterator[asyncio.Task[T]]:
    """Starts it; at the end it is cancelled if it is not done, and waited for.

    As `bff.tasks` does, it is cancelled again where a library took the cancellation for something else.
    """
    task = asyncio.create_task(work)  # noqa: TID251 - held by this context until it is done
    try:
        yield task
    finally:
        for _ in range(_ATTEMPTS):
            if not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=1)
        assert task.done(), "it cannot be cancelled"
        if not task.cancelled():
            task.exception()  # looked at, so that nobody complains that nobody did
