"""Several workers: started, watched, replaced, stopped.

Rule 1: no worker outlives this process, however it ends: kill -9 closes the lifeline (`bff.child.die_with`).
Rule 2: a worker that dies is replaced, at once the first time, later and later when it happens again. One
that does not come to serve is killed. One that serves and is silent is not: it may have been stopped by hand,
and `/readyz` tells.
Rule 3: before anything has served, a worker's end is the end of all: that is a mistake in the settings.
Rule 4: a stop turns readiness off, then all workers stop as a single one does. A second signal forces; who
has not ended a little after the limit is killed.
Rule 5: SIGHUP, and a change of the settings' file, reload: the settings are checked here, built by every
worker, and then taken by all; where one cannot, all stay as they are. SIGUSR2 replaces the workers one after
the other (`rolling_restart.py`). Settings that cannot be used change nothing.
"""

import asyncio
import contextlib
import math
import os
import signal
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as OPENMETRICS

from bff.observe.logs import configure, get_logger, reopen_audit
from bff.serve.aggregation import END, Check, is_openmetrics, merged, metric, readiness_of
from bff.serve.ipc import Question
from bff.serve.ops_port import OpsServer
from bff.serve.resources import CannotStartError, ServerResources, prepared
from bff.serve.rolling_restart import GRACE, Roll, fixed, stop_limit
from bff.serve.settings_file_watch import SettingsFileWatch
from bff.serve.settings_reload import Outcome, Source, read_again, tell_not_taken, tell_reload
from bff.serve.signals import RELOAD, ROLL
from bff.serve.worker_process import COMMAND, WorkerProcess, cause_of_end
from bff.serve.worker_slot import WorkerSlot
from bff.settings.changes import NEEDS_RESTART, compare
from bff.settings.file_reloader import NoCounts, Reloader
from bff.settings.model import Settings
from bff.settings.watched_files import WatchedFiles
from bff.tasks import Tasks

_STABLE = 60.0  # seconds after which a worker's death has nothing to do with the one before
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0  # seconds before a replacement; the first comes at once
_UNBUILT = "the process {pid} has not built them within {limit:g} s (server.start_timeout)"

_log = get_logger("bff.serve")


class _Problem(NamedTuple):
    """The reason why a worker cannot take settings; `passes`: a worker stood still, the settings are good."""

    text: str
    passes: bool = False


def run(
    settings: Settings,
    command: Sequence[str] = COMMAND,
    *,
    source: Source | None = None,
) -> int:
    """Serves by `server.workers` processes until a signal comes; the exit code is 0 after a clean stop.

    Args:
        settings: all of them; the workers get them as they are.
        command: the command line of a worker.
        source: where they are read again, at a reload and before a rolling restart.
    """
    configure(settings.log)
    try:
        with prepared(settings) as resources:
            return asyncio.run(Supervisor(resources, command, source).run())
    except CannotStartError as failure:
        _log.error("cannot_start", detail=str(failure))
        return 1


def pause_before_replacing(deaths: int) -> float:
    """Seconds to wait after so many deaths in a row."""
    if deaths <= 1:
        return 0.0
    return min(math.ldexp(_FIRST_PAUSE, min(deaths - 2, 10)), _LONGEST_PAUSE)


