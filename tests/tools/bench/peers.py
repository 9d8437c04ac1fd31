"""The other ends of long transfers: a backend that gives and takes at a rate, and a client that does.

`python -m tests.tools.bench.peers PORT` is the backend. `GET …?bytes=N` gives N bytes; `POST …?rate=R` takes
the body at R bytes a second (0: as fast as it comes).
"""

import contextlib
import io
import socket
import socketserver
import sys
import time
from collections.abc import Iterator, Mapping
from typing import cast
from urllib.parse import parse_qsl, urlsplit

from tests.tools.bench.load import LoadError

_CHUNK = 1024 * 1024
_PATIENCE = 120.0
_DONE = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone"


class Pace:
    """Holds a transfer to a rate in bytes a second; 0 is no limit."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._started = time.perf_counter()
        self._done = 0

    def count(self, size: int) -> None:
        """Notes that so many bytes have passed, and sleeps where that was too fast."""
        self._done += size
        if self._rate:
            ahead = self._done / self._rate - (time.perf_counter() - self._started)
            if ahead > 0:
                time.sleep(ahead)


class _Backend(socketserver.StreamRequestHandler):
    """One connection."""

    def handle(self) -> None:
        while head := _read_head(self.rfile):
            method, target = head[0].split(" ")[:2]
            query = dict(parse_qsl(urlsplit(target).query))
            fields = dict(line.lower().split(": ", 1) for line in head[1:])
            if method == "GET":
                self._give(int(query["bytes"]))
            else:
                if "expect" in fields:
                    self.request.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                self._take(int(fields["content-length"]), Pace(float(query.get("rate", 0))))

    def _give(self, size: int) -> None:
        self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        chunk = memoryview(bytes(_CHUNK))
        while size > 0:
            self.request.sendall(chunk[:size])
            size -= _CHUNK

    def _take(self, size: int, pace: Pace) -> None:
        buffer = bytearray(_CHUNK)
        buffered = len(cast("io.BufferedReader", self.rfile).peek(0))
        size -= len(self.rfile.read(min(size, buffered)))
        while size > 0:
            got = self.request.recv_into(buffer, min(size, _CHUNK))
            if not got:
                return
            size -= got
            pace.count(got)
        self.request.sendall(_DONE)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def _read_head(stream: io.BufferedIOBase) -> list[str]:
    lines: list[str] = []
    while line := stream.readline().decode().rstrip("\r\n"):
        lines.append(line)
    return lines


def download(port: int, path: str, size: int, headers: Mapping[str, str], rate: float) -> float:
    """Reads `size` bytes at a rate; returns the seconds that it took."""
    started, pace, buffer = time.perf_counter(), Pace(rate), bytearray(_CHUNK)
    with _asked(port, "GET", f"{path}?bytes={size}", headers) as (connection, answer):
        left = size - len(answer)
        while left > 0:
            got = connection.recv_into(buffer, min(left, _CHUNK))
            if not got:
                raise LoadError(f"the download ended {left} bytes too early")
            left -= got
            pace.count(got)
    return time.perf_counter() - started


def upload(port: int, path: str, size: int, headers: Mapping[str, str], rate: float) -> float:
    """Sends `size` bytes to a backend that takes them at a rate; returns the seconds that it took."""
    started = time.perf_counter()
    connection = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE)
    with connection:
        connection.sendall(_head("POST", f"{path}?rate={rate:.0f}", {**headers, "Content-Length": str(size)}))
        chunk = memoryview(bytes(_CHUNK))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the answer tells why
            left = size
            while left > 0:
                connection.sendall(chunk[:left])
                left -= _CHUNK
        _answer(connection)
    return time.perf_counter() - started


@contextlib.contextmanager
def _asked(
    port: int, method: str, target: str, headers: Mapping[str, str]
) -> Iterator[tuple[socket.socket, bytes]]:
    """A connection on which the answer's head has been read, and what came of its body with it."""
    with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE) as connection:
        connection.sendall(_head(method, target, headers))
        yield connection, _answer(connection)


def _head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _answer(connection: socket.socket) -> bytes:
    """Reads the head of a 200; returns what came after it."""
    read = b""
    while b"\r\n\r\n" not in read:
        got = connection.recv(_CHUNK)
        if not got:
            break
        read += got
    head, _, rest = read.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise LoadError(f"no 200: {read[:300]!r}")
    return rest


if __name__ == "__main__":
    with _Server(("127.0.0.1", int(sys.argv[1])), _Backend) as server:
        server.serve_forever()
