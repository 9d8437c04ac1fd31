"""The watch of the settings' own file: whole changes only, each once."""

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bff.serve.settings_file_watch import TRIES, SettingsFileWatch
from bff.serve.settings_reload import Source, read_again
from bff.settings.load import load
from bff.settings.model import Settings
from bff.settings.watched_files import SETTLE, Fingerprint
from bff.settings.watched_files import fingerprint as fingerprint_of

pytestmark = pytest.mark.requirement("P-02")

SETTINGS = {
    "server": {"public_url": "http://localhost", "reload_interval": 0.05},
    "provider": {"issuer": "http://localhost:1", "client_id": "spa"},
}
LONG_AGO = 1_000_000_000


def fingerprint(number: int, changed: int) -> Fingerprint:
    return (1, number, 0o600, 100, changed, changed)


def test_a_change_is_told_once_and_a_gap_is_none() -> None:
    """A file that is replaced is told of once it is there, and not again while it stays."""
    told: list[int] = []
    watch = SettingsFileWatch(Path("bff.toml"), lambda: told.append(1))
    assert [False, False, False] == [watch.look(seen) for seen in (None, fingerprint(1, LONG_AGO), None)]
    assert not watch.look(fingerprint(1, LONG_AGO))
    assert [1] == told
    assert not watch.look(fingerprint(2, LONG_AGO))
    assert [1, 1] == told


def test_a_file_that_is_being_written_is_waited_for() -> None:
    """It may look whole: nothing is read until it has been left alone."""
    told: list[int] = []
    watch = SettingsFileWatch(Path("bff.toml"), lambda: told.append(1))
    ahead = int((2**40 + SETTLE) * 1e9)  # a moment that is still to come, by any clock
    assert [True, True] == [watch.look(fingerprint(number, ahead)) for number in (1, 2)]
    assert [] == told


def test_a_change_that_was_not_taken_for_a_moment_is_told_again() -> None:
    """At the next looks, five times for one change; a newer change has its own five."""
    told: list[int] = []
    watch = SettingsFileWatch(Path("bff.toml"), lambda: told.append(1), fingerprint(1, LONG_AGO))
    for change in (2, 3):
        told.clear()
        watch.look(fingerprint(change, LONG_AGO))
        watch.look(fingerprint(change, LONG_AGO))
        assert [1] == told
        with capture_logs() as lines:
            for _ in range(TRIES + 3):
                watch.try_again()
                assert not watch.look(fingerprint(change, LONG_AGO))
        assert 1 + TRIES == len(told)
        tries = [{"number": number + 1, "of": TRIES} for number in range(TRIES)]
        assert [{"event": "settings_tried_again", "log_level": "warning", **one} for one in tries] == lines


async def test_a_change_while_the_process_starts(tmp_path: Path) -> None:
    """A file that was changed between its reading and the first look is told of."""
    file, told = tmp_path / "bff.toml", asyncio.Event()
    file.write_text("one")
    read = fingerprint_of(file)
    file.write_text("another")
    watch = SettingsFileWatch(file, told.set, read)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        settings = Settings.model_validate(SETTINGS)
        running = group.create_task(watch.run(lambda: settings))
        await told.wait()
        running.cancel()


async def test_a_file_of_many_mistakes(tmp_path: Path) -> None:
    """The log has fifty of them and the number of the others: a file may have tens of thousands."""
    file = tmp_path / "bff.toml"
    file.write_text("[server]\n" + "".join(f"unknown{number} = 1\n" for number in range(200)))
    with capture_logs() as lines:
        taken = await read_again(Source(lambda: load(file, {})), Settings.model_validate(SETTINGS))
    assert None is taken
    assert 51 == len(lines)
    assert int(lines[-1]["problem"].partition(" ")[0]) >= 150
