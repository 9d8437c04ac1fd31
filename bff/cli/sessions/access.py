"""A command's access to the sessions: settings, connection, interruption, and errors in one line."""

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from bff.cli.settings import FAILED, UNUSABLE
from bff.errors import StoreUnavailableError
from bff.observe.logs import configure, name_each
from bff.observe.metrics import Metrics
from bff.session.operator_actions import OperatorActions
from bff.session.redis_errors import trouble
from bff.session.store import SessionStore
from bff.settings.frontends import frontends_of
from bff.settings.load import load_all
from bff.settings.model import Settings
from bff.settings.problem import SettingsError
from bff.settings.redis_urls import redis_target

INTERRUPTED: Final = 130
_REST = 1.0  # half of the time is live traffic's
_NICENESS: Final = 10
_PATIENCE = 10.0  # seconds for an answer: nobody waits for it but the operator

Result = TypeVar("Result")


class Stop:
    """An interruption by Ctrl-C or SIGTERM: noted once, so that the part under way is finished."""

    def __init__(self) -> None:
        self.asked = False

    def arm(self) -> None:
        """Notes the signals from now on, in the loop that runs."""
        loop = asyncio.get_running_loop()

        def note(number: int) -> None:
            self.asked = True
            loop.remove_signal_handler(number)  # a second one ends it at once

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, note, number)


def load_settings(config: Path | None) -> Settings:
    """Reads the settings; each problem is one line on standard error, and exit code 2."""
    try:
        settings = load_all(config, os.environ).settings
    except SettingsError as error:
        for problem in error.problems:
            where = f"{problem.source}: " if problem.source else ""
            say(f"{where}{problem.key or 'settings'} {problem.message}: {problem.fix}")
        raise typer.Exit(UNUSABLE) from None
    if settings.redis.url.get_secret_value() == "embedded":
        say("redis.url is embedded, a Redis that ends with bff serve: name it by BFF_REDIS__URL=redis://…")
        raise typer.Exit(UNUSABLE)
    configure(settings.log)
    name_each(frontends=len(frontends_of(settings)) > 1, providers=bool(settings.more_providers))
    return settings


def run(
    settings: Settings, work: Callable[[OperatorActions, Stop], Awaitable[Result]], *, fast: bool = False
) -> Result:
    """Does the work; a failure of Redis is one line with the setting and the remedy, and exit code 1."""
    if not fast:
        give_way()
    try:
        return asyncio.run(_run(settings, work, fast=fast))
    except StoreUnavailableError as failure:
        found = trouble(failure.__cause__)
        target = redis_target(settings.redis.url.get_secret_value())
        fail(f"redis.url: Redis at {target}: {found.detail}: {found.fix}")


def give_way() -> None:
    """Lowers the priority of this process: on a busy machine live traffic goes first."""
    os.nice(_NICENESS)


async def _run(
    settings: Settings, work: Callable[[OperatorActions, Stop], Awaitable[Result]], *, fast: bool
) -> Result:
    redis = settings.redis.model_copy(update={"timeout": max(settings.redis.timeout, _PATIENCE)})
    store, stop = SessionStore(redis, Metrics()), Stop()
    actions = OperatorActions(
        store,
        providers=[each.name for each in settings.providers()],
        claims=settings.session.readable_claims,
        kept=settings.session.idle_timeout,
        clock=time.time,
        rest=0.0 if fast else _REST,
    )
    try:
        stop.arm()
        return await work(actions, stop)
    finally:
        await store.aclose()


@contextmanager
def progress(what: str) -> Iterator[Callable[[float, str], None]]:
    """Shows the progress of long work on a terminal: the number done, and a few words."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[words]}"),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=1.0, words="")
        yield lambda done, words: bar.update(task, completed=done, words=words)


def say(text: str) -> None:
    """Writes a line to standard error."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(text, markup=False)


def fail(text: str, code: int = FAILED) -> NoReturn:
    """Writes a line to standard error, and ends the command."""
    say(text)
    raise typer.Exit(code)
