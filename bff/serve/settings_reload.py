"""The settings read again while the proxy runs, and the log lines about that."""

import asyncio
from collections.abc import Callable, Sequence

from bff.observe.logs import get_logger
from bff.settings.changes import FIXED, keep_files
from bff.settings.model import Settings
from bff.settings.problem import SettingsError

ReadSettings = Callable[[], Settings]
"""Reads the settings as they are now, as the command did at its start; SettingsError with every problem."""

_log = get_logger("bff.serve")


async def read_again(settings: ReadSettings | None, current: Settings) -> Settings | None:
    """The settings as they are now; None where they cannot be used, which the log tells, problem by problem.

    Args:
        settings: reads them; None for a process that was not given a way.
        current: those in force; the private Redis that runs stays the same.
    """
    if settings is None:
        return current
    try:
        newer = await asyncio.to_thread(settings)
    except SettingsError as error:
        for problem in error.problems:
            _log.error(
                "settings_refused",
                **problem.log_fields(),
                detail="the former settings stay in force",
            )
        return None
    if newer.redis.url.get_secret_value() == "embedded":
        newer = newer.model_copy(update={"redis": newer.redis.model_copy(update={"url": current.redis.url})})
    return keep_files(current, newer)


def tell_reload(
    *, changed: Sequence[str], refused: Sequence[str], left: Sequence[str], several: bool, good: bool
) -> None:
    """Writes the outcome of a SIGHUP: the changes in force, those refused, and those that need more."""
    roll = [name for name in left if several and name not in FIXED]
    restart = [name for name in left if name not in roll]
    more = {"needs_sigusr2": roll} if roll else {}
    if restart:
        more["needs_restart"] = restart
    (_log.warning if left or refused or not good else _log.info)(
        "reloaded", changed=list(changed), refused=list(refused), settings_good=good, **more
    )
