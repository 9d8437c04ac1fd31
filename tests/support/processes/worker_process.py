"""One `bff serve` as a real process, on ports that it keeps."""

import contextlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bff.embedded import free_port
from tests.support.network.redis_fault_proxy import FaultProxy
from tests.support.processes.forked import BARE, Forked
from tests.support.wait import until


class WorkerProcess:
    """One `bff serve` that can be killed, stopped for a while, and started again on its port."""

    def __init__(
        self,
        number: int,
        environ: Mapping[str, str],
        folder: Path,
        valve: FaultProxy | None,
        *,
        clocked: bool,
    ) -> None:
        self.number = number
        self.valve = valve
        self.port = free_port()
        self.ops_port = free_port()
        self._log = folder / f"worker-{number}.log"
        self._clock = folder / f"clock-{number}"
        program = (
            ["tests.support.processes.clocked_worker", str(self._clock)] if clocked else ["bff", "serve"]
        )
        self._command = program
        self.environ = {**BARE, **environ} | {
            "BFF_SERVER__PORT": str(self.port),
            "BFF_SERVER__OPS_PORT": str(self.ops_port),
        }
        self._folder = folder
        self._child: subprocess.Popen[bytes] | None = None
        self.set_clock(0.0)

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def set_clock(self, ahead: float) -> None:
        """Sets the worker's clock off by this number of seconds, if it was started with such a clock."""
        fresh = self._clock.with_suffix(".new")
        fresh.write_text(str(ahead))
        fresh.rename(self._clock)  # never read half written

    def start(self) -> None:
        with self._log.open("ab") as output:
            self._child = Forked(
                self._command, env=self.environ, stderr=output, stdout=output, cwd=self._folder
            )

    async def up(self) -> None:
        """Waits until it serves."""

        def serves() -> bool:
            assert self.alive, self.log()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=60):
                return True
            return False

        await until(serves)

    def kill(self) -> None:
        """SIGKILL, waited for. What it had not sent to Redis yet is lost with it."""
        assert self._child is not None
        self._child.kill()
        self._child.wait()
        if self.valve is not None:
            self.valve.cut()

    def freeze(self) -> None:
        """SIGSTOP."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def thaw_if_alive(self) -> None:
        """Continues the process if it was stopped and lives."""
        if self.alive:
            self.thaw()

    def terminate(self) -> None:
        """SIGTERM."""
        os.kill(self.pid, signal.SIGTERM)

    async def ended(self) -> int:
        """Waits for its end; the exit code."""
        assert self._child is not None
        child = self._child
        await until(lambda: child.poll() is not None)
        return child.wait()

    def descriptors(self) -> int:
        """The number of descriptors that it has open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def close(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def lines(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """The log lines of an event that have these fields."""
        found = [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]
        return [line for line in found if line.get("event") == event and fields.items() <= line.items()]
