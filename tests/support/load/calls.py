"""Browsers that call all the while, and a count of what they are answered."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bff.tasks import Tasks
from tests.support.processes.world import Browser

CALLS_A_SECOND = 200


@asynccontextmanager
async def called(browsers: list[Browser]) -> AsyncIterator[Counter[tuple[int, str]]]:
    """Calls all the while, each browser in turn; status and code of each answer are counted."""
    answers: Counter[tuple[int, str]] = Counter()

    async def call(browser: Browser) -> None:
        answer = await browser.call("/api/orders")
        answers[answer.status_code, "" if answer.is_success else answer.json()["code"]] += 1

    async def go_on() -> None:
        async with asyncio.TaskGroup() as calls:
            while not stop.is_set():
                for browser in browsers:
                    calls.create_task(call(browser))
                    await asyncio.sleep(1 / CALLS_A_SECOND)

    stop = asyncio.Event()
    running = Tasks().spawn(go_on(), name="calls")
    try:
        yield answers
    finally:
        stop.set()
        await running


async def answers(browser: Browser, status: int) -> bool:
    return (await browser.call("/api/orders")).status_code == status
