"""The delay until `redis-cli DEL` of a session is seen by four processes, each on a port of its own."""

import contextlib
import http.client
import statistics
import threading
import time

import redis

from bff.crypto import new_secret, session_key
from tests.tools.bench.contenders.ours import Ours
from tests.tools.bench.environment import JSON, Ground
from tests.tools.bench.figures import Finding
from tests.tools.bench.load import LoadError, check_answer
from tests.tools.bench.scenarios.base import Scale, Scenario, Tell

_PROCESSES = 4
_PAUSE = 0.001
"""Seconds between two questions to one process: the resolution."""
_PATIENCE = 10.0
_EXPECTED = 100.0  # milliseconds


class Deletion(Scenario):
    """Four processes share keys and Redis; each has the session in its near cache when it is deleted."""

    name = "deletion"
    what = "redis-cli DEL, until each of four processes answers 401"

    def __init__(self) -> None:
        keys = new_secret()
        first = Ours("deletion-0", keys=keys)
        others = [
            Ours(f"deletion-{number}", keys=keys, public_port=first.port) for number in range(1, _PROCESSES)
        ]
        self.ours = [first, *others]

    def run(self, ground: Ground, scale: Scale, tell: Tell) -> list[Finding]:
        for process in self.ours:
            process.start(ground)
        delays: list[float] = []
        with redis.Redis.from_url(ground.redis.url) as client:
            for number in range(scale.deletions):
                tell(f"deletion {number + 1} of {scale.deletions}")
                delays += self._delete_once(client)
        worst = max(delays)
        times = f"{scale.deletions} x {_PROCESSES} processes"
        return [
            Finding(self.name, f"DEL to 401, median of {times}", f"{statistics.median(delays):.1f} ms"),
            Finding(
                self.name,
                f"DEL to 401, worst of {times}",
                f"{worst:.1f} ms",
                "under 100 ms",
                worst < _EXPECTED,
            ),
        ]

    def _delete_once(self, client: "redis.Redis") -> list[float]:
        session = self.ours[0].sign_in()
        headers = {**self.ours[0].headers(), **session}
        handle = session["Cookie"].partition("=")[2].partition(";")[0]
        for process in self.ours:
            for _ in range(3):
                check_answer(process.port, JSON, headers)
        watches = [_Watch(process.port, headers) for process in self.ours]
        for watch in watches:
            watch.start()
        for watch in watches:
            watch.asking.wait(_PATIENCE)
        if client.delete(f"bff:session:{session_key(handle)}") != 1:
            raise LoadError("there was nothing to delete")
        deleted = time.perf_counter()
        for watch in watches:
            watch.join(2 * _PATIENCE)
        seen = [watch.refused_at for watch in watches if watch.refused_at is not None]
        if len(seen) < len(watches):
            raise LoadError(f"a deleted session was not refused within {_PATIENCE:.0f} seconds")
        return [max(0.0, moment - deleted) * 1000 for moment in seen]


class _Watch(threading.Thread):
    """Asks one process again and again until it answers 401."""

    def __init__(self, port: int, headers: dict[str, str]) -> None:
        super().__init__(daemon=True)
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
        self._headers = headers
        self.asking = threading.Event()
        self.refused_at: float | None = None

    def run(self) -> None:
        until = time.perf_counter() + _PATIENCE
        with contextlib.closing(self._connection), contextlib.suppress(OSError, http.client.HTTPException):
            while time.perf_counter() < until and self.refused_at is None:
                self._connection.request("GET", JSON.path, headers=self._headers)
                answer = self._connection.getresponse()
                answer.read()
                if answer.status == http.client.UNAUTHORIZED:
                    self.refused_at = time.perf_counter()
                self.asking.set()
                time.sleep(_PAUSE)
