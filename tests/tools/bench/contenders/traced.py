"""Ours with OpenTelemetry on: what a trace of each call, or of none of them, costs."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.tools.bench.contenders.ours import Ours
from tests.tools.bench.environment import Ground


class _Taken(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


class Traced(Ours):
    """One worker whose spans go to a collector that throws them away. `share` of the calls is sampled."""

    def __init__(self, name: str, *, share: float) -> None:
        super().__init__(name)
        self.what = f"bff with OpenTelemetry on, {share:.0%} of the calls sampled"
        self._share = share

    def start(self, ground: Ground) -> None:
        collector = ThreadingHTTPServer(("127.0.0.1", 0), _Taken)
        collector.daemon_threads = True
        thread = threading.Thread(target=collector.serve_forever, daemon=True)
        thread.start()

        def end() -> None:
            collector.shutdown()
            collector.server_close()

        ground.stack.callback(end)
        self._collector = f"http://127.0.0.1:{collector.server_port}"
        super().start(ground)

    def _environment(self, ground: Ground) -> dict[str, str]:
        return {
            **super()._environment(ground),
            "OTEL_EXPORTER_OTLP_ENDPOINT": self._collector,
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": str(self._share),
            "OTEL_BSP_MAX_QUEUE_SIZE": "65536",
            "OTEL_BSP_SCHEDULE_DELAY": "500",
        }
