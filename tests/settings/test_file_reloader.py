"""The watch of files beside an operator's own look at them."""

import asyncio
from pathlib import Path

import pytest

from bff.settings.file_reloader import NoCounts, Reloader
from bff.settings.load import load
from bff.settings.watched_files import Taken, WatchedFiles
from bff.tasks import Tasks
from tests.support.settings import GOOD_ENV, KEY, OTHER, secret
from tests.support.wait import until


@pytest.mark.requirement("S-09")
async def test_an_operators_look_tells_of_all_that_it_waits_for(tmp_path: Path) -> None:
    """While it waits for a file to settle, the watch does not look: it would take the change, untold."""
    looks: list[str] = []

    class Noted(Reloader):
        async def look(self, *, forced: bool = False) -> Taken:
            task = asyncio.current_task()
            looks.append(task.get_name() if task else "")
            return await super().look(forced=forced)

    keys = secret(str(tmp_path / "keys"), KEY)
    variables = {name: value for name, value in GOOD_ENV.items() if name != "BFF_SESSION__KEYS"}
    settings = load(None, {**variables, "BFF_SESSION__KEYS_FILE": str(keys)})
    reloader, tasks = Noted(WatchedFiles(settings), lambda *_: None, NoCounts()), Tasks()
    keys.write_text(f"{OTHER}\n{KEY}\n")
    try:
        operator = tasks.spawn(reloader.look_settled(), name="operator")
        await until(lambda: bool(looks))
        reloader.start(tasks)
        assert ("session.keys_file",) == (await operator).changed
        await until(lambda: "watched files" in looks)
        assert ["operator"] * looks.count("operator") == looks[: looks.index("watched files")]
    finally:
        await tasks.cancel_all()
