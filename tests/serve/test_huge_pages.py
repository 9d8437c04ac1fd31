"""Huge pages for a worker's heap: asked for where they are used, and nowhere else."""

import asyncio
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from bff.serve import huge_pages
from bff.serve.huge_pages import SIZE, available, heap_ranges, keep_huge
from bff.settings.load import load
from bff.settings.model import Settings
from bff.tasks import Tasks
from tests.serve.small_service import Process
from tests.support.settings import GOOD_ENV
from tests.support.wait import PATIENCE, until

_MAPS = """\
00400000-00d00000 rw-p 00000000 00:00 0
00d00000-01300000 rw-p 00000000 00:00 0                                  [heap]
7f0000000000-7f0000400000 rw-p 00000000 00:00 0                          [anon: glibc: malloc]
7f0000400000-7f0000800000 rw-p 00000000 fe:00 12                         /usr/lib/with a blank.so
7f0000800000-7f0000c00000 rw-s 00000000 00:00 0
7f0000c00000-7f0001000000 ---p 00000000 00:00 0
7f0001000000-7f0001400000 r-xp 00000000 00:00 0
7ffc00000000-7ffc00400000 rw-p 00000000 00:00 0                          [stack]
"""


def test_ranges() -> None:
    """The heap's ranges are whole and its own: no file's memory, none that is shared, no stack."""
    assert [
        0x0040_0000, 0x0060_0000, 0x0080_0000, 0x00A0_0000,  # the last 1 MiB is no whole range
        0x00E0_0000, 0x0100_0000,
        0x7F00_0000_0000, 0x7F00_0020_0000,
    ] == list(heap_ranges(_MAPS))  # fmt: skip


_GROWN = """
import mmap
from bff.serve.huge_pages import collapse
kept = [bytes(400) for _ in range(100_000)]
unused = mmap.mmap(-1, 64 * 1024 * 1024, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
collapse()
print(open("/proc/self/smaps").read())
"""


@dataclass
class _Area:
    """An area of a process's memory, in KiB."""

    size: int = 0
    resident: int = 0
    advised: bool = False


def _areas(smaps: str) -> list[_Area]:
    areas: list[_Area] = []
    for line in smaps.splitlines():
        match line.split():
            case ["Size:", size, "kB"]:
                areas.append(_Area(size=int(size)))
            case ["Rss:", resident, "kB"]:
                areas[-1].resident = int(resident)
            case ["VmFlags:", *flags]:
                areas[-1].advised = "hg" in flags
    return areas


def test_heap_is_advised() -> None:
    """The heap in use may have huge pages; memory that nobody has touched is not made resident."""
    command = [sys.executable, "-c", _GROWN]
    areas = _areas(
        subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=PATIENCE).stdout
    )
    assert available() == (sum(area.resident for area in areas if area.advised) > 40_000 * 0.75)
    unused = max(areas, key=lambda area: area.size - area.resident)
    assert not unused.advised
    assert 64 * 1024 <= unused.size > 8 * unused.resident


class _Watched:
    """`keep_huge` over a process that grows by `growth` bytes between two looks."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, growth: int, word: str) -> None:
        self.looks = 0
        self.collapsed_at: list[int] = []  # the look at which the heap was gone through
        self._growth = growth
        (folder / "enabled").write_text(f"{word}\n")
        (folder / "hpage_pmd_size").write_text(f"{SIZE}\n")
        monkeypatch.setattr(huge_pages, "_SYSTEM", folder)
        monkeypatch.setattr(huge_pages, "resident", self._resident)
        monkeypatch.setattr(huge_pages, "collapse", lambda: self.collapsed_at.append(self.looks))

    def _resident(self) -> int:
        self.looks += 1
        return 100 * SIZE + self.looks * self._growth

    async def after(self, looks: int, settings: Settings) -> list[int]:
        tasks = Tasks()
        keeping = tasks.spawn(keep_huge(lambda: settings, 0), name="huge pages")
        await until(lambda: self.looks >= looks or keeping.done())
        await tasks.cancel_all()
        return [look for look in self.collapsed_at if look <= looks]


def _settings(*, huge_pages: bool = True) -> Settings:
    return load(None, GOOD_ENV | {"BFF_SERVER__HUGE_PAGES": str(huge_pages).lower()})


async def test_growth(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The heap is gone through at first, and again whenever it has grown by 8 MiB."""
    watched = _Watched(monkeypatch, tmp_path, 2 * SIZE, "always [madvise] never")
    assert [1, 3, 5, 7] == await watched.after(8, _settings())


async def test_no_growth(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A process that stays as it is is left alone."""
    watched = _Watched(monkeypatch, tmp_path, 0, "[always] madvise never")
    assert [1] == await watched.after(5, _settings())


async def test_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`server.huge_pages = false` leaves the heap alone, and costs no look."""
    watched = _Watched(monkeypatch, tmp_path, SIZE, "[always] madvise never")
    asked: list[Settings] = []

    def settings() -> Settings:
        asked.append(_settings(huge_pages=False))
        return asked[-1]

    tasks = Tasks()
    tasks.spawn(keep_huge(settings, 0), name="huge pages")
    await until(lambda: len(asked) >= 5)
    await tasks.cancel_all()
    assert (0, []) == (watched.looks, watched.collapsed_at)


async def test_never(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the system has no huge pages, nothing is looked at."""
    watched = _Watched(monkeypatch, tmp_path, SIZE, "always madvise [never]")
    await asyncio.wait_for(keep_huge(_settings, 0), PATIENCE)
    (tmp_path / "enabled").unlink()
    await asyncio.wait_for(keep_huge(_settings, 0), PATIENCE)
    assert (0, []) == (watched.looks, watched.collapsed_at)


async def test_worker(tmp_path: Path) -> None:
    """A worker asks for huge pages."""
    worker = Process(tmp_path / "worker.log")
    try:
        assert worker.port
        smaps = Path(f"/proc/{worker.child.pid}/smaps")
        if available():
            await until(lambda: any(area.advised for area in _areas(smaps.read_text())))
    finally:
        worker.child.kill()
        worker.child.wait()
