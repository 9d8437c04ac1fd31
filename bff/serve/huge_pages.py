"""Huge pages for the heap of a serving process: memory in pages of 2 MiB instead of 4 KiB.

Each call touches what no call has touched lately: its user's session, its frontend's routes. With small
pages, such a touch costs the processor a walk of the page tables as well. Linux alone has huge pages; a
serving process asks for them for what its heap has grown to.

Rule 1: nothing depends on them: where the system has none, is short of them, or refuses, pages stay small.
Rule 2: a range that is largely unused stays as it is (a thread's stack, for one): a huge page would be all
resident, so the process would grow.
Rule 3: `never` of the system, and `server.huge_pages = false`, are obeyed.
"""

import asyncio
import ctypes
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from bff.settings.model import Settings

SIZE = 2 * 1024 * 1024
"""The bytes of a huge page, on x86-64 and on ARM with pages of 4 KiB."""

_SYSTEM = Path("/sys/kernel/mm/transparent_hugepage")
_MAPS = Path("/proc/self/maps")
_RESIDENT = Path("/proc/self/statm")
_PAGE = 4096
_LOOK = 5.0  # seconds between two looks at the size of the heap; the start has no time for the first
_GROWTH = 4 * SIZE  # bytes by which a process grows until its heap is gone through again
_LEAST_USED = 0.75  # the share of a range's pages that has to be resident
_MADV_HUGEPAGE = 14  # this range may have huge pages: the kernel makes them in its own time
_MADV_COLLAPSE = 25  # and now, since Linux 6.1


def available() -> bool:
    """Returns true if this system gives huge pages of `SIZE` to a process that asks for them."""
    try:
        allowed = "[never]" not in (_SYSTEM / "enabled").read_text()
        return allowed and int((_SYSTEM / "hpage_pmd_size").read_text()) == SIZE
    except (OSError, ValueError):
        return False


def heap_ranges(maps: str) -> Iterator[int]:
    """Yields the address of each range of `SIZE` that lies wholly in the heap.

    Args:
        maps: the text of `/proc/<pid>/maps`. The heap is the private memory that can be written and belongs
            to no file: pymalloc's arenas, and what malloc has.
    """
    for line in maps.splitlines():
        area, rights, _, _, inode, *name = line.split(maxsplit=5)
        if rights != "rw-p" or inode != "0" or (name and not name[0].startswith(("[heap]", "[anon"))):
            continue
        start, end = (int(address, 16) for address in area.split("-"))
        yield from range(-(-start // SIZE) * SIZE, end - SIZE + 1, SIZE)


def collapse() -> int:
    """Puts the heap on huge pages, and returns the number of ranges that are on them now.

    It blocks for some milliseconds, the interpreter meanwhile being free for other threads.
    """
    libc = ctypes.CDLL(None)
    madvise, mincore = libc.madvise, libc.mincore
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
    pages = (ctypes.c_ubyte * (SIZE // _PAGE))()
    huge = 0
    for address in heap_ranges(_MAPS.read_text()):
        if mincore(address, SIZE, pages) or sum(byte & 1 for byte in pages) < _LEAST_USED * len(pages):
            continue
        madvise(address, SIZE, _MADV_HUGEPAGE)
        huge += madvise(address, SIZE, _MADV_COLLAPSE) == 0
    return huge


def resident() -> int:
    """Returns the bytes of memory that this process has."""
    return int(_RESIDENT.read_text().split()[1]) * _PAGE


async def keep_huge(settings: Callable[[], Settings], look: float = _LOOK) -> None:
    """Keeps the growing heap on huge pages until it is cancelled, or returns at once where there are none.

    Args:
        settings: returns those in force.
        look: seconds between two looks.
    """
    if sys.platform != "linux" or not available():
        return
    done = 0
    while True:
        await asyncio.sleep(look)
        if settings().server.huge_pages and (now := resident()) >= done + _GROWTH:
            await asyncio.to_thread(collapse)
            done = now
