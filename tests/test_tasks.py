"""Background tasks: kept, named, logged, drained."""

import asyncio
import gc
import weakref

import pytest
from structlog.testing import capture_logs

from bff.tasks import Tasks


async def test_a_task_gives_its_result() -> None:
    """What the coroutine returns, the awaiter gets."""

    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    tasks = Tasks()
    task = tasks.spawn(work(), name="work")
    assert 1 == len(tasks)
    assert 7 == await task
    assert 0 == len(tasks)


async def test_a_task_nobody_holds_is_not_collected() -> None:
    """A task lives on though its starter has dropped it, and nothing else refers to it."""
    tasks, done = Tasks(), asyncio.Event()
    waiting: list[weakref.ref[asyncio.Future[None]]] = []

    async def work() -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(weakref.ref(future))
        await future
        done.set()

    tasks.spawn(work(), name="work")
    await asyncio.sleep(0)
    gc.collect()
    future = waiting[0]()
    assert future is not None, "task and future were collected as garbage"
    future.set_result(None)
    async with asyncio.timeout(60):
        await done.wait()


async def test_errors_are_logged_with_the_name() -> None:
    """An error that nobody awaits is still seen, under the task's name."""

    async def fail() -> None:
        raise RuntimeError("broken")

    tasks = Tasks()
    with capture_logs() as logs:
        tasks.spawn(fail(), name="refresh abc")
        assert [] == await tasks.drain(5)
    assert [("task_failed", "refresh abc", "error")] == [
        (r["event"], r["task"], r["log_level"]) for r in logs
    ]
    assert "broken" == str(logs[0]["exc_info"])


async def test_the_awaiter_gets_the_error_too() -> None:
    """Logging an error does not swallow it."""

    async def fail() -> None:
        raise RuntimeError("broken")

    with capture_logs(), pytest.raises(RuntimeError, match="broken"):
        await Tasks().spawn(fail(), name="fail")


@pytest.mark.requirement("T-02")
async def test_a_cancelled_waiter_leaves_the_task_running() -> None:
    """A client that goes away does not cancel what was begun for it."""
    tasks, release = Tasks(), asyncio.Event()

    async def work() -> str:
        await release.wait()
        return "saved"

    task = tasks.spawn(work(), name="refresh")

    async def wait() -> str:
        return await asyncio.shield(task)

    waiter = tasks.spawn(wait(), name="request")
    await asyncio.sleep(0)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert ["refresh"] == await tasks.drain(0)
    release.set()
    assert "saved" == await task
    assert 0 == len(tasks)


@pytest.mark.requirement("T-03")
async def test_drain_waits_for_tasks_that_start_meanwhile() -> None:
    """The end waits for what the last task starts in turn."""
    tasks, seen = Tasks(), []

    async def second() -> None:
        await asyncio.sleep(0)
        seen.append("second")

    async def first() -> None:
        await asyncio.sleep(0)
        tasks.spawn(second(), name="second")
        seen.append("first")

    tasks.spawn(first(), name="first")
    assert [] == await tasks.drain(5)
    assert ["first", "second"] == seen


async def test_drain_names_what_still_runs_and_cancels_nothing() -> None:
    """After the time limit the caller learns who is late, and they go on."""
    tasks, release = Tasks(), asyncio.Event()
    late = [tasks.spawn(release.wait(), name=name) for name in ("b", "a")]
    assert ["a", "b"] == await tasks.drain(0.01)
    assert [False, False] == [task.done() for task in late]
    release.set()
    assert [] == await tasks.drain(5)
    assert [False, False] == [task.cancelled() for task in late]


async def test_cancel_all_ends_everything_and_waits_for_it() -> None:
    """After `cancel_all` nothing runs, and the tasks' own clean-up is done."""
    tasks, cleaned = Tasks(), []

    async def work(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned.append(name)

    for name in ("a", "b"):
        tasks.spawn(work(name), name=name)
    await asyncio.sleep(0)
    with capture_logs() as logs:
        await tasks.cancel_all()
    assert ["a", "b"] == sorted(cleaned)
    assert 0 == len(tasks)
    assert [] == logs


async def test_cancel_all_logs_an_error_raised_while_ending() -> None:
    """A clean-up that fails is logged and does not stop the others."""

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("disk full")

    tasks = Tasks()
    tasks.spawn(work(), name="work")
    await asyncio.sleep(0)
    with capture_logs() as logs:
        await tasks.cancel_all()
    assert ["task_failed"] == [record["event"] for record in logs]


async def test_a_cancellation_that_got_lost_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that takes the first one for something else does not hold up the end."""
    monkeypatch.setattr("bff.tasks._CANCEL_AGAIN", 0.01)
    lost = 0

    async def work() -> None:
        nonlocal lost
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            lost += 1
        await asyncio.Event().wait()

    tasks = Tasks()
    tasks.spawn(work(), name="work")
    await asyncio.sleep(0)
    async with asyncio.timeout(60):
        await tasks.cancel_all()
    assert (1, 0) == (lost, len(tasks))
