"""Programs that the bench starts: pinned, ended with it however it ends, and named when they fail.

Rule 1: whatever is started dies with this process, kill -9 included (`bff.child`).
Rule 2: a program that is not there is no error: who needs it says so and is left out.
"""

import contextlib
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bff.child import Child
from bff.demo.plan import common_environment
from tests.tools.bench.machine import on

_PATIENCE = 30.0  # seconds until a program that is not ready counts as failed
_POLL = 0.02
_LAST_LINES = 15
_OWN_PORTS = range(15_000, 32_000)


class NotStartedError(Exception):
    """A program did not start; the message holds its last lines."""


class Program:
    """A running program. `pid` is also its process group."""

    def __init__(self, name: str, child: Child, log: Path) -> None:
        self.name, self.log, self.pid = name, log, child.pid
        self._child = child

    def check(self, *, late: bool = False) -> None:
        """Raises NotStartedError if it has ended, or is late."""
        if late or not self._child.alive():
            last = "\n  ".join(self._child.last_lines(_LAST_LINES))
            how = "is not ready" if self._child.alive() else f"has ended ({self._child.exit_code})"
            raise NotStartedError(f"{self.name} {how}:\n  {last}")

    def forget_log(self) -> None:
        """Empties its log: a minute of access lines is some 200 MB."""
        with self.log.open("r+b") as file:
            file.truncate(0)

    def stop(self) -> None:
        """Ends it."""
        self._child.terminate()
        self._child.wait(2)
        self._child.kill()


def find(name: str) -> str | None:
    """The path of a program: on the PATH, beside this Python, or in the folders of servers."""
    beside = str(Path(sys.executable).parent)
    return shutil.which(name) or shutil.which(name, path=f"{beside}:/usr/sbin:/usr/local/sbin:/sbin")


def start(
    name: str,
    command: Sequence[str],
    *,
    folder: Path,
    cores: frozenset[int],
    ready: Callable[[], bool],
    environment: Mapping[str, str] | None = None,
) -> Program:
    """Starts a program and returns once it is ready."""
    log = folder / f"{name}.log"
    with on(cores):
        child = Child(command, log=log, scratch=folder, environment=environment)
    program = Program(name, child, log)
    deadline = time.monotonic() + _PATIENCE
    try:
        while not ready():
            program.check(late=time.monotonic() > deadline)
            time.sleep(_POLL)
    except BaseException:
        program.stop()
        raise
    return program


def python_environment(environ: Mapping[str, str], **more: str) -> dict[str, str]:
    """The environment for programs of this project: they can import it, and see no settings of others."""
    root = str(Path(__file__).resolve().parents[3])
    kept = common_environment(environ)
    return {**kept, "PYTHONPATH": f"{root}:{kept['PYTHONPATH']}", **more}


def lasting_port() -> int:
    """A free port below those that outgoing connections take: load makes so many that one would take it."""
    for _ in range(1000):
        port = _OWN_PORTS.start + secrets.randbelow(len(_OWN_PORTS))
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise NotStartedError(f"no free port from {_OWN_PORTS.start} to {_OWN_PORTS.stop - 1}")


def listens(port: int) -> bool:
    """Returns true if a server takes connections on a loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
