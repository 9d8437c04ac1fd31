"""A worker with a small application, or several of them, as a real process."""

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.processes.forked import Forked
from tests.support.wait import PATIENCE

ROOT = Path(__file__).parents[2]


class Process:
    """A worker and what it has said."""

    def __init__(self, log: Path, **server: Any) -> None:
        self._log = log
        self._file = log.with_suffix(".json")
        client_id = server.pop("client_id", "x")
        redis = server.pop("redis", "redis://127.0.0.1:1/0")
        self.settings: dict[str, Any] = {
            "server": {"public_url": "http://app.test", "port": 0, "ops_port": 0, **server},
            "provider": {"issuer": "http://localhost:1", "client_id": client_id},
            "redis": {"url": redis},
            "log": {"format": "json"},
        }
        self.write()
        command = ["tests.support.processes.small_worker", str(self._file)]
        with log.open("wb") as output:
            self.child: Forked[bytes] = Forked(command, stderr=output, cwd=ROOT)

    def write(self) -> None:
        """Writes the settings, as they are read at the start and at a reload."""
        self._file.write_text(json.dumps(self.settings))

    def log(self) -> str:
        return self._log.read_text()

    def lines(self, event: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]
        return [line for line in found if line["event"] == event]

    def said(self, event: str) -> dict[str, Any]:
        until(lambda: bool(self.lines(event)) or self.child.poll() is not None)
        assert self.lines(event), self.log()
        return self.lines(event)[0]

    @property
    def port(self) -> int:
        return int(self.said("listening")["address"].rpartition(":")[2])

    def ops(self, path: str) -> tuple[int, str]:
        url = self.said("listening")["ops"] + path
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:  # noqa: S310 - our own address
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def connect(self, path: str) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: app.test\r\n\r\n".encode())
        return client

    def begun(self, path: str, until: bytes = b"do") -> socket.socket:
        """A connection whose answer has begun."""
        client = self.connect(path)
        received = b""
        while not received.endswith(until):
            received += client.recv(1000)
        return client

    def answered(self) -> socket.socket:
        """A connection whose first answer is complete."""
        return self.begun("/0", b"done")

    def ends(self) -> int:
        return self.child.wait(PATIENCE)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
