"""The settings of a running process kept up to date with the files that they come from.

Rule 1: the files are looked at every few seconds beside the event loop, at a signal, and at once where the
server keys do not know what another process has signed.
Rule 2: no log line holds a part of a file.
"""

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Protocol

from bff.observe.logs import get_logger
from bff.settings.model import Settings
from bff.settings.problem import SettingProblem
from bff.settings.watched_files import SETTLE, Seen, Taken, WatchedFiles, read, see
from bff.tasks import Tasks

_PROMPT = SETTLE / 2  # seconds until a file is looked at again that has changed a moment ago

Apply = Callable[[Settings, Collection[str]], None]
"""Puts settings in force, given the names of the changed ones; raises OSError or ValueError if it cannot."""

_log = get_logger("bff.settings")


class ReloadCounts(Protocol):
    """The counters of reloads."""

    def files_followed(self, settings: Collection[str]) -> None:
        """Names the settings whose files are followed: their counters begin at 0."""

    def reloaded(self, setting: str, *, refused: bool) -> None:
        """A file's change was put in force, or refused."""

    def files_refused(self, count: int) -> None:
        """Sets the number of files whose last change is not in force."""


class NoCounts:
    """Counters of a process without metrics."""

    def files_followed(self, settings: Collection[str]) -> None:
        """Counts nothing."""

    def reloaded(self, setting: str, *, refused: bool) -> None:
        """Counts nothing."""

    def files_refused(self, count: int) -> None:
        """Counts nothing."""


class Reloader:
    """Watches the files of the settings of one process.

    Args:
        files: the files, and the settings in force.
        apply: puts a change in force.
        counts: where changes are counted.
        told: False for a process whose siblings log the same change.
    """

    def __init__(self, files: WatchedFiles, apply: Apply, counts: ReloadCounts, *, told: bool = True) -> None:
        self._files = files
        self._apply = apply
        self._counts = counts
        self._told = told
        self._looking = asyncio.Lock()  # the watch waits for an operator's look, which tells of what it finds
        self._name_files()

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._files.settings

    def start(self, tasks: Tasks, tick: Callable[[], None] = lambda: None) -> None:
        """Begins to look every `server.reload_interval` seconds; `tick` is called after each look."""
        tasks.spawn(self._watch(tick), name="watched files")

    async def _watch(self, tick: Callable[[], None]) -> None:
        while True:
            waiting = False
            try:
                async with self._looking:
                    await self.look()
                waiting = self._files.waiting(await self._see())
                tick()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next change is not to be missed
                _log.error("settings_watch_failed", exc_info=error)
            interval = self.settings.server.reload_interval
            await asyncio.sleep(min(interval, _PROMPT) if waiting else interval)

    async def look(self, *, forced: bool = False) -> Taken:
        """Looks at all files now, and puts changes in force; with `forced` bad files are logged again."""
        due = self._files.due(await self._see(), wall=time.time(), steady=time.monotonic(), forced=forced)
        reads = await asyncio.to_thread(read, due, self.settings) if due else []
        return self._put_in_force(self._files.take(reads, forced=forced))

    async def look_settled(self) -> Taken:
        """Looks for an operator who has just written a file: waits for its end, and logs bad files."""
        async with self._looking:
            deadline = time.monotonic() + 3 * SETTLE
            changed = (await self.look()).changed
            while self._files.waiting(await self._see()) and time.monotonic() < deadline:
                await asyncio.sleep(_PROMPT)
                changed += (await self.look()).changed
            last = await self.look(forced=True)
            return Taken(last.settings, changed + last.changed, last.refused)

    def look_now(self, setting: str) -> bool:
        """Looks at one setting's file without waiting; True if it has changed.

        A small file is read on the event loop: a caller that has met something unknown cannot go on before.
        """
        sources = [source for source in self._files.sources() if source.setting == setting]
        seen = see([path for source in sources for path in source.paths])
        due = self._files.due(seen, wall=time.time(), steady=time.monotonic())
        due = [source for source in due if source.setting == setting]
        if not due:
            return False
        return bool(self._put_in_force(self._files.take(read(due, self.settings))).changed)

    def take(self, settings: Settings, changed: Collection[str]) -> None:
        """Puts settings in force that another part has read."""
        self._files.replace(settings)
        self._name_files()
        self._apply(settings, changed)

    def _name_files(self) -> None:
        self._counts.files_followed({source.setting for source in self._files.sources()})

    async def _see(self) -> Seen:
        return await asyncio.to_thread(see, self._files.paths())

    def _put_in_force(self, taken: Taken) -> Taken:
        for setting in taken.changed:
            self._counts.reloaded(setting, refused=False)
        for problem in taken.refused:
            self._refuse(problem)
        self._counts.files_refused(len(self._files.bad))
        if taken.changed:
            try:
                self._apply(taken.settings, taken.changed)
            except (OSError, ValueError) as error:  # a file that changed again between check and use
                self._refuse(
                    SettingProblem(", ".join(taken.changed), f"cannot be used: {error}", "correct the file")
                )
            else:
                if self._told:
                    _log.info("settings_reloaded", settings=list(taken.changed))
        return taken

    def _refuse(self, problem: SettingProblem) -> None:
        named = (source.setting for source in self._files.sources() if problem.key in source.about)
        self._counts.reloaded(next(named, problem.key), refused=True)
        if self._told:
            _log.error(
                "settings_file_refused",
                **problem.log_fields(),
                detail="the former values stay in force",
            )
