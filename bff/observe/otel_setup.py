"""OpenTelemetry's providers and exporters, as the `OTEL_*` variables want them.

The SDK reads most of these itself: sampler, limits, batches, resource, endpoint, headers, certificates. Here
is what it leaves to a distribution: which exporters there are.

Rule 1: no global provider is set; one that the embedding application has set is used.
Rule 2: nothing here keeps a call or a stop waiting: spans are handed to a thread by a bounded queue, which
drops what is too much, and the last export has `_LAST_MOMENT`.
"""

import asyncio
import socket
import threading
import uuid
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.sdk.metrics.export import MetricExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from bff import __version__
from bff.observe.logs import get_logger, name_spans
from bff.observe.metrics import Metrics
from bff.observe.otel_metrics import MetricExport
from bff.observe.otel_spans import OtelSpans, current_ids
from bff.observe.telemetry import Telemetry
from bff.observe.tracing import Place

_NAME: Final = "bff"
_LAST_MOMENT: Final = 2.0
_PROTOCOLS: Final = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
_log = get_logger("bff.telemetry")


class OpenTelemetry(Telemetry):
    """OpenTelemetry where it is on."""

    def __init__(self, provider: TracerProvider | None, own: Place, export: MetricExport | None) -> None:
        tracing = provider or _global_provider()
        if tracing is not None:
            self.spans = OtelSpans(tracing.get_tracer(_NAME, __version__), own)
            name_spans(current_ids)
        self._provider = provider  # ours to end
        self._export = export

    def start(self) -> None:
        """Begins to export metrics."""
        if self._export is not None:
            self._export.start()

    async def aclose(self) -> None:
        """Exports what is left, for a moment; a thread that takes longer ends with the process."""
        ends = [] if self._export is None else [self._export.end]
        ends += [] if self._provider is None else [self._provider.shutdown]
        threads = [threading.Thread(target=end, name="telemetry's end", daemon=True) for end in ends]
        for thread in threads:
            thread.start()
        until = asyncio.get_running_loop().time() + _LAST_MOMENT
        while any(thread.is_alive() for thread in threads):
            if asyncio.get_running_loop().time() > until:
                _log.warning("telemetry_lost", detail="the last of it could not be exported in time")
                return
            await asyncio.sleep(0.005)


def telemetry(environ: Mapping[str, str], metrics: Metrics, own: Place) -> Telemetry:
    """Makes the exporters that the variables name; one that cannot be made is told of, and left out."""
    resource = Resource.create(_about(environ))
    span_exporters = _exporters(environ, "traces")
    provider = None
    if span_exporters:
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        for exporter in span_exporters:
            provider.add_span_processor(BatchSpanProcessor(exporter))
    metric_exporters: list[MetricExporter] = _exporters(environ, "metrics")
    export = MetricExport(metrics, metric_exporters, resource, environ) if metric_exporters else None
    metrics.exemplars = provider is not None
    _log.info(
        "opentelemetry_on",
        traces=[type(one).__name__ for one in span_exporters],
        metrics=[type(one).__name__ for one in metric_exporters],
    )
    return OpenTelemetry(provider, own, export)


def _global_provider() -> TracerProvider | None:
    """The provider that the embedding application has set, if it has."""
    provider = trace.get_tracer_provider()
    return provider if isinstance(provider, TracerProvider) else None


def _about(environ: Mapping[str, str]) -> dict[str, str]:
    """The resource's attributes, as far as the environment does not say otherwise."""
    named = environ.get("OTEL_SERVICE_NAME") or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    about = {"service.version": __version__, "service.instance.id": f"{socket.gethostname()}/{uuid.uuid4()}"}
    return about if named else {"service.name": _NAME, **about}


def _exporters(environ: Mapping[str, str], signal: str) -> list[Any]:
    names = environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip() or "otlp"
    made = []
    for name in (one.strip() for one in names.split(",")):
        if name in {"", "none", "prometheus"}:  # /metrics is there in any case
            continue
        try:
            made.append(_exporter(environ, signal, name))
        except Exception as failure:  # noqa: BLE001 - a package of somebody else's: its trouble is none of ours
            _log.error("telemetry_exporter_failed", signal=signal, exporter=name, detail=str(failure))
    return made


def _exporter(environ: Mapping[str, str], signal: str, name: str) -> Any:
    if name == "otlp":
        own, all_ = f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"
        protocol = environ.get(own) or environ.get(all_) or "http/protobuf"
        name = _PROTOCOLS[protocol]
    found = next(iter(entry_points(group=f"opentelemetry_{signal}_exporter", name=name)), None)
    if found is None:
        raise LookupError(f"no package installed has an exporter {name!r}")
    return found.load()()
