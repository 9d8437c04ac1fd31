"""The machine under the bench: which cores carry what, and what a group of processes has used of it."""

import contextlib
import os
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Cores:
    """`contender` carries the one that is measured, `rest` backend, Redis, load and this process."""

    contender: frozenset[int]
    rest: frozenset[int]

    @property
    def apart(self) -> bool:
        """True if the two share no core; with one core there is nothing to compare."""
        return not self.contender & self.rest


def cores(available: frozenset[int] | None = None) -> Cores:
    """One core for the contender, all others for the rest."""
    all_of_them = sorted(available or os.sched_getaffinity(0))
    return Cores(frozenset(all_of_them[-1:]), frozenset(all_of_them[:-1] or all_of_them))


@contextlib.contextmanager
def on(wanted: frozenset[int]) -> Iterator[None]:
    """Runs the programs that are started within on these cores."""
    former = os.sched_getaffinity(0)
    os.sched_setaffinity(0, wanted)
    try:
        yield
    finally:
        os.sched_setaffinity(0, former)


def describe(used: Cores) -> dict[str, str]:
    """A description of the machine for a reader of the figures."""
    text = (_PROC / "cpuinfo").read_text(errors="replace")
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    apart = "one of them the contender's" if used.apart else "NOT enough for a comparison"
    return {
        "cpu": model[1].strip() if model else platform.processor() or "unknown",
        "cores": f"{len(used.contender | used.rest)}, {apart}",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load before": f"{os.getloadavg()[0]:.2f}",
    }


def group_cpu(group: int) -> float:
    """Seconds of CPU time that a process group has used so far, all its processes together."""
    return sum(_cpu_of(stat) for stat in _stats() if int(stat[2]) == group) / _TICKS


def group_memory(group: int) -> int:
    """Bytes resident in a process group now, shared pages counted once for each process."""
    return sum(int(stat[21]) for stat in _stats() if int(stat[2]) == group) * _PAGE


def forget_peak(pid: int) -> None:
    """Starts the process' high-water mark anew."""
    with contextlib.suppress(OSError):
        (_PROC / str(pid) / "clear_refs").write_text("5")


def peak_memory(pid: int) -> int:
    """The high-water mark of a process' resident memory, in bytes."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", (_PROC / str(pid) / "status").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def resident_memory(pid: int) -> int:
    """The resident memory of a process now, in bytes."""
    return int((_PROC / str(pid) / "statm").read_text().split()[1]) * _PAGE


def available_memory() -> int:
    """The memory that the machine can still give, in bytes."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB", (_PROC / "meminfo").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _stats() -> Iterator[list[str]]:
    """The fields of /proc/*/stat from the third on: state, parent, group and so on."""
    for path in _PROC.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):  # it has ended meanwhile
            yield path.read_text().rpartition(")")[2].split()


def _cpu_of(stat: list[str]) -> int:
    return int(stat[11]) + int(stat[12])
