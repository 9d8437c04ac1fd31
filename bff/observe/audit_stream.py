"""The audit stream: each event as one line, to a file or to syslog.

Rule 1: nothing here raises or waits. An event that cannot be written is counted, goes to standard error
like any log line, and the log says so once; the next event tries again.
Rule 2: a line is one write to a file opened for append, so that the lines of several processes do not mix.
A disk that took half a line has the next one begin anew.
Rule 3: the file is looked at before each event: where another one stands under its name, or none, it is
opened again, as after `logrotate`; `reopen` does so in any case.
"""

import contextlib
import errno
import os
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, Protocol

from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from bff.observe.audit_events import EVENTS

SYSLOG_SOCKETS: Final = ("/dev/log", "/var/run/syslog")
"""Where the local syslog listens: Linux, macOS."""

_PRIORITY = {"failure": 10 * 8 + 4, "success": 10 * 8 + 5, "unknown": 10 * 8 + 5}  # authpriv: warning, notice
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe nobody reads: no wait
_MODE = 0o640


class Sink(Protocol):
    """A destination of audit lines. Both methods raise OSError."""

    def write(self, line: bytes, outcome: str) -> None:
        """Writes a line, its end included, or raises: never half of it without a word."""

    def reopen(self) -> None:
        """Begins anew with the next line."""


class AppendedFile:
    """A file that several processes append to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._torn = False

    def write(self, line: bytes, outcome: str) -> None:  # noqa: ARG002 - a file has no priorities
        """Appends a line in one write."""
        descriptor = self._current()
        data = b"\n" + line if self._torn else line
        written = os.write(descriptor, data)
        self._torn = written < len(data)
        if self._torn:
            raise OSError(errno.ENOSPC, "only a part of the line was written")

    def reopen(self) -> None:
        """Closes the file; the next line opens it again."""
        descriptor, self._descriptor = self._descriptor, None
        self._torn = False
        if descriptor is not None:
            os.close(descriptor)

    def _current(self) -> int:
        if self._descriptor is not None and not self._is_there(self._descriptor):
            self.reopen()
        if self._descriptor is None:
            self._descriptor = os.open(self._path, _FLAGS, _MODE)
        return self._descriptor

    def _is_there(self, descriptor: int) -> bool:
        try:
            named = self._path.stat()
        except OSError:
            return False
        return os.path.samestat(named, os.fstat(descriptor))


class Syslog:
    """The local syslog, by datagrams; facility authpriv. A daemon that is slow loses no time of ours."""

    def __init__(self, addresses: Iterable[str] = SYSLOG_SOCKETS) -> None:
        self._addresses = tuple(addresses)
        self._socket: socket.socket | None = None

    def write(self, line: bytes, outcome: str) -> None:
        """Sends a line; once more on a new socket, for the daemon may have begun anew."""
        message = b"<%d>bff[%d]: %b" % (_PRIORITY[outcome], os.getpid(), line.rstrip(b"\n"))
        if self._socket is not None:
            try:
                self._socket.send(message)
            except BlockingIOError:
                raise  # it is there, and has no room
            except OSError:
                self.reopen()
            else:
                return
        self._socket = self._connected()
        self._socket.send(message)

    def reopen(self) -> None:
        """Closes the socket; the next line makes a new one."""
        former, self._socket = self._socket, None
        if former is not None:
            former.close()

    def _connected(self) -> socket.socket:
        address = next((each for each in self._addresses if Path(each).exists()), self._addresses[0])
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            made.setblocking(False)
            made.connect(address)
        except OSError:
            made.close()
            raise
        return made


class AuditCounts(Collector):
    """The numbers of events that a process has written, and could not write where they belong."""

    def __init__(self) -> None:
        self.written = dict.fromkeys(map(str, EVENTS), 0)
        self.failed = 0

    def collect(self) -> Iterable[Metric]:
        """The numbers as metrics."""
        written = CounterMetricFamily("bff_audit_events", "Audit events, by name.", labels=["event"])
        for event, number in self.written.items():
            written.add_metric([event], number)
        yield written
        yield CounterMetricFamily(
            "bff_audit_failures",
            "Audit events that could not be written where log.audit says, and went to standard error.",
            value=self.failed,
        )


class AuditStream:
    """Writes to a sink. `tell` is called when it begins to fail, and when it works again."""

    def __init__(self, sink: Sink, counts: AuditCounts, tell: Callable[[OSError | int], None]) -> None:
        self._sink = sink
        self._counts = counts
        self._tell = tell
        self._missing = 0

    def write(self, line: bytes, outcome: str) -> bool:
        """Writes a line; False where that failed."""
        try:
            self._sink.write(line, outcome)
        except OSError as failure:
            self._counts.failed += 1
            self._missing += 1
            if self._missing == 1:
                self._tell(failure)
            return False
        if self._missing:
            missing, self._missing = self._missing, 0
            self._tell(missing)
        return True

    def reopen(self) -> None:
        """Opens the sink again with the next line, as after `logrotate`."""
        with contextlib.suppress(OSError):
            self._sink.reopen()


def sink_of(target: Any) -> Sink | None:
    """The sink that a setting names; None for standard error."""
    if target == "stderr":
        return None
    return Syslog() if target == "syslog" else AppendedFile(Path(target))
