"""A random walk over sign-ins, calls, rotations, sign-outs, deletions, dead workers and lost servers.

The seed decides the steps. After each answer, and in the end, the invariants of `tests/faults/walk.py` are
looked at; the exit status is 1 if one is broken, and the last steps are printed.
"""

import argparse
import asyncio
import contextlib
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from tests.faults.walk import TOKENS_LAST, Walk
from tests.support.processes.fleet import running_fleet
from tests.support.processes.redis import redis_server
from tests.support.providers.behaviour import slow
from tests.support.providers.rotating import rotating_provider

GRACE = 60.0
Told = Callable[[Walk], None]


def define(parser: argparse.ArgumentParser) -> None:
    """Defines the command's arguments."""
    parser.add_argument("--workers", type=int, default=2, help="how many workers (2)")
    parser.add_argument("--keep-logs", type=Path, help="where the workers' logs go")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Walks for as long as the time lasts."""
    seed = arguments.seed or random.SystemRandom().randrange(1, 1 << 31)
    console = Console(stderr=True, emoji=False)
    console.print(f"seed {seed}, {arguments.minutes:g} minutes, {arguments.workers} workers")
    said = time.monotonic()

    def told(walk: Walk) -> None:
        nonlocal said
        if time.monotonic() - said > 30:
            said = time.monotonic()
            console.print(
                f"{said - walk.began:.0f} s, {len(walk.fleet.provider.uses)} rotations", highlight=False
            )

    walk = asyncio.run(
        walked(seed, arguments.minutes * 60, workers=arguments.workers, told=told, logs=arguments.keep_logs)
    )
    for name, count in sorted(walk.counts.items()):
        console.print(f"{count:8} {name}", highlight=False)
    for breach in walk.broken:
        console.print(f"[red]broken[/] {escape(breach)}", highlight=False)
    if walk.broken:
        console.print("the last steps:", *walk.steps, sep="\n  ", highlight=False)
    console.print(
        f"seed {seed}: " + (f"{len(walk.broken)} breaches" if walk.broken else "every invariant held")
    )
    return 1 if walk.broken else 0


async def walked(
    seed: int, seconds: float, *, workers: int = 2, told: Told = lambda _: None, logs: Path | None = None
) -> Walk:
    """A walk, from the start of all servers to their end."""
    with contextlib.ExitStack() as stack:
        folder = logs or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bff-walk-")))
        folder.mkdir(parents=True, exist_ok=True)
        redis = stack.enter_context(redis_server())
        provider = stack.enter_context(rotating_provider())
        provider.grace, provider.expires_in, provider.usual = GRACE, TOKENS_LAST, slow(0.01)
        async with running_fleet(redis, provider, folder, workers=workers, valves=False) as fleet:
            walk = Walk(fleet, seed)
            await walk.go(seconds, told=told)
            return walk
