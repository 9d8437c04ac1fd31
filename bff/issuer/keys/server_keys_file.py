"""The issuer's server keys, followed in their file while it runs (`server_keys_file`).

Rule 1: a change is read once the file has been left alone for `SETTLE`, like the proxy's own files.
Rule 2: newer keys are taken only if every signing key in Redis opens with them: else the issuer that runs
would be one that cannot start again. A refused file leaves the former keys in force, and is logged once for
each change, and at each SIGHUP. While Redis is down nothing is decided: the next look does that.
"""

import asyncio
import threading
import time
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Final

import redis

from bff.issuer.keys.key_record import KeysUnusableError
from bff.issuer.keys.key_store import KeyStore
from bff.issuer.settings import read_server_keys
from bff.issuer.store.sealing import Sealer
from bff.observe.logs import get_logger
from bff.settings.watched_files import SETTLE, Fingerprint, Settling, see

INTERVAL: Final = 5.0
"""Seconds between two looks at the file."""

_PROMPT = SETTLE / 2  # seconds until a file is looked at again that has changed a moment ago
_SETTING = "server_keys_file"

_log = get_logger("bff.issuer")


class Look(Enum):
    """The outcome of one look at the file."""

    SAME = "same"
    WAITING = "waiting"
    TAKEN = "taken"
    REFUSED = "refused"
    LATER = "later"


class ServerKeysFile:
    """The file of one issuer's server keys; calls may come from several threads.

    Args:
        path: the file.
        in_force: the keys that were read from it at the start.
        keys: opens and seals signing keys with them.
    """

    def __init__(self, path: Path, in_force: Sequence[str], keys: KeyStore) -> None:
        self._path = path
        self._in_force = tuple(in_force)
        self._keys = keys
        self._settling = Settling()
        self._known: tuple[Fingerprint | None] | None = None  # the file as it was last judged; not yet: None
        self._bad = False
        self._lock = threading.RLock()

    def look(self, *, forced: bool = False) -> Look:
        """Looks now, and takes a change; with `forced` a bad file is read and logged again. Blocks."""
        with self._lock:
            found = (see([self._path])[self._path],)
            if found == self._known and not (forced and self._bad):
                return Look.SAME
            if not self._settling.is_settled(self._path, found[0], time.time(), time.monotonic()):
                return Look.WAITING
            return self._take(found)

    def ask(self) -> bool:
        """Looks, after a key that does not open; returns True if there are newer keys now."""
        return self.look() is Look.TAKEN

    async def watch(self) -> None:
        """Looks again and again."""
        while True:
            try:
                outcome = await asyncio.to_thread(self.look)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next change is not to be missed
                outcome = Look.SAME
                _log.error("settings_watch_failed", exc_info=error)
            await asyncio.sleep(_PROMPT if outcome is Look.WAITING else INTERVAL)

    async def reload(self) -> None:
        """Looks for an operator who has just written the file, and logs the keys in force."""
        before = self._in_force
        deadline = time.monotonic() + 3 * SETTLE
        while (outcome := await asyncio.to_thread(self.look, forced=True)) is Look.WAITING:
            if time.monotonic() >= deadline:
                break
            await asyncio.sleep(_PROMPT)
        changed = [_SETTING] if self._in_force != before else []
        refused = [] if outcome in {Look.SAME, Look.TAKEN} else [_SETTING]
        (_log.warning if refused else _log.info)(
            "reloaded",
            changed=changed,
            refused=refused,
            detail="of the issuer's settings the server keys alone are read again: restart to change others",
        )

    def _take(self, found: tuple[Fingerprint | None]) -> Look:
        try:
            newer = read_server_keys(self._path, patience=0.0)
            if newer != self._in_force:
                self._keys.take_server_keys(Sealer(newer))
        except (ValueError, KeysUnusableError) as error:
            self._known, self._bad = found, True
            _log.error(
                "settings_file_refused",
                setting=_SETTING,
                problem=str(error).removeprefix(f"{_SETTING}: "),
                source=f"file {self._path}",
                detail="the former values stay in force",
            )
            return Look.REFUSED
        except redis.RedisError as error:
            _log.warning("server_keys_not_taken_yet", reason=type(error).__name__)
            return Look.LATER
        same, self._known, self._bad = newer == self._in_force, found, False
        if same:
            return Look.SAME
        self._in_force = newer
        _log.info("settings_reloaded", settings=[_SETTING])
        return Look.TAKEN
