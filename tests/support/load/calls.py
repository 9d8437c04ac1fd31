"""Browsers that call all the while, and a count of what they are answered."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bff.tasks import Tasks
from tests.support.processes.world import Browser

CALLS_A_SECOND = 200


class Answers(Counter[tuple[int, str]]):
    """The number of answers by status and code.

    Attributes:
        refused_at: when the refusals came, in seconds of the loop's clock.
    """

    def __init__(self) -> None:
        super().__init__()
        self.refused_at: list[float] = []

    @property
    def trouble(self) -> float:
        """Seconds from the first refusal to the last."""
        return self.refused_at[-1] - self.refused_at[0] if self.refused_at else 0.0


@asynccontextmanager
async def called(browsers: list[Browser]) -> AsyncIterator[Answers]:
    """Calls all the while, each browser in turn; status and code of each answer are counted."""
    answers = Answers()

    async def call(browser: Browser) -> None:
        answer = await browser.call("/api/orders")
        if not answer.is_success:
            answers.refused_at.append(asyncio.get_running_loop().time())
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
