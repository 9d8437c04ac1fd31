"""The settings read again while the proxy runs, and the outcome."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bff.observe.logs import audit, get_logger
from bff.serve.aggregation import metric
from bff.settings.changes import keep_files, way_of
from bff.settings.model import Settings
from bff.settings.problem import SettingsError
from bff.settings.watched_files import Fingerprint

ReadSettings = Callable[[], Settings]
"""Reads the settings as they are now, as the command did at its start; SettingsError with every problem."""

_MOST_TOLD = 50  # problems of one reading, in the log

_log = get_logger("bff.serve")


@dataclass(frozen=True, slots=True)
class Source:
    """The source of the settings. `file` is None where no file was read; `seen` is its state before that."""

    read: ReadSettings
    file: Path | None = None
    seen: Fingerprint | None = None


class Outcome:
    """The outcome of the last reload, for the log and the metrics.

    `generation` is 1 at the start; each reload that changes something adds 1.
    """

    def __init__(self) -> None:
        self.generation = 1
        self._successful = True
        self._at = time.time()

    def taken(self, changed: Sequence[str]) -> None:
        """The settings were read again, and are in force; `changed` are those that differ from the former."""
        self._successful, self._at = True, time.time()
        if changed:
            self.generation += 1
            audit("settings_changed", reason="reload", settings=list(changed), generation=self.generation)

    def refused(self, reason: str) -> None:
        """Notes that newer settings were refused: the former ones stay in force, all of them."""
        self._successful = False
        audit("settings_change_refused", reason=reason, generation=self.generation)

    def page(self) -> str:
        """Returns the metrics of reloads, in Prometheus' text format."""
        return (
            metric("bff_settings_generation", "gauge", "Settings since the start.", self.generation)
            + metric(
                "bff_settings_last_reload_successful",
                "gauge",
                "Whether the settings that were read last are in force: 1 or 0.",
                int(self._successful),
            )
            + metric(
                "bff_settings_last_reload_success_timestamp_seconds",
                "gauge",
                "When settings were last read and are in force.",
                self._at,
            )
        )


async def read_again(source: Source | None, current: Settings) -> Settings | None:
    """The settings as they are now; None where they cannot be used, which the log tells, problem by problem.

    Args:
        source: reads them; None for a process that was not given a way.
        current: those in force; the private Redis that runs stays the same.
    """
    if source is None:
        return current
    try:
        newer = await asyncio.to_thread(source.read)
    except SettingsError as error:
        kept, more = "the former settings stay in force", len(error.problems) - _MOST_TOLD
        for problem in error.problems[:_MOST_TOLD]:
            _log.error("settings_refused", **problem.log_fields(), detail=kept)
        if more > 0:
            fix = "`bff check --offline` tells all of them"
            _log.error("settings_refused", problem=f"{more} more problems", fix=fix, detail=kept)
        return None
    if newer.redis.url.get_secret_value() == "embedded":
        newer = newer.model_copy(update={"redis": newer.redis.model_copy(update={"url": current.redis.url})})
    return keep_files(current, newer)


def tell_not_taken(left: Sequence[str], why: str, *, several: bool) -> None:
    """Writes that newer settings were not taken: all that are `left` need a restart, or they failed."""
    roll = [name for name in left if several and way_of(name) != "restart"]
    restart = [name for name in left if name not in roll]
    more: dict[str, object] = {"needs_sigusr2": roll} if roll else {}
    if restart:
        more["needs_restart"] = restart
    _log.error(
        "settings_not_taken",
        **more,
        problem=why,
        detail="the former settings stay in force, all of them",
    )


def tell_reload(*, changed: Sequence[str], refused: Sequence[str], good: bool) -> None:
    """Writes the outcome of a reload: the changes in force, and the files whose change was refused."""
    (_log.warning if refused or not good else _log.info)(
        "reloaded", changed=list(changed), refused=list(refused), settings_good=good
    )
