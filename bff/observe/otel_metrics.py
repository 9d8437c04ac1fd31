"""The export of metrics by OpenTelemetry: the same that Prometheus reads, pushed now and then.

Rule 1: the metrics are read on the event loop, whose they are, and sent by a thread; one that is slow misses
a turn, and nobody waits for it.
Rule 2: values are cumulative, as they are for Prometheus.
"""

import asyncio
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricExporter,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.samples import Sample

from bff import __version__
from bff.observe.metrics import Metrics

_EVERY: Final = 60_000.0  # milliseconds, as the SDK's
_PATIENCE: Final = 30_000.0
_CUMULATIVE: Final = AggregationTemporality.CUMULATIVE


def milliseconds(text: str | None, default: float) -> float:
    """A variable in milliseconds; the default where it is no positive number."""
    try:
        value = float(text or default)
    except ValueError:
        return default
    return value if value > 0 else default


class MetricExport:
    """Exports the metrics of a process again and again, and once more at the end."""

    def __init__(
        self,
        metrics: Metrics,
        exporters: Sequence[MetricExporter],
        resource: Resource,
        environ: Mapping[str, str],
    ) -> None:
        self._metrics = metrics
        self._exporters = exporters
        self._resource = resource
        self._every = milliseconds(environ.get("OTEL_METRIC_EXPORT_INTERVAL"), _EVERY) / 1000
        self._patience = milliseconds(environ.get("OTEL_METRIC_EXPORT_TIMEOUT"), _PATIENCE)
        self._began = time.time_ns()
        self._sending: threading.Thread | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begins to export, on the running loop."""
        self._timer = asyncio.get_running_loop().call_later(self._every, self._turn)

    def end(self) -> None:
        """Exports once more, and ends the exporters; waits for them."""
        if self._timer is not None:
            self._timer.cancel()
        if self._sending is not None:
            self._sending.join()
        self._send(self._read())
        for exporter in self._exporters:
            exporter.shutdown()

    def _turn(self) -> None:
        if self._sending is None or not self._sending.is_alive():
            self._sending = threading.Thread(
                target=self._send, args=(self._read(),), name="metrics", daemon=True
            )
            self._sending.start()
        self.start()

    def _send(self, data: MetricsData) -> None:
        for exporter in self._exporters:
            exporter.export(data, timeout_millis=self._patience)

    def _read(self) -> MetricsData:
        now = time.time_ns()
        metrics = [
            metric
            for family in self._metrics.families()
            if (metric := converted(family, self._began, now)) is not None
        ]
        scope = ScopeMetrics(InstrumentationScope("bff", __version__), metrics, "")
        return MetricsData([ResourceMetrics(self._resource, [scope], "")])


def converted(family: Family, began: int, now: int) -> Metric | None:
    """A metric of Prometheus' as one of OpenTelemetry's; None where it has no samples.

    Args:
        family: the metric.
        began: when its counting began, in nanoseconds since the epoch.
        now: when it was read, likewise.
    """
    data: Sum | Gauge | Histogram
    name = family.name
    if family.type == "histogram":
        points = _histograms(family.samples, began, now)
        data = Histogram(points, _CUMULATIVE)
    else:
        samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
        counter = family.type == "counter"
        numbers = [
            NumberDataPoint(dict(sample.labels), began if counter else 0, now, sample.value)
            for sample in samples
        ]
        data = Sum(numbers, _CUMULATIVE, is_monotonic=True) if counter else Gauge(numbers)
        name = f"{name}_total" if counter else name
    if not data.data_points:
        return None
    unit = next((unit for word, unit in (("_seconds", "s"), ("_bytes", "By")) if word in family.name), "1")
    return Metric(name, family.documentation, unit, data)


def _histograms(samples: Iterable[Sample], began: int, now: int) -> list[HistogramDataPoint]:
    found: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}
    for sample in samples:
        labels = {name: value for name, value in sample.labels.items() if name != "le"}
        one = found.setdefault(
            tuple(sorted(labels.items())), {"labels": labels, "bounds": [], "exemplars": []}
        )
        if sample.name.endswith("_bucket"):
            one["bounds"].append((float(sample.labels["le"]), int(sample.value)))
            if sample.exemplar is not None:
                one["exemplars"].append(_exemplar(sample.exemplar))
        elif sample.name.endswith("_sum"):
            one["sum"] = sample.value
    return [_histogram(one, began, now) for one in found.values() if one["bounds"]]


def _histogram(one: Mapping[str, Any], began: int, now: int) -> HistogramDataPoint:
    bounds: list[tuple[float, int]] = sorted(one["bounds"])
    counts = [count for _, count in bounds]
    return HistogramDataPoint(
        attributes=one["labels"],
        start_time_unix_nano=began,
        time_unix_nano=now,
        count=counts[-1],
        sum=one.get("sum", 0.0),
        bucket_counts=[count - before for count, before in zip(counts, [0, *counts], strict=False)],
        explicit_bounds=[bound for bound, _ in bounds[:-1]],
        min=cast("float", None),  # not known; the field is optional on the wire
        max=cast("float", None),
        exemplars=one["exemplars"],
    )


def _exemplar(exemplar: Any) -> Exemplar:
    return Exemplar(
        {},
        exemplar.value,
        int((exemplar.timestamp or 0) * 1e9),
        span_id=None,
        trace_id=int(exemplar.labels["trace_id"], 16),
    )
