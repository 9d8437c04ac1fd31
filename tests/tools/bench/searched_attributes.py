"""The attributes that a fast call searches for, by what Python 3.11 has learnt of the code.

`python3 -m tests.tools.bench.searched_attributes REDIS_URL FRONTENDS` prints their names. That is a process
of its own: Python learns from all that has run in one, and other tests have run what no worker runs.
"""

import asyncio
import contextlib
import dis
import os
import sys
from collections import Counter
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

from bff.observe.logs import configure
from bff.settings.model import LogSettings
from tests.tools.bench.call_loop import call_loop


def searched(calls: Callable[[int], object]) -> set[str]:
    """The attributes that each call searches for, by what Python has learnt; `calls` makes so many."""
    searches = {"LOAD_ATTR", "LOAD_ATTR_ADAPTIVE", "LOAD_METHOD", "LOAD_METHOD_ADAPTIVE"}
    found: Counter[str] = Counter()
    known: dict[CodeType, dict[int, str]] = {}

    def trace(frame: FrameType, event: str, _: object) -> Any:
        code = frame.f_code
        if "/bff/" not in code.co_filename:
            return None
        if code not in known:
            steps = dis.get_instructions(code, adaptive=True)
            known[code] = {step.offset: step.argrepr for step in steps if step.opname in searches}
        frame.f_trace_opcodes = True
        if event == "opcode" and frame.f_lasti in known[code]:
            found[known[code][frame.f_lasti]] += 1
        return trace

    former = sys.gettrace()
    sys.settrace(None)  # Python learns nothing while it is traced
    try:
        calls(500)
        sys.settrace(trace)
        calls(100)
    finally:
        sys.settrace(former)
    return {name for name, times in found.items() if times >= 100}


async def _searched(redis_url: str, frontends: int) -> set[str]:
    async with call_loop(redis_url, "get", frontends=frontends, users=6, different=60) as loop:
        return searched(loop._run_found)


if __name__ == "__main__":
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):  # noqa: PTH123 - no project's path
        configure(LogSettings(format="json"))
        names = asyncio.run(_searched(sys.argv[1], int(sys.argv[2])))
    sys.stdout.write("\n".join(sorted(names)) + "\n")
