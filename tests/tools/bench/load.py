"""Load by wrk, and what a run of it says.

wrk counts a redirect and a short body as success. So each run stands between two looks at a real answer
(`check_answer`), and its bytes must have been enough for as many whole answers (`Figures.whole`).
"""

import contextlib
import http.client
import json
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.tools.bench.machine import on
from tests.tools.bench.programs import find

_SCRIPT = """
{request}
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\n@{{"requests":%d,"microseconds":%d,"bytes":%d,"failed":%d,"timeouts":%d,"refused":%d,' ..
    '"p50":%.1f,"p90":%.1f,"p99":%.1f,"max":%.1f}}\\n',
    summary.requests, summary.duration, summary.bytes, e.connect + e.read + e.write, e.timeout, e.status,
    latency:percentile(50), latency:percentile(90), latency:percentile(99), latency.max))
end
"""
_MARK = "@"


class LoadError(Exception):
    """A contender did not answer as it has to."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request to every contender, and the body that has to come back."""

    method: str
    path: str
    answer: bytes
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Figures:
    """One run. Latencies are in milliseconds; `cpu` is the contender's share of a core."""

    requests: int
    seconds: float
    size: int  # bytes received
    failed: int  # connections refused, broken, and requests without an answer in time
    refused: int  # answers above 399
    p50: float
    p90: float
    p99: float
    max: float
    cpu: float = 0.0

    @property
    def rate(self) -> float:
        """Good answers a second."""
        return max(0, self.requests - self.refused) / self.seconds if self.seconds else 0.0

    @property
    def cost(self) -> float:
        """Microseconds of the contender's CPU time for a request."""
        return self.cpu * self.seconds / self.requests * 1e6 if self.requests else 0.0

    def whole(self, answer: bytes) -> bool:
        """True if enough bytes came for every good answer to be whole."""
        return self.requests > 0 and self.size >= (self.requests - self.refused) * len(answer)


def parse(output: str) -> Figures:
    """Reads what the script has written at wrk's end; LoadError if it has not."""
    line = next((line for line in output.splitlines() if line.startswith(_MARK)), None)
    if line is None:
        raise LoadError(f"wrk said nothing that can be read: {output.strip()[-300:]}")
    said = json.loads(line.removeprefix(_MARK))
    return Figures(
        requests=said["requests"],
        seconds=said["microseconds"] / 1e6,
        size=said["bytes"],
        failed=said["failed"] + said["timeouts"],
        refused=said["refused"],
        **{name: said[name] / 1000 for name in ("p50", "p90", "p99", "max")},
    )


def lua_string(data: bytes) -> str:
    """A Lua literal of any bytes."""
    return '"' + "".join(f"\\{byte:03d}" for byte in data) + '"'


def script_for(request: Request) -> str:
    """A fixed request: wrk then renders it once, and not for each call."""
    lines = [f'wrk.method = "{request.method}"']
    if request.body:
        lines.append(f"wrk.body = {lua_string(request.body)}")
    return "\n".join(lines)


def run(
    port: int,
    request: Request,
    headers: Mapping[str, str],
    *,
    connections: int,
    seconds: float,
    cores: frozenset[int],
    folder: Path,
    script: str | None = None,
    over: Path | None = None,
) -> Figures:
    """Runs wrk for whole seconds, at least one.

    `script` makes requests that differ. wrk ends before its time once the file `over` is there: what it has
    loaded would be idle until then, and sessions that nobody uses for a minute cost their next call a write.
    """
    wrk = find("wrk")
    if wrk is None:
        raise LoadError("wrk is not installed")
    file = folder / "request.lua"
    file.write_text(_SCRIPT.format(request=script if script is not None else script_for(request)))
    command = [wrk, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    command += ["-s", str(file), f"http://127.0.0.1:{port}{request.path}"]
    with on(cores):
        wrk_process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        latest = time.monotonic() + seconds
        while over is not None and time.monotonic() < latest and wrk_process.poll() is None:
            if over.exists():
                wrk_process.send_signal(signal.SIGINT)
                break
            time.sleep(0.02)
        try:
            said, complaint = wrk_process.communicate(timeout=seconds + 60)
        finally:
            wrk_process.kill()
    if wrk_process.returncode:
        raise LoadError(f"wrk failed: {(complaint or said).strip()[-300:]}")
    return parse(said)


def check_answer(port: int, request: Request, headers: Mapping[str, str]) -> None:
    """LoadError unless this request gets 200 and the right body."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        try:
            connection.request(request.method, request.path, request.body or None, dict(headers))
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as failure:
            raise LoadError(f"no answer: {type(failure).__name__} {failure}") from failure
    if answer.status != http.client.OK or body != request.answer:
        due = f"200 with {len(request.answer)} was due"
        raise LoadError(f"{answer.status} with {len(body)} bytes where {due}: {body[:200]!r}")
