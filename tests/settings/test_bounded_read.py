"""Files that grow, pipes that nobody writes to, devices without an end: each read has an end."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bff.settings import bounded_read
from bff.settings.bounded_read import read_bounded

pytestmark = pytest.mark.requirement("P-02")
SHORT = 0.05


def refusal(path: Path, most: int = 10, patience: float = SHORT) -> OSError:
    with pytest.raises(OSError, match=r".") as caught:
        read_bounded(path, most, patience)
    return caught.value


def test_a_file_up_to_its_bound(tmp_path: Path) -> None:
    """All of it; one byte more is refused."""
    file = tmp_path / "file"
    file.write_bytes(b"0123456789")
    assert b"0123456789" == read_bounded(file, 10)[0]
    file.write_bytes(b"0123456789+")
    assert errno.EFBIG == refusal(file).errno
    file.write_bytes(b"")
    assert b"" == read_bounded(file, 10)[0]


def test_what_has_no_end(tmp_path: Path) -> None:
    """A device is read up to the bound, and a link to one as well; a folder is none."""
    (tmp_path / "link").symlink_to("/dev/zero")
    assert errno.EFBIG == refusal(tmp_path / "link", 300_000).errno
    assert errno.EISDIR == refusal(tmp_path).errno


def test_a_pipe_that_nobody_writes_to(tmp_path: Path) -> None:
    """It is given up, also where a writer is there and silent, or has written half and is silent."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert errno.ETIMEDOUT == refusal(pipe).errno
    writer = os.open(pipe, os.O_RDWR)
    try:
        assert errno.ETIMEDOUT == refusal(pipe).errno
        os.write(writer, b"half")
        assert errno.ETIMEDOUT == refusal(pipe).errno
    finally:
        os.close(writer)


def test_a_pipe_whose_writer_is_slow(tmp_path: Path) -> None:
    """As of `bff serve -c <(…)`: what comes in pieces is one text, and an end without any is an end."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def write() -> None:
        with pipe.open("wb", buffering=0) as writer:
            for piece in (b"one ", b"two"):
                writer.write(piece)

    thread = threading.Thread(target=write)
    thread.start()
    assert b"one two" == read_bounded(pipe, 10)[0]
    thread.join()
    reader, writer = os.pipe()
    os.write(writer, b"whole")
    os.close(writer)
    assert b"whole" == read_bounded(Path(f"/dev/fd/{reader}"), 10)[0]
    os.close(reader)


@pytest.mark.parametrize(
    "change",
    [lambda file: file.write_text("longer"), lambda file: os.utime(file, (1, 1))],
    ids=["appended", "rewritten"],
)
def test_a_file_that_is_written_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object]
) -> None:
    """Its parts may be of two versions: it is refused."""
    file = tmp_path / "file"
    file.write_text("short")
    read = bounded_read._piece

    def read_slowly(descriptor: int, most: int) -> bytes | None:
        piece = read(descriptor, most)
        change(file)
        return piece

    monkeypatch.setattr(bounded_read, "_piece", read_slowly)
    assert errno.EBUSY == refusal(file).errno
