"""A client that uploads over TLS, and reads while it sends: it stops as soon as the answer has come.

A browser does so over HTTP/2. Whoever sends all before reading learns of a refusal from a broken connection.
"""

import contextlib
import select
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

import h11

from tests.support.wait import PATIENCE

_PIECE = bytes(256 * 1024)
_READ = 64 * 1024


@dataclass
class Uploaded:
    """The answer to an upload, and the number of its bytes that were handed to the kernel by then."""

    sent: int = 0
    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    content: bytes = b""


def upload(
    address: tuple[str, int],
    context: ssl.SSLContext,
    head: Mapping[str, str],
    size: int,
    *,
    target: str = "/api/orders",
    chunked: bool = False,
) -> Uploaded:
    """POSTs so many zeros, with their length or in chunks. Blocks: call it in a thread."""
    with socket.create_connection(address, timeout=PATIENCE) as sock:
        call = _Call(sock, context, size)
        framing = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(size)}
        headers = [(name, value) for name, value in {**head, **framing}.items()]
        call.queue(h11.Request(method="POST", target=target, headers=headers))
        while not call.answered:
            call.turn()
        return call.outcome


class _Call:
    def __init__(self, sock: socket.socket, context: ssl.SSLContext, size: int) -> None:
        self.outcome = Uploaded()
        self.answered = False
        self._http = h11.Connection(h11.CLIENT)
        self._coming, self._going = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._coming, self._going, server_hostname="localhost")
        self._sock, self._left, self._pending = sock, size, memoryview(b"")
        self._sends = True
        while True:  # the handshake
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                sock.sendall(self._going.read())
                self._coming.write(sock.recv(_READ))
            else:
                break
        sock.setblocking(False)

    def queue(self, event: h11.Request | h11.Data | h11.EndOfMessage) -> None:
        self._tls.write(self._http.send(event) or b"")
        self._pending = memoryview(self._going.read())

    def turn(self) -> None:
        """Reads what there is, then sends what fits; never the other way round."""
        sends = [self._sock] if self._sends and (self._pending or self._left) else []
        readable, writable, _ = select.select([self._sock], sends, [], PATIENCE)
        assert readable or writable, "nothing moves"
        if readable:
            self._read()
        elif writable:
            self._send()

    def _send(self) -> None:
        if not self._pending:
            piece = _PIECE[: self._left]
            self._left -= len(piece)
            self.outcome.sent += len(piece)
            self.queue(h11.Data(data=piece))
            if not self._left:
                rest = self._http.send(h11.EndOfMessage())
                if rest:
                    self._tls.write(rest)
                    self._pending = memoryview(bytes(self._pending) + self._going.read())
        try:
            self._pending = self._pending[self._sock.send(self._pending) :]
        except BlockingIOError:
            pass
        except OSError:  # it is not read any more: the answer may have come before that
            self._sends = False

    def _read(self) -> None:
        try:
            data = self._sock.recv(_READ)
        except BlockingIOError:
            return
        if data:
            self._coming.write(data)
        else:
            self._coming.write_eof()
        if plain := b"".join(self._decrypted()):
            self._http.receive_data(plain)
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Response):
                self._sends = False
                self.outcome.status, self.outcome.headers = event.status_code, list(event.headers)
            elif isinstance(event, h11.Data):
                self.outcome.content += event.data
            elif isinstance(event, h11.EndOfMessage):
                self.answered = True
                return
            else:
                assert data, "the connection ended before the answer"
                return

    def _decrypted(self) -> list[bytes]:
        found = []
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError, ssl.SSLEOFError):
            while piece := self._tls.read(_READ):
                found.append(piece)
        return found
