"""The command `python3 -m tests.tools.bench.instructions`: the cost of a call, counted and not timed.

Rule 1: the cost is the difference between 2 N calls and N calls, so that what happens once is not in it.
"""

import argparse
import asyncio
import contextlib
import gc
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bff.embedded import EmbeddedRedis
from bff.observe.logs import configure
from bff.settings.model import LogSettings
from tests.tools.bench.call_loop import LOADS, Load, call_loop
from tests.tools.bench.programs import find

_TEXT = """
Counts what one call costs a worker: instructions, and misses of the processor's caches, as valgrind simulates
them. The figures are the same on a busy machine. They are those of the process alone: the kernel's share,
sockets and Redis are not in them. To compare two versions of the code, run it in the folder of each.

Needed: valgrind (apt-get install valgrind).
"""
_EXAMPLES = """
examples:
  python3 -m tests.tools.bench.instructions                         of `mixed` traffic, two minutes
  python3 -m tests.tools.bench.instructions --load forwarded        behind a reverse proxy
  python3 -m tests.tools.bench.instructions --load miss             each session read from Redis
  python3 -m tests.tools.bench.instructions --load slide            each session's use noted there
  python3 -m tests.tools.bench.instructions --frontends 1 100 --caches
  python3 -m tests.tools.bench.instructions --keep /tmp/profile     for callgrind_annotate
"""
_CACHES = {"I1": "32768,8,64", "D1": "32768,8,64", "LL": "1048576,8,64"}
"""Size, ways and line of a server's caches. Valgrind knows two levels: its last is the second one here."""

_BOUND = 3600  # seconds of one run


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one call.

    Attributes:
        near_misses: of both caches of the first level; None where they were not simulated.
        far_misses: of those the ones that the second level has not either.
    """

    instructions: float
    near_misses: float | None = None
    far_misses: float | None = None


def counts_in(dump: str) -> dict[str, int]:
    """Returns the counts of a profile of callgrind, by the names of the events.

    Raises:
        ValueError: it has none.
    """
    events = re.search(r"^events: (.+)$", dump, re.MULTILINE)
    totals = re.search(r"^(?:totals|summary): (.+)$", dump, re.MULTILINE)
    if events is None or totals is None:
        raise ValueError("no profile of callgrind")
    names, numbers = events[1].split(), [int(number) for number in totals[1].split()]
    zeros = [0] * (len(names) - len(numbers))  # those at the end are left out
    return dict(zip(names, numbers + zeros, strict=True))


def cost_of(once: Mapping[str, int], twice: Mapping[str, int], calls: int) -> Cost:
    """Returns the cost of a call from the counts of so many and of twice as many."""

    def each(*names: str) -> float | None:
        if not all(name in twice for name in names):
            return None
        return sum(twice[name] - once[name] for name in names) / calls

    return Cost(each("Ir") or 0.0, each("I1mr", "D1mr", "D1mw"), each("ILmr", "DLmr", "DLmw"))


def command(options: argparse.Namespace, frontends: int, folder: Path) -> list[str]:
    """Returns valgrind's command line for one run, whose profiles go to `folder`."""
    caches = ["--cache-sim=yes", *(f"--{name}={cache}" for name, cache in _CACHES.items())]
    return [
        "valgrind",
        "--tool=callgrind",
        "--instr-atstart=no",
        f"--callgrind-out-file={folder / 'profile'}",
        *(caches if options.caches else []),
        sys.executable,
        "-m",
        "tests.tools.bench.instructions",
        "--within",
        "--load",
        options.load,
        "--frontends",
        str(frontends),
        "--users",
        str(options.users),
        "--calls",
        str(options.calls),
    ]


def line_of(name: str, cost: Cost, base: Cost) -> str:
    """Returns the line that shows a cost beside the first one."""
    parts = [f"{name:16}{cost.instructions:10,.0f} instructions"]
    if cost.near_misses is not None and cost.far_misses is not None:
        parts.append(
            f"{cost.near_misses:8,.0f} misses of the first level, {cost.far_misses:6,.0f} of the second"
        )
    if cost is not base:
        parts.append(f"({cost.instructions / base.instructions - 1:+.1%} instructions)")
    return "  ".join(parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """Counts what was asked for; 0 when all of it could be, 1 when not."""
    options = _parser().parse_args(arguments)
    if options.within:
        _run(options.load, options.frontends[0], options.users, options.calls)
        return 0
    if find("valgrind") is None:
        sys.stderr.write("valgrind is not installed: apt-get install valgrind\n")
        return 1
    base: Cost | None = None
    for frontends in options.frontends:
        try:
            cost = _counted(options, frontends)
        except (OSError, ValueError, subprocess.SubprocessError) as failure:
            sys.stderr.write(f"{frontends} frontends: {failure}\n")
            return 1
        base = base or cost
        name = f"{frontends} frontend{'s' if frontends > 1 else ''}"
        sys.stdout.write(line_of(name, cost, base) + "\n")
        sys.stdout.flush()
    return 0


def _counted(options: argparse.Namespace, frontends: int) -> Cost:
    """Runs the calls under valgrind."""
    with contextlib.ExitStack() as stack:
        kept = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder: Path = kept / str(frontends)
        folder.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        run = subprocess.run(
            command(options, frontends, folder),
            env=environment,
            capture_output=True,
            text=True,
            timeout=_BOUND,
            check=False,
        )
        if run.returncode != 0:
            raise ValueError(run.stderr[-2000:])
        once, twice = (counts_in((folder / f"profile.{name}").read_text()) for name in (1, 2))
        return cost_of(once, twice, options.calls)


def _run(load: Load, frontends: int, users: int, calls: int) -> None:
    """Makes the calls in this process, which valgrind runs."""
    with EmbeddedRedis() as redis, contextlib.ExitStack() as stack:
        nowhere = stack.enter_context(open(os.devnull, "w"))  # noqa: PTH123 - not a path of a project
        stack.enter_context(contextlib.redirect_stderr(nowhere))
        configure(LogSettings(format="json"))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_measure(redis.url, load, frontends, users, calls))


async def _measure(redis_url: str, load: Load, frontends: int, users: int, calls: int) -> None:
    async with call_loop(redis_url, load, frontends=frontends, users=users) as loop:
        await loop.run(loop.different + calls)  # each once: what is kept of lines and answers is kept then
        gc.collect()
        gc.freeze()  # as a worker does
        gc.set_threshold(10_000, 20, 20)
        _control("-i", "on")
        await loop.run(calls)
        _control("-d", "once")
        await loop.run(2 * calls)
        _control("-d", "twice")
        _control("-i", "off")


def _control(*order: str) -> None:
    subprocess.run(
        ["callgrind_control", *order, str(os.getpid())], check=True, capture_output=True, timeout=60
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m tests.tools.bench.instructions",
        description=_TEXT,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--load", choices=LOADS, default="mixed", help="the traffic (default: mixed)")
    parser.add_argument("--frontends", type=int, nargs="+", default=[1], metavar="N", help="one run each")
    parser.add_argument("--users", type=int, default=200, metavar="N", help="users, of the frontends in turn")
    parser.add_argument("--calls", type=int, default=2000, metavar="N", help="calls of a run, and twice that")
    parser.add_argument("--caches", action="store_true", help="simulate the processor's caches as well")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the profiles there")
    parser.add_argument("--within", action="store_true", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
