"""The watch of the settings' own file, for a reload without a signal."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from bff.observe.logs import get_logger
from bff.settings.model import Settings
from bff.settings.watched_files import SETTLE, Fingerprint, Settling, see

TRIES = 5
"""The tries for one change: each may hold up others for `server.start_timeout`."""

_log = get_logger("bff.serve")


class SettingsFileWatch:
    """The watch of the settings' own file: `changed` is called once it has been left alone after a change.

    A file that is not there is no change: an editor or a swap of links may be replacing it. `known` is the
    state of the file that was read; None takes the first one seen for that.
    """

    def __init__(self, file: Path, changed: Callable[[], None], known: Fingerprint | None = None) -> None:
        self._file = file
        self._changed = changed
        self._settling = Settling()
        self._known = known
        self._again, self._tries = False, 0

    async def run(self, settings: Callable[[], Settings]) -> None:
        """Looks every `server.reload_interval`, more often while the file settles."""
        if self._known is None:
            self._known = (await self._see())[self._file]
        while True:
            server = settings().server
            waiting = server.watch_settings and self.look((await self._see())[self._file])
            await asyncio.sleep(
                min(server.reload_interval, SETTLE / 2) if waiting else server.reload_interval
            )

    def try_again(self) -> None:
        """Has the next look tell of the last change again: what kept it from being taken will pass.

        Not more than TRIES times for one change.
        """
        self._again = True

    def look(self, seen: Fingerprint | None) -> bool:
        """Takes what was seen; returns true while a change has yet to settle."""
        if seen is None:
            return False
        if seen == self._known:
            self._tell_again()
            return False
        if not self._settling.is_settled(self._file, seen, time.time(), time.monotonic()):
            return True
        self._known = seen
        self._again, self._tries = False, 0
        self._changed()
        return False

    def _tell_again(self) -> None:
        if self._again and self._tries < TRIES:
            self._tries += 1
            _log.warning("settings_tried_again", number=self._tries, of=TRIES)
            self._changed()
        self._again = False

    async def _see(self) -> dict[Path, Fingerprint | None]:
        return await asyncio.to_thread(see, [self._file])
