"""The whole demo, as a newcomer starts it, on free ports: `python3 -m bff demo`."""

import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import urlopen

import redis

from bff.child import Child
from tests.support.settings import PATIENT

ROOT = str(Path(__file__).parents[2])
READY_WITHIN = 60.0  # seconds; a slow machine's
ENDS_WITHIN = 60.0
ACCESS_TOKEN_LIFETIME = 15  # seconds: long enough for a test, short enough to watch one run out
_PORTS = ("--port", "--issuer-port", "--api-port", "--redis-port", "--ops-port")
_READY = "Ctrl-C ends everything"
_FORWARDED = re.compile(
    r'^bff_requests_total\{(?=[^}]*route="/api")(?![^}]*status="403")[^}]*\} (\S+)$', re.MULTILINE
)

_WORKERS = re.compile(r"^bff_workers (\S+)$", re.MULTILINE)
_STREAMS = re.compile(r"^bff_event_streams(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


class Demo:
    """What a test needs to know of the running demo."""

    own_host, foreign_host = "localhost", "127.0.0.1"  # names of two sites, and of one machine

    def __init__(self, said: str, pid: int) -> None:
        self._pid = pid
        self.url = _find(r"Open (http://localhost:\d+)", said)
        self._metrics = _find(r"(http://127\.0\.0\.1:\d+)/readyz", said) + "/metrics"
        self._redis = _find(r"Redis +127\.0\.0\.1:(\d+)", said)

    def sessions(self, session_id: str) -> list[str]:
        """The Redis keys of the sessions whose short name begins so: with a whole one, one or none."""
        with self._client() as client:
            return list(client.scan_iter(f"bff:session:{session_id}*"))

    def delete(self, key: str) -> int:
        """What `redis-cli DEL` does; answers how many keys there were."""
        with self._client() as client:
            return int(client.delete(key))

    def forwarded(self) -> float:
        """How many calls under `/api` were not turned away by the proxy itself, since it began."""
        with urlopen(self._metrics) as answer:  # noqa: S310 - an address that the demo printed
            return sum(map(float, _FORWARDED.findall(answer.read().decode())))

    def has_workers(self, count: int) -> None:
        """Waits until so many serve."""
        deadline = time.monotonic() + READY_WITHIN
        found = 0.0
        while found != count:
            assert time.monotonic() < deadline, f"{found} workers"
            with urlopen(self._metrics) as answer:  # noqa: S310 - an address that the demo printed
                found = sum(map(float, _WORKERS.findall(answer.read().decode())))
            time.sleep(0.05)

    def event_streams(self) -> float:
        """How many pages listen to `/bff/events`, at all workers together."""
        with urlopen(self._metrics) as answer:  # noqa: S310 - an address that the demo printed
            return sum(map(float, _STREAMS.findall(answer.read().decode())))

    def roll(self) -> None:
        """Replaces the proxy's workers one after the other, as an operator does for a new version."""
        children = Path(f"/proc/{self._pid}/task/{self._pid}/children").read_text().split()
        started = {pid: Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") for pid in children}
        (supervisor,) = [int(pid) for pid, words in started.items() if {b"bff", b"serve"} <= set(words)]
        os.kill(supervisor, signal.SIGUSR2)

    def _client(self) -> "redis.Redis":
        return redis.Redis(port=int(self._redis), decode_responses=True, socket_timeout=5)


@contextmanager
def running_demo(
    lifetime: int = ACCESS_TOKEN_LIFETIME, page: Path | None = None, **variables: str
) -> Iterator[Demo]:
    """Starts the demo, waits until it says that it runs, and ends it; it never outlives us."""
    command = [sys.executable, "-m", "bff", "demo", *(part for port in _PORTS for part in (port, "0"))]
    command += ["--access-token-lifetime", str(lifetime)]
    command += [] if page is None else ["--page", str(page)]
    with TemporaryDirectory(prefix="bff-test-demo-") as folder:
        child = Child(
            command,
            log=Path(folder) / "demo.log",
            environment={**os.environ, **PATIENT, **variables, "PYTHONPATH": ROOT},
        )
        try:
            yield Demo(_wait_until_ready(child), child.pid)
        finally:
            child.terminate()
            ended = child.wait(ENDS_WITHIN)
            child.kill()
        assert ended, "the demo did not end when it was asked to"


def _wait_until_ready(child: Child) -> str:
    """What it has printed when it is ready."""
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline:
        said = "\n".join(child.last_lines(100))
        if _READY in said:
            return said
        assert child.alive(), f"the demo ended:\n{said}"
        time.sleep(0.05)
    raise AssertionError("the demo was not ready in time:\n" + "\n".join(child.last_lines(100)))


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    assert found is not None, f"no {pattern} in:\n{text}"
    return found[1]
