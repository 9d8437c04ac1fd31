"""The whole demo, as a newcomer starts it, on free ports: `python3 -m bff demo`."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import redis

READY_WITHIN = 60.0  # seconds; a slow machine's
ENDS_WITHIN = 20.0
ACCESS_TOKEN_LIFETIME = 15  # seconds: long enough for a test, short enough to watch one run out
_PORTS = ("--port", "--issuer-port", "--api-port", "--redis-port", "--ops-port")
_READY = "Ctrl-C ends everything"
_FORWARDED = re.compile(
    r'^bff_requests_total\{(?=[^}]*route="/api")(?![^}]*status="403")[^}]*\} (\S+)$', re.MULTILINE
)


class Demo:
    """What a test needs to know of the running demo."""

    own_host, foreign_host = "localhost", "127.0.0.1"  # names of two sites, and of one machine

    def __init__(self, said: str) -> None:
        self.url = _find(r"Open (http://localhost:\d+)", said)
        self._metrics = _find(r"(http://127\.0\.0\.1:\d+)/readyz", said) + "/metrics"
        self._redis = _find(r"Redis +127\.0\.0\.1:(\d+)", said)

    def sessions(self, session_id: str) -> list[str]:
        """The Redis keys of the sessions whose short name this is: one, or none."""
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

    def _client(self) -> "redis.Redis":
        return redis.Redis(port=int(self._redis), decode_responses=True, socket_timeout=5)


@contextmanager
def running_demo(lifetime: int = ACCESS_TOKEN_LIFETIME) -> Iterator[Demo]:
    """Starts the demo, waits until it says that it runs, and ends it, by its process group, in the end."""
    command = [sys.executable, "-m", "bff", "demo", *(part for port in _PORTS for part in (port, "0"))]
    command += ["--access-token-lifetime", str(lifetime)]
    process = subprocess.Popen(
        command,
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield Demo(_wait_until_ready(process))
    finally:
        _end(process)


def _wait_until_ready(process: "subprocess.Popen[str]") -> str:
    """What it printed until it was ready; the rest is read and dropped, so that the pipe never fills."""
    assert process.stdout is not None
    lines: list[str] = []
    ready = threading.Event()

    def read(output: Iterator[str]) -> None:
        for line in output:
            if not ready.is_set():
                lines.append(line)
            if _READY in line:
                ready.set()
        ready.set()

    threading.Thread(target=read, args=(process.stdout,), daemon=True).start()
    in_time = ready.wait(READY_WITHIN)
    said = "".join(lines)
    assert in_time, f"the demo was not ready in time:\n{said}"
    assert _READY in said, f"the demo ended:\n{said}"
    return said


def _end(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(ENDS_WITHIN)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    finally:
        if process.stdout is not None:
            process.stdout.close()


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    assert found is not None, f"no {pattern} in:\n{text}"
    return found[1]
