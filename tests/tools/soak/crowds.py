"""Crowds at four workers: a thousand calls of one session at once, and many sessions that end in one minute.

The thousand are tried with a provider that answers in 0.1, 3, 6 and 12 seconds, with a token that is over,
and with one that the backend refuses, after bodies of up to the replay buffer. Of the sessions each has to be
rotated once, with no more token calls at once than the settings allow, and no call may take longer than the
time limit.
"""

import argparse
import asyncio
import contextlib
import random
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bff.settings.model import ProviderSettings, RefreshSettings
from tests.support.load.crowd import crowd, wrong_with
from tests.support.load.load_burst import storm
from tests.support.processes.fleet import Fleet, running_fleet
from tests.support.processes.redis import redis_server
from tests.support.providers.behaviour import slow
from tests.support.providers.rotating import rotating_provider

WORKERS = 4
DELAYS = (0.1, 3.0, 6.0, 12.0)  # seconds that the provider takes
BODIES = (1, 1024, 16 * 1024, 64 * 1024)
WINDOW = 60.0  # seconds within which the sessions' tokens end
PROVIDER_TAKES = 0.2  # seconds, then
LIMIT = RefreshSettings.model_fields["timeout"].default
TOKEN_CALLS = ProviderSettings.model_fields["max_token_calls"].default

_console = Console(stderr=True)


def define(parser: argparse.ArgumentParser) -> None:
    """Defines the command's arguments."""
    parser.add_argument("--calls", type=int, default=1000, help="how many calls at once (1000)")
    parser.add_argument("--sessions", type=int, default=10_000, help="how many sessions end (10000)")
    parser.add_argument("--keep-logs", type=Path, help="where the workers' logs go")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Runs all; it takes as long as it takes, `--minutes` or not."""
    seed = arguments.seed or random.SystemRandom().randrange(1, 1 << 31)
    _console.print(f"seed {seed}")
    wrong = asyncio.run(_run(arguments.calls, arguments.sessions, seed, arguments.keep_logs))
    for line in wrong:
        _console.print(f"[red]wrong[/] {line}", highlight=False)
    return 1 if wrong else 0


async def _run(calls: int, sessions: int, seed: int, logs: Path | None) -> list[str]:
    wrong = await _crowds(calls, logs) if calls else []
    return wrong + (await _storm(sessions, seed, logs) if sessions else [])


async def _crowds(calls: int, logs: Path | None) -> list[str]:
    wrong = []
    table = Table("trigger", "provider takes", "calls", "answers", "token calls", "slowest")
    async with _fleet(logs) as fleet:
        for delay in DELAYS:
            fleet.provider.usual = slow(delay)
            for trigger in ("expired", "401 with a body"):
                refused = trigger != "expired"
                member = await fleet.member(left=3600.0 if refused else -1.0)
                if refused:
                    fleet.provider.forget_access()
                said = await crowd(fleet, member, calls, bodies=BODIES if refused else ())
                found = await wrong_with(fleet, member, said)
                wrong += [f"{trigger}, {delay:g} s: {each}" for each in found]
                good = sum(each.status == 200 for each in said)
                used = len(fleet.provider.uses_of(member.family))
                slowest = max(each.seconds for each in said)
                table.add_row(
                    trigger, f"{delay:g} s", str(calls), f"{good} x 200", str(used), f"{slowest:.1f} s"
                )
                fleet.backend.requests.clear()
    _console.print(table)
    return wrong


async def _storm(sessions: int, seed: int, logs: Path | None) -> list[str]:
    async with _fleet(logs) as fleet:
        fleet.provider.usual = slow(PROVIDER_TAKES)
        limit = TOKEN_CALLS * WORKERS
        result = await storm(fleet, sessions, window=WINDOW, each=60, limit=limit, seed=seed)
    _console.print(
        f"{sessions} sessions in {WINDOW:g} s, seed {seed}: {dict(result.answers)} answers, the slowest in "
        f"{result.seconds:.1f} of {LIMIT:g} s; tokens {dict(result.rotations)}; "
        f"{result.most_at_once} of {limit} token calls at once",
        highlight=False,
    )
    return result.wrong(within=LIMIT)


@contextlib.asynccontextmanager
async def _fleet(logs: Path | None) -> AsyncIterator[Fleet]:
    with contextlib.ExitStack() as stack:
        folder = logs or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bff-crowds-")))
        folder.mkdir(parents=True, exist_ok=True)
        redis = stack.enter_context(redis_server())
        provider = stack.enter_context(rotating_provider())
        async with running_fleet(redis, provider, folder, workers=WORKERS, valves=False) as fleet:
            yield fleet
