"""The ops port."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from bff.observe.metrics import Metrics
from bff.serve.ops_port import OpsServer, host_problem
from bff.settings.model import ServerSettings
from bff.web.readiness import Check
from tests.support.wait import PATIENCE

GOOD = Check("redis", ok=True, detail="writable")
BAD = Check("provider", ok=False, detail="cannot be reached")


class Ops:
    """A server whose checks the test decides."""

    def __init__(self) -> None:
        self.checks: Sequence[Check] | Exception = [GOOD]
        self.metrics = Metrics()
        self.server = OpsServer(self._page, self._readiness, ["bff", "Metrics.Internal"])
        self.port = 0

    async def _readiness(self) -> Sequence[Check]:
        if isinstance(self.checks, Exception):
            raise self.checks
        return self.checks

    async def _page(self, openmetrics: bool) -> tuple[bytes, str]:
        return self.metrics.render(openmetrics=openmetrics)

    async def raw(self, data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        async with asyncio.timeout(PATIENCE):
            answer = await reader.read()
        writer.close()
        return answer

    async def get(self, path: str) -> tuple[int, str]:
        head, _, body = (await self.raw(f"GET {path} HTTP/1.1\r\nHost: bff\r\n\r\n".encode())).partition(
            b"\r\n\r\n"
        )
        assert b"connection: close" in head
        assert b"cache-control: no-store" in head
        assert f"content-length: {len(body)}".encode() in head
        return int(head.split(b" ")[1]), body.decode()


@asynccontextmanager
async def serving() -> AsyncIterator[Ops]:
    ops = Ops()
    listener = socket.create_server(("127.0.0.1", 0))
    ops.port = listener.getsockname()[1]
    await ops.server.start(listener)
    try:
        yield ops
    finally:
        await ops.server.close()


async def test_alive() -> None:
    """A process that answers is alive, whatever is not ready."""
    async with serving() as ops:
        ops.checks = [BAD]
        assert (200, "alive\n") == await ops.get("/livez")


async def test_ready() -> None:
    """Ready means that every check is good; the answer names each."""
    async with serving() as ops:
        status, body = await ops.get("/readyz?verbose")
        assert 200 == status
        good = {"name": "redis", "ok": True, "detail": "writable", "needed": True}
        assert {"status": "ready", "checks": [good]} == json.loads(body)


@pytest.mark.parametrize("checks", [[GOOD, BAD], RuntimeError("a broken check")])
async def test_not_ready(checks: Sequence[Check] | Exception) -> None:
    """One bad check, or one that fails itself, is 503."""
    async with serving() as ops:
        ops.checks = checks
        status, body = await ops.get("/readyz")
        assert (503, "not ready") == (status, json.loads(body)["status"])


@pytest.mark.requirement("S-12")
async def test_what_is_not_needed_is_told_and_does_not_count() -> None:
    """A provider that is away is named as bad, and requests come all the same."""
    async with serving() as ops:
        ops.checks = [GOOD, replace(BAD, needed=False)]
        status, body = await ops.get("/readyz")
        assert (200, "ready") == (status, json.loads(body)["status"])
        told = {"name": "provider", "ok": False, "detail": "cannot be reached", "needed": False}
        assert told == json.loads(body)["checks"][1]


@pytest.mark.requirement("H-09")
async def test_stopping() -> None:
    """A process that stops is not ready, however good its checks."""
    async with serving() as ops:
        ops.server.stopping = True
        status, body = await ops.get("/readyz")
        assert (503, {"status": "stopping", "checks": []}) == (status, json.loads(body))
        assert 200 == (await ops.get("/livez"))[0]


async def test_metrics() -> None:
    """Metrics are there in Prometheus' format."""
    async with serving() as ops:
        ops.metrics.session_started()
        status, body = await ops.get("/metrics")
        assert 200 == status
        assert "bff_sessions_started_total 1.0" in body


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /other HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /livez HTTP/1.1\r\n\r\n", b"405"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /livez HTTP/1.1\r\nX: " + b"y" * 70_000, b"400"),
    ],
)
async def test_bad_requests(data: bytes, status: bytes) -> None:
    """Everything else is refused."""
    async with serving() as ops:
        assert status == (await ops.raw(data)).split(b" ")[1]


async def test_head() -> None:
    """HEAD has the head only."""
    async with serving() as ops:
        answer = await ops.raw(b"HEAD /livez HTTP/1.1\r\n\r\n")
        assert b"content-length: 6" in answer
        assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:9090",
        "10.1.2.3",  # a probe by the pod's address
        "[::1]:9090",
        "[fd00::7]",
        "localhost:9090",
        "LOCALHOST",
        "bff.localhost",
        "bff:9090",
        "BFF",
        "metrics.internal.",
        "",
    ],
)
@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_hosts_that_may_ask(host: str, path: str) -> None:
    """Addresses, localhost and the names of the settings, with a port or without."""
    async with serving() as ops:
        answer = await ops.raw(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert b"200" == answer.split(b" ")[1]


@pytest.mark.parametrize(
    "lines",
    [
        "Host: rebound.example",
        "Host: rebound.example:9090",
        "host:bff.rebound.example",
        "Host: 127.0.0.1.nip.example",
        "Host: localhost.rebound.example",
        "Host: 2130706433",  # no browser leaves it so: it writes 127.0.0.1
        "Host: 127.0.0.1\r\nHost: rebound.example",
        "Host: rebound.example\r\nHost: 127.0.0.1",
    ],
)
@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_a_rebound_name_reads_nothing(lines: str, path: str) -> None:
    """A page of a foreign name that resolves to this machine gets 421, and no metrics."""
    async with serving() as ops:
        ops.metrics.session_started()
        with capture_logs() as logs:
            answer = await ops.raw(f"GET {path} HTTP/1.1\r\n{lines}\r\n\r\n".encode())
        assert b"421" == answer.split(b" ")[1]
        assert b"bff_" not in answer
        (refused,) = logs
        assert "ops_host_refused" == refused["event"]
        assert lines.lower().count("host:") == len(refused["host"].split(", "))


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "bff"])
async def test_the_configured_host_may_ask(host: str) -> None:
    """What `ops_host` names is one of the names."""
    server = ServerSettings(public_url="https://app.example", ops_host="box.internal", ops_hosts=("bff",))
    assert ("bff", "box.internal") == server.ops_names()
    assert host_problem(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(), server.ops_names()) is None


@pytest.mark.requirement("H-09", "H-13")
async def test_a_scrape_in_flight_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    """A scrape that is under way when the port closes leaves no error, whether or not it is answered."""

    async def never(_: bool) -> tuple[bytes, str]:
        asked.set()
        await asyncio.Event().wait()
        return b"", ""

    async def ready() -> list[Check]:
        return []

    asked = asyncio.Event()
    server = OpsServer(never, ready)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    await server.start(listener)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
    async with asyncio.timeout(30):
        await asked.wait()
        await server.close()
        assert b"" == await reader.read()
    writer.close()
    assert [] == caplog.records
