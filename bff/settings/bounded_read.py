"""A file read whole, within bounds of size and time: settings and secrets come from places that can go wrong.

Rule 1: no read is without an end. A file that has grown beyond its bound is refused after that many bytes, a
pipe or a device after `PATIENCE` seconds. (`bff serve -c <(…)` hands over a pipe, whose writer may be slow.)
Rule 2: a file that is written while it is read is refused: its parts may be of two versions.
"""

import errno
import os
import select
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PATIENCE: Final = 10.0
"""Seconds in which a pipe has to have been read to its end."""

_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_PIECE: Final = 64 * 1024


def read_bounded(path: Path, most: int, patience: float = PATIENCE) -> tuple[bytes, os.stat_result]:
    """Returns a file's content and its state.

    Args:
        path: the file; links are followed.
        most: the bytes that it may have.
        patience: the seconds that a pipe or a device may take.

    Raises:
        OSError: the file cannot be read; `strerror` says why.
    """
    descriptor = os.open(path, _FLAGS)
    try:
        state = os.fstat(descriptor)
        is_file = stat.S_ISREG(state.st_mode)
        data = b"".join(_pieces(descriptor, most, is_file=is_file, until=time.monotonic() + patience))
        after = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it has more than {most // 1024} KiB", str(path))
    if is_file and (state.st_size, state.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise OSError(errno.EBUSY, "it is being written", str(path))
    return data, state


def _pieces(descriptor: int, most: int, *, is_file: bool, until: float) -> Iterator[bytes]:
    """Yields what comes, up to one byte more than `most`."""
    came, poll = 0, select.poll()
    poll.register(descriptor, select.POLLIN)
    while came <= most:
        piece = _piece(descriptor, most + 1 - came)
        if piece:
            came += len(piece)
            yield piece
        elif piece is not None and (came or is_file):
            return
        else:  # a pipe that has nothing yet, or no writer yet
            events = poll.poll(max(0.0, until - time.monotonic()) * 1000)
            if not events:
                raise OSError(errno.ETIMEDOUT, "it is no plain file, and nothing more comes out of it")
            if piece is not None and not events[0][1] & select.POLLIN:
                return
        if not is_file and time.monotonic() > until:
            raise OSError(errno.ETIMEDOUT, "it is no plain file, and does not come to an end")


def _piece(descriptor: int, most: int) -> bytes | None:
    """Returns the next bytes, none at the end; None where there are none yet."""
    try:
        return os.read(descriptor, min(_PIECE, most))
    except BlockingIOError:
        return None
