"""A worker that stops with time to spare: its idle connections carry one more answer."""

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bff import __version__
from bff.serve.ipc import OtherVersionError, receive_settings
from tests.serve.small_service import Process, until
from tests.support.wait import PATIENCE

pytestmark = pytest.mark.requirement("H-09", "S-11")


@pytest.fixture
def process(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Process]:
    made = Process(tmp_path / "log", **request.param)
    yield made
    made.child.kill()
    made.child.wait()


def asked(client: socket.socket) -> bytes:
    """The whole answer to one more request on a connection."""
    client.sendall(b"GET /0 HTTP/1.1\r\nHost: app.test\r\n\r\n")
    received = b""
    while not received.endswith(b"done"):
        piece = client.recv(1000)
        assert piece, received
        received += piece
    return received


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("process", [{"shutdown_delay": 0.1}], indirect=True)
def test_after_a_delay(process: Process) -> None:
    """Nobody can connect any more, and a call on a kept connection is answered, with a close."""
    port = process.port
    with process.answered() as kept:
        process.child.send_signal(signal.SIGTERM)
        until(lambda: not listens(port))
        assert b"connection: close" in asked(kept)
        assert b"" == kept.recv(1000)
    assert 0 == process.ends()


@pytest.mark.parametrize("process", [{"workers": 2}], indirect=True)
def test_in_a_roll(process: Process) -> None:
    """A kept connection is answered all along; the last answer says close, and the roll goes on."""
    with process.answered() as kept:
        until(lambda: len(process.lines("worker_serving")) == 2)
        process.child.send_signal(signal.SIGUSR2)
        while b"connection: close" not in asked(kept):
            pass
        assert b"" == kept.recv(1000)
        process.said("rolled")
    process.child.send_signal(signal.SIGTERM)
    assert 0 == process.ends()


def test_another_version() -> None:
    """A worker of a version that was installed meanwhile does not try to read the supervisor's settings."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(PATIENCE)
        for part in (b"0.0.0", b"not to be read"):
            ours.sendall(len(part).to_bytes(4) + part)
        with pytest.raises(OtherVersionError, match=f"0.0.0, and this worker of {__version__}"):
            receive_settings(theirs)
