"""Long bodies: how fast they pass, and what the proxy holds of them, whatever the pace of the peers."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from tests.tools.bench import machine
from tests.tools.bench.contenders.ours import Ours
from tests.tools.bench.contenders.plain import start_plain_nginx
from tests.tools.bench.environment import Ground
from tests.tools.bench.figures import Finding
from tests.tools.bench.peers import download, upload
from tests.tools.bench.programs import Program, lasting_port, listens, python_environment, start
from tests.tools.bench.scenarios.base import GIB, MIB, Scale, Scenario, Tell

_PATH = "/stream/bulk"
_SLOW = 50_000_000.0  # bytes a second
_MOST_GROWTH = 24 * MIB
_LEAST_OF_NGINX = 1 / 3
_NGINX_LOCATION = """location /stream {
  proxy_pass http://peers; proxy_request_buffering off; client_body_buffer_size 256k;
  proxy_max_temp_file_size 0; proxy_buffer_size 64k; proxy_buffers 16 64k; proxy_busy_buffers_size 256k;
}"""
"""Streaming as ours does, with large buffers: with its defaults nginx is slower than this."""


Transfer = Callable[[int, str, int, Mapping[str, str], float], float]
"""Port, path, bytes, headers, bytes a second (0: no limit); returns the seconds that it took."""


@dataclass(frozen=True, slots=True)
class _Racer:
    name: str
    program: Program
    port: int


class Streaming(Scenario):
    """Ours and nginx carry the same bytes between the same peers, in turn."""

    name = "streaming"
    what = "1 GiB up and down, at 50 MB/s and at full speed: memory, and speed beside nginx's"

    def __init__(self) -> None:
        self._backend_port = lasting_port()
        route = {
            "path": "/stream",
            "upstream": f"http://127.0.0.1:{self._backend_port}",
            "strip_prefix": False,
            "max_body": 4 * GIB,
        }
        self.ours = [Ours("streaming", routes=[route])]

    def run(self, ground: Ground, scale: Scale, tell: Tell) -> list[Finding]:
        ours, nginx_port = self.ours[0], lasting_port()
        self._start_peers(ground)
        ours.start(ground)
        upstream = f"upstream peers {{ server 127.0.0.1:{self._backend_port}; keepalive 8; }}"
        nginx = start_plain_nginx(
            ground, "streaming-nginx", nginx_port, upstreams=upstream, locations=_NGINX_LOCATION
        )
        assert ours.program is not None
        racers = (_Racer("ours", ours.program, ours.port), _Racer("nginx", nginx, nginx_port))
        findings = []
        for direction, transfer in (("down", download), ("up", upload)):
            transfer(ours.port, _PATH, MIB, ours.headers(), 0)
            for pace, rate in (("at 50 MB/s", _SLOW), ("at full speed", 0.0)):
                tell(f"{scale.transfer // MIB} MiB {direction} {pace}")
                growth = self._growth(ours, transfer, scale.transfer, rate)
                what = f"{scale.transfer // MIB} MiB {direction} {pace}: memory grew by"
                kept = growth < _MOST_GROWTH
                findings.append(Finding(self.name, what, f"{growth / MIB:.1f} MiB", "under 24 MiB", kept))
            tell(f"{direction} at full speed, ours and nginx, {scale.rounds} times")
            findings += self._compare(direction, transfer, scale, racers)
        return findings

    def _start_peers(self, ground: Ground) -> None:
        port = self._backend_port
        command = [sys.executable, "-m", "tests.tools.bench.peers", str(port)]
        ground.keep(
            start(
                "peers",
                command,
                folder=ground.folder,
                cores=ground.cores.rest,
                ready=lambda: listens(port),
                environment=python_environment(os.environ),
            )
        )

    def _growth(self, ours: Ours, transfer: Transfer, size: int, rate: float) -> int:
        assert ours.program is not None
        headers = ours.headers()
        before = machine.resident_memory(ours.program.pid)
        machine.forget_peak(ours.program.pid)
        transfer(ours.port, _PATH, size, headers, rate)
        return max(0, machine.peak_memory(ours.program.pid) - before)

    def _compare(
        self, direction: str, transfer: Transfer, scale: Scale, racers: Sequence[_Racer]
    ) -> list[Finding]:
        speeds: dict[str, list[float]] = {racer.name: [] for racer in racers}
        used: dict[str, list[float]] = {racer.name: [] for racer in racers}
        headers = self.ours[0].headers()
        for _ in range(scale.rounds):
            for racer in racers:
                before = machine.group_cpu(racer.program.pid)
                seconds = transfer(racer.port, _PATH, scale.transfer, headers, 0)
                speeds[racer.name].append(scale.transfer / seconds)
                cpu = machine.group_cpu(racer.program.pid) - before
                used[racer.name].append(cpu * GIB / scale.transfer)
        ratio = median(mine / its for mine, its in zip(*speeds.values(), strict=True))
        found = [
            Finding(
                self.name,
                f"{direction}, {name}: speed; CPU time for a GiB",
                f"{median(speeds[name]) / 1e6:,.0f} MB/s; {median(used[name]):.2f} s",
            )
            for name in speeds
        ]
        kept = ratio >= _LEAST_OF_NGINX
        return [
            *found,
            Finding(self.name, f"{direction}: speed by nginx's", f"{ratio:.2f}", "at least 0.33", kept),
        ]
