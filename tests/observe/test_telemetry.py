"""Whether OpenTelemetry is on, what it exports to, and what it makes of our metrics."""

import importlib.util
from typing import Any, Literal

import pytest
from opentelemetry.sdk.metrics.export import Gauge, Histogram, Metric, Sum
from opentelemetry.sdk.trace import TracerProvider
from structlog.testing import capture_logs

from bff.observe.metrics import Metrics
from bff.observe.otel_metrics import converted, milliseconds
from bff.observe.telemetry import telemetry_of, verdict
from bff.observe.tracing import Place
from bff.settings.model import TelemetrySettings

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
OWN = Place("https", "app.example.com", 443)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("expected", "wanted", "environ", "there"),
    [
        ("off", "auto", {}, True),
        ("on", "auto", ENDPOINT, True),
        ("missing", "auto", ENDPOINT, False),
        ("off", "off", ENDPOINT, True),
        ("on", "on", {}, True),
        ("off", "on", {"OTEL_SDK_DISABLED": "True"}, True),
        ("off", "auto", {"OTEL_TRACES_EXPORTER": "none"}, True),
        ("on", "auto", {"OTEL_TRACES_EXPORTER": "console"}, True),
    ],
)
def test_when_it_is_on(
    expected: str, wanted: Literal["auto", "on", "off"], environ: dict[str, str], *, there: bool
) -> None:
    """By the setting; with "auto" where the environment says where to; never where the SDK is disabled."""
    assert expected == verdict(wanted, environ, there=there)


def test_where_it_is_off_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """And where its packages are missing a line in the log says how to get them."""
    monkeypatch.setattr("importlib.import_module", None)
    metrics = Metrics()
    assert telemetry_of(TelemetrySettings(), {}, metrics, OWN).spans is None
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with capture_logs() as lines:
        assert telemetry_of(TelemetrySettings(), ENDPOINT, metrics, OWN).spans is None
    assert [("opentelemetry_missing", True)] == [
        (line["event"], "[otel]" in line["detail"]) for line in lines
    ]


async def test_an_exporter_that_cannot_be_made_stops_nothing() -> None:
    """The log names it, and the others are made."""
    environ = {"OTEL_TRACES_EXPORTER": "nobodys,otlp", "OTEL_METRICS_EXPORTER": "prometheus"}
    with capture_logs() as lines:
        made = telemetry_of(TelemetrySettings(opentelemetry="on"), environ, Metrics(), OWN)
    assert made.spans is not None
    failed, on = lines
    assert ("telemetry_exporter_failed", "nobodys") == (failed["event"], failed["exporter"])
    assert (["OTLPSpanExporter"], []) == (on["traces"], on["metrics"])
    await made.aclose()


async def test_the_provider_of_the_embedding_application_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where we have no exporter of our own, its spans are ours; it is its own to end."""
    theirs = TracerProvider(shutdown_on_exit=False)
    monkeypatch.setattr("opentelemetry.trace.get_tracer_provider", lambda: theirs)
    environ = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}
    made = telemetry_of(TelemetrySettings(opentelemetry="on"), environ, Metrics(), OWN)
    assert made.spans is not None
    assert made.spans.call(None, "GET", "/api", "/api/x").sampled
    await made.aclose()


def exported() -> dict[str, Metric]:
    metrics = Metrics()
    requests = metrics.requests("/api", "GET")
    requests.add(200, 0.003, 0.002, 0.0001)
    requests.add(200, 0.3, 0.2, 0.1)
    requests.exemplify(0.3, 0.2, TRACE)
    metrics.event_streams.set(3)
    found = [converted(family, 1, 2) for family in metrics.families()]
    return {metric.name: metric for metric in found if metric is not None}


def test_metrics_are_those_of_prometheus() -> None:
    """Counters, gauges and histograms with bounds, unit and the trace that is an example."""
    found = exported()
    counter = found["bff_requests_total"].data
    assert isinstance(counter, Sum)
    assert [(2.0, {"route": "/api", "method": "GET", "status": "2xx"})] == [
        (point.value, point.attributes) for point in counter.data_points
    ]
    gauge = found["bff_event_streams"].data
    assert isinstance(gauge, Gauge)
    assert [3.0] == [point.value for point in gauge.data_points]
    metric = found["bff_request_duration_seconds"]
    assert "s" == metric.unit
    histogram: Any = metric.data
    assert isinstance(histogram, Histogram)
    (point,) = histogram.data_points
    assert (2, 0.303) == (point.count, point.sum)
    assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
    assert {0.005: 1, 0.5: 1} == {
        bound: count
        for bound, count in zip(point.explicit_bounds, point.bucket_counts, strict=False)
        if count
    }
    assert [(int(TRACE, 16), 0.3)] == [(one.trace_id, one.value) for one in point.exemplars]
    assert "bff_sessions" not in found  # not counted here: no number is not 0


def test_an_interval_that_is_none_is_the_default() -> None:
    """A mistyped variable does not stop a server."""
    assert [200.0, 60.0, 60.0, 60.0] == [milliseconds(text, 60.0) for text in ("200", None, "x", "-1")]
