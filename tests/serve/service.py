"""`bff serve` as a real process with several workers, and what it has said."""

import json
import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from tests.support.processes.command import variables_for
from tests.support.processes.forked import BARE, Forked
from tests.support.wait import PATIENCE, until

SERVE = ["bff", "serve", "--workers", "2"]
FORKED_WORKERS = "tests.support.processes.forked_workers"


class Service:
    """A running `bff serve`. `url` and `ops` are where it listens."""

    def __init__(self, child: subprocess.Popen[bytes], log: Path) -> None:
        self.child = child
        self._log = log
        self.url = self.ops_url = ""

    def log(self) -> str:
        return self._log.read_text()

    def lines(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """The log lines of an event that have these fields."""
        found = [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]
        return [
            line
            for line in found
            if line["event"] == event and all(line.get(name) == value for name, value in fields.items())
        ]

    async def said(self, event: str, times: int = 1, **fields: Any) -> dict[str, Any]:
        """Waits for a log line; the last of so many."""
        await until(
            lambda: len(self.lines(event, **fields)) >= times or self.child.poll() is not None, PATIENCE
        )
        found = self.lines(event, **fields)
        assert len(found) >= times, self.log()
        return found[times - 1]

    async def up(self, workers: int = 2) -> None:
        """Waits until all workers serve."""
        await self.said("worker_serving", workers)
        listening = await self.said("listening")
        self.url, self.ops_url = listening["address"], listening["ops"]

    def pid(self, worker: int) -> int:
        """The process of a worker that was the last to serve in its place."""
        return int(self.lines("worker_serving", worker=worker)[-1]["pid"])

    def command_line(self, worker: int) -> str:
        """How a worker was started."""
        return Path(f"/proc/{self.pid(worker)}/cmdline").read_text()

    async def ops(self, path: str) -> tuple[int, str]:
        async with httpx.AsyncClient(timeout=PATIENCE) as client:
            answer = await client.get(self.ops_url + path)
            return answer.status_code, answer.text

    async def readiness(self) -> dict[str, str]:
        """What `/readyz` says of each check, and of all."""
        _, body = await self.ops("/readyz")
        said = json.loads(body)
        return {"status": said["status"]} | {check["name"]: check["detail"] for check in said["checks"]}

    async def calls(self, worker: int) -> float:
        """How many calls of `/api/0` a worker has counted."""
        found = re.findall(
            r'^bff_requests_total\{worker="(\d+)",.*route="/api/0".*\} (\S+)$',
            (await self.ops("/metrics"))[1],
            re.MULTILINE,
        )
        return sum(float(count) for counter, count in found if int(counter) == worker)

    def signal(self, number: signal.Signals) -> None:
        self.child.send_signal(number)

    async def ends(self) -> int:
        await until(lambda: self.child.poll() is not None, PATIENCE)
        return int(self.child.wait())


def service(folder: Path, *upstreams: str, **variables: str) -> AbstractContextManager[Service]:
    """Starts the command with two workers, which are forks; the routes `/api/0`, … need no session."""
    return _service([FORKED_WORKERS, *SERVE], folder, upstreams, variables)


def executed_service(folder: Path, *upstreams: str, **variables: str) -> AbstractContextManager[Service]:
    """Likewise with workers that are programs, as in production."""
    return _service(SERVE, folder, upstreams, variables)


@contextmanager
def _service(
    command: Sequence[str], folder: Path, upstreams: Sequence[str], variables: dict[str, str]
) -> Iterator[Service]:
    issuer = variables.pop("issuer", "http://localhost:1")
    redis = variables.pop("redis", "redis://127.0.0.1:1/0")
    environ = variables_for(issuer, redis, *upstreams)
    routes = [{**route, "auth": "none"} for route in json.loads(environ["BFF_ROUTE"])]
    if upstreams:
        environ["BFF_ROUTE"] = json.dumps(routes)
    else:
        del environ["BFF_ROUTE"]  # those of a settings file in the folder count, if there is one
    environ |= {
        "BFF_SERVER__PUBLIC_URL": "http://app.localhost",
        "BFF_SERVER__PORT": "0",
        "BFF_SERVER__OPS_PORT": "0",
        "BFF_LOG__FORMAT": "json",
        **variables,
    }
    log = folder / f"{len(list(folder.iterdir()))}.log"
    with log.open("wb") as output:
        child: Forked[bytes] = Forked(command, env=BARE | environ, stderr=output, cwd=folder)
    try:
        yield Service(child, log)
    finally:
        child.kill()
        child.wait()


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has asked for its exit code counts as ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True