class Supervisor:
    """The workers of one service. `run` runs it, once, from the main thread."""

    def __init__(
        self,
        resources: ServerResources,
        command: Sequence[str],
        source: Source | None = None,
    ) -> None:
        self._resources = resources
        self._source = source
        self._outcome = Outcome()
        self._tasks = Tasks()
        lifeline, self._held = os.pipe()  # the writing end is inherited by nobody
        self._slots = [
            WorkerSlot(number, resources, command, lifeline, self._tasks)
            for number in range(1, resources.settings.server.workers + 1)
        ]
        # Its own look at the files is for workers that are started later; those that run tell what they find.
        self._reloader = Reloader(WatchedFiles(resources.settings), lambda *_: None, NoCounts(), told=False)
        self._changing = asyncio.Lock()
        self._rolling = False
        self._changes: set[asyncio.Task[None]] = set()
        self._watch: SettingsFileWatch | None = None
        self._ops = OpsServer(self._metrics_page, self._readiness, resources.settings.server.ops_names())
        self._stopping, self._forced = asyncio.Event(), asyncio.Event()
        self._announced = False
        self._clean = True
        self._deaths = 0

    async def run(self) -> int:
        """Serves until a signal comes; the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled)
        loop.add_signal_handler(RELOAD, self._spawn, self._reload)
        loop.add_signal_handler(ROLL, self._spawn, self._roll)
        self._reloader.start(self._tasks)
        if self._source is not None and self._source.file is not None:
            file, seen = self._source.file, self._source.seen
            self._watch = SettingsFileWatch(file, lambda: self._spawn(self._reload), seen)
            self._tasks.spawn(self._watch.run(lambda: self._settings), name="settings file")
        if self._resources.ops is not None:
            await self._ops.start(self._resources.ops)
        keepers = [self._tasks.spawn(self._keep(slot), name=f"worker {slot.number}") for slot in self._slots]
        for keeper in keepers:
            keeper.add_done_callback(self._keeper_ended)
        try:
            await self._stopping.wait()
            await self._stop(keepers)
        finally:
            await self._kill_all()
            await self._ops.close()
            await self._tasks.cancel_all()
        _log.info("stopped", forced=self._forced.is_set())
        return 0 if self._clean and not self._forced.is_set() else 1

    # One worker after the other

    async def _keep(self, slot: WorkerSlot) -> None:
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            began = loop.time()
            code = await self._one_life(slot)
            lived = loop.time() - began
            if self._stopping.is_set():
                self._clean &= code in {0, -signal.SIGTERM}  # the latter: it had hardly begun
                return
            if not self._announced:
                self._clean = False
                cause = cause_of_end(code)
                _log.error("cannot_start", detail="a worker ended before it served", **cause)
                return
            if code == 0:
                successor = None if slot.successor is None else slot.successor.pid
                _log.info("worker_left", worker=slot.number, lived=round(lived, 1), successor=successor)
                continue
            self._deaths += 1
            slot.deaths = 1 if lived > _STABLE else slot.deaths + 1
            pause = pause_before_replacing(slot.deaths)
            _log.error(
                "worker_died",
                worker=slot.number,
                **cause_of_end(code),
                lived=round(lived, 1),
                replaced_in=pause,
            )
            if slot.successor is None:
                await self._stops_within(pause)

    async def _one_life(self, slot: WorkerSlot) -> int:
        """Sees to it that a worker serves, and waits for its end; its exit code."""
        worker, slot.successor = slot.successor, None
        if worker is None:
            try:
                settings = slot.settings or self._settings
                worker = await slot.start(settings)
            except OSError as error:
                _log.error("worker_not_started", worker=slot.number, detail=str(error))
                return 1
            if (newer := slot.settings or self._settings) is not settings:
                worker.link.reload(newer)  # they were taken while its process was being made
            self._tasks.spawn(self._watch_start(slot.number, worker), name="worker start")
        slot.worker = worker
        if self._stopping.is_set():
            worker.link.order("stop")
        code = await slot.ended(worker)
        slot.abandoned(worker)
        slot.worker = None
        return code

    async def _watch_start(self, number: int, worker: WorkerProcess) -> None:
        limit = self._settings.server.start_timeout
        serving = self._tasks.spawn(worker.link.serving.wait(), name="worker serves")
        ended = self._tasks.spawn(worker.ended(), name="worker ended")
        done, waiting = await asyncio.wait(
            [serving, ended], timeout=limit, return_when=asyncio.FIRST_COMPLETED
        )
        for task in waiting:
            task.cancel()
        if not done:
            _log.error("worker_start_timed_out", worker=number, pid=worker.pid, limit=limit)
            worker.kill()
        elif worker.serves:
            _log.info("worker_serving", worker=number, pid=worker.pid)
            if not self._announced and not self._stopping.is_set():
                self._announced = True
                _log.info("listening", **self._resources.announcement(), workers=len(self._slots))

    def _keeper_ended(self, _: asyncio.Task[None]) -> None:
        """A keeper ends when all is to stop, or when it could not go on."""
        if not self._stopping.is_set():
            self._clean = False
            self._stopping.set()

    # Changes while all goes on

    @property
    def _settings(self) -> Settings:
        return self._reloader.settings

    def _spawn(self, change: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if not self._stopping.is_set():
            task = self._tasks.spawn(change(), name=change.__name__)
            self._changes.add(task)
            task.add_done_callback(self._changes.discard)

    async def _reload(self) -> None:
        """SIGHUP, or a change of the settings' file: all processes take the settings, or none (Rule 5)."""
        reopen_audit()
        async with self._changing:
            if self._stopping.is_set():
                return
            newer = await read_again(self._source, self._settings)
            good = newer is not None and await self._all_can_take(newer)
            changed: tuple[str, ...] = ()
            # From here to the last message nothing is waited for: a worker that starts has the former
            # settings and this message, or the newer ones.
            for worker in self._living():
                worker.link.reload(newer if good else None)
            if newer is not None and good:
                changed = compare(self._settings, newer).taken
                self._reloader.take(newer, changed)
                if any(name.startswith("log.") for name in changed):
                    configure(self._settings.log)
            taken = await self._reloader.look_settled()
            changed = tuple(dict.fromkeys((*changed, *taken.changed)))
            if good:
                self._outcome.taken(changed)
            else:
                self._outcome.refused("invalid" if newer is None else "not_taken")
            refused = [problem.key for problem in taken.refused]
            tell_reload(changed=changed, refused=refused, good=good)

    async def _all_can_take(self, newer: Settings) -> bool:
        """Has each serving worker build what newer settings ask for; one that cannot speaks for all.

        A worker that dies meanwhile does not count: its successor begins with the settings then in force.
        """
        changes = compare(self._settings, newer)
        if changes.left:
            tell_not_taken(changes.left, NEEDS_RESTART, several=True)
            return False
        if not changes.taken:
            return True
        asked = [worker for worker in self._living() if worker.serves]
        answers = await asyncio.gather(*(_can_take(worker, newer) for worker in asked))
        problems = [answer for answer in answers if answer is not None]
        if not problems:
            return True
        for worker in asked:
            worker.link.order("drop")
        tell_not_taken((), "; ".join(dict.fromkeys(problem.text for problem in problems)), several=True)
        if self._watch is not None and all(problem.passes for problem in problems):
            self._watch.try_again()
        return False

    async def _roll(self) -> None:
        """SIGUSR2: a successor for each worker, in turn, by the settings as they are now."""
        if self._rolling or not self._announced:
            _log.warning("roll_refused", detail="one is under way" if self._rolling else "not all is up yet")
            return
        self._rolling = True
        try:
            async with self._changing:
                newer = await read_again(self._source, self._settings)
                if newer is None:
                    _log.error("roll_refused", detail="the settings cannot be used")
                    return
                if names := fixed(self._settings, newer):
                    _log.error("roll_refused", detail="these take a restart of the service", settings=names)
                    return
                changes = compare(self._settings, newer)
                _log.info("rolling", changed=[*changes.taken, *changes.left])
                limit = max(stop_limit(each.server) for each in (self._settings, newer))
                roll = Roll(
                    self._slots, self._tasks, newer.server.start_timeout, self._stopping.is_set, limit
                )
                if await roll.run(newer):
                    self._reloader.take(newer, ())
        finally:
            self._rolling = False

    # The end of all

    def _signalled(self) -> None:
        if self._stopping.is_set():
            self._forced.set()
        self._stopping.set()

    async def _stop(self, keepers: Sequence[asyncio.Task[None]]) -> None:
        server = self._settings.server
        self._ops.stopping = True
        _log.info("stopping", delay=server.shutdown_delay, timeout=server.shutdown_timeout)
        self._resources.listener.close()
        for slot in self._slots:
            slot.close()
        living = self._living()
        for worker in living:
            worker.link.order("stop")
        ends = [self._tasks.spawn(worker.ended(), name="worker's end") for worker in living]
        all_ended = self._tasks.spawn(_all_done([*keepers, *ends, *self._changes]), name="workers' end")
        forced = self._tasks.spawn(self._forced.wait(), name="second signal")
        await asyncio.wait(
            [all_ended, forced], timeout=stop_limit(server), return_when=asyncio.FIRST_COMPLETED
        )
        if self._forced.is_set():
            for worker in self._living():
                worker.link.order("force")
            await asyncio.wait([all_ended], timeout=GRACE)

    async def _kill_all(self) -> None:
        for slot in self._slots:
            for worker in list(slot.processes):
                if worker.has_ended:
                    continue
                self._clean = False
                _log.error("worker_killed", worker=slot.number, pid=worker.pid)
                worker.kill()
                await worker.ended()

    async def _stops_within(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    # The ops port

    def _living(self) -> list[WorkerProcess]:
        return [worker for slot in self._slots for worker in slot.processes if not worker.has_ended]

    async def _answers(self, question: Question) -> dict[int, Any]:
        """The answer of each serving worker, by its number; None from one that does not answer."""
        slots = [(slot.number, slot.successor or slot.worker) for slot in self._slots]
        serving = [(number, worker) for number, worker in slots if worker and worker.serves]
        answers = await asyncio.gather(*(worker.answer(question) for _, worker in serving))
        for (number, worker), answer in zip(serving, answers, strict=True):
            if answer is None and not worker.has_ended:
                _log.warning("worker_silent", worker=number, pid=worker.pid, asked=question)
        return {number: answer for (number, _), answer in zip(serving, answers, strict=True)}

    async def _readiness(self) -> list[Check]:
        return readiness_of(await self._answers("readiness"), of=len(self._slots))

    async def _metrics_page(self, openmetrics: bool) -> tuple[bytes, str]:
        pages = await self._answers("openmetrics" if openmetrics else "metrics")
        answered: dict[int, str] = {number: page for number, page in pages.items() if page is not None}
        own = self._outcome.page() + metric("bff_workers", "gauge", "Workers that serve.", len(pages))
        text = "Workers that ended without being told to."
        if not is_openmetrics(answered):
            own += metric("bff_worker_deaths_total", "counter", text, self._deaths)
            return merged(own, answered).encode(), CONTENT_TYPE_LATEST
        own += metric("bff_worker_deaths_total", "counter", text, self._deaths, family="bff_worker_deaths")
        return (merged(own, answered) + END).encode(), OPENMETRICS


async def _can_take(worker: WorkerProcess, newer: Settings) -> _Problem | None:
    """Returns what keeps a worker from taking settings; None where nothing does, or the worker is gone.

    It has as long as for its start: with hundreds of frontends, or on a busy machine, that takes its time.
    """
    limit = newer.server.start_timeout
    try:
        async with asyncio.timeout(limit):
            problem: str | None = await worker.link.ask("prepare", newer)
    except TimeoutError:
        late = _Problem(_UNBUILT.format(pid=worker.pid, limit=limit), passes=True)
        return None if worker.has_ended else late
    except OSError:
        return None
    return None if problem is None else _Problem(problem)


async def _all_done(tasks: Sequence[asyncio.Task[Any]]) -> None:
    await asyncio.wait(tasks)
