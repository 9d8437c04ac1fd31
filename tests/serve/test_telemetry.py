"""Several processes that export to a collector over OTLP, and go on without it."""

import gzip
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.serve.service import service
from tests.support.network.backend import Received, Reply, backend
from tests.support.wait import PATIENCE, until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Collector(ThreadingHTTPServer):
    """A collector that keeps what it is sent; while it `hangs` it answers nothing."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[str] = []
        self.metrics: dict[str, set[str]] = {}  # which instances have sent each
        self.hangs = threading.Event()
        self.asked = threading.Event()  # while it hangs
        self.over = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if self.server.hangs.is_set():
            self.server.asked.set()
            self.server.over.wait(PATIENCE)
            return
        if self.path.endswith("/v1/traces"):
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    self.server.spans += [f"{span.trace_id.hex()} {span.name}" for span in scope.spans]
        else:
            for group in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                about = {one.key: one.value.string_value for one in group.resource.attributes}
                assert "shop" == about["service.name"]
                for metric in (metric for scope in group.scope_metrics for metric in scope.metrics):
                    self.server.metrics.setdefault(metric.name, set()).add(about["service.instance.id"])
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


async def test_export(tmp_path: Path, collector: Collector) -> None:
    """Spans and each process' metrics arrive; a collector that hangs holds up nobody."""

    async def answer(_: Received) -> Reply:
        return Reply()

    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
        "OTEL_SERVICE_NAME": "shop",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_METRIC_EXPORT_INTERVAL": "100",
    }
    async with backend(answer) as upstream:
        with service(tmp_path, upstream.url, **variables) as running:
            await running.up()
            headers = {"host": "app.localhost", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
            async with httpx.AsyncClient(base_url=running.url, headers=headers, timeout=PATIENCE) as client:
                for _ in range(3):
                    assert 200 == (await client.get("/api/0/x")).status_code
                wanted = {f"{TRACE} GET /api/0", f"{TRACE} GET"}
                await until(lambda: wanted <= set(collector.spans))
                await until(lambda: len(collector.metrics.get("bff_info", ())) == 2)
                await until(lambda: "bff_own_duration_seconds" in collector.metrics)

                accept = {"accept": "application/openmetrics-text; version=1.0.0, text/plain;q=0.5"}
                page = await client.get(running.ops_url + "/metrics", headers={**accept, "host": "localhost"})
                families = list(text_string_to_metric_families(page.text))  # type: ignore[no-untyped-call] # it has no types
                examples = [one.exemplar for family in families for one in family.samples if one.exemplar]
                assert {TRACE} == {one.labels["trace_id"] for one in examples}
                assert "bff_worker_deaths" in {family.name for family in families}
                assert "# {" not in (await running.ops("/metrics"))[1]

                collector.hangs.set()
                await until(collector.asked.is_set)
                for _ in range(3):
                    assert 200 == (await client.get("/api/0/x")).status_code
            running.signal(signal.SIGTERM)
            assert 0 == await running.ends()
            assert running.lines("telemetry_lost")
