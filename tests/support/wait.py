"""Waiting for a condition, never for a time."""

import asyncio
from collections.abc import Awaitable, Callable

PATIENCE = 60.0
"""Seconds that anything may take that a test waits for: no test fails because its machine is slow."""


async def until(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Waits until a condition holds that no event announces; fails after a generous while."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the condition belongs to other parts, and has no event
            await asyncio.sleep(0.005)


async def until_async(condition: Callable[[], Awaitable[bool]], seconds: float = PATIENCE) -> None:
    """Waits as `until` for a condition that has to be awaited."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.005)
