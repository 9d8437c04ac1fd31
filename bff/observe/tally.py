"""Requests, counted as cheaply as can be: plain numbers, made into metrics when somebody asks.

The client library takes a lock for every sample, which is more than the rest of a request's accounting.
Rule 1: it belongs to one event loop; whoever collects from another thread may see a request half counted.
"""

from bisect import bisect_left
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)  # seconds


class RequestTally(Collector):
    """Answered requests by route, method and status class, and how long they took by route."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: dict[tuple[str, str, str], int] = {}
        self._buckets: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def add(self, route: str, method: str, status: str, seconds: float) -> None:
        """Counts one request; beyond `most` combinations further ones are counted as `other`."""
        key = (route, method, status)
        count = self._counts.get(key)
        if count is None:
            if len(self._counts) >= self._most:
                route = "other"
                key = (route, "other", "other")
            count = self._counts.get(key, 0)
            self._buckets.setdefault(route, [0] * (len(BUCKETS) + 1))
        self._counts[key] = count + 1
        self._buckets[route][bisect_left(BUCKETS, seconds)] += 1
        self._sums[route] = self._sums.get(route, 0.0) + seconds

    def collect(self) -> Iterator[Metric]:
        """The metrics as they stand."""
        counter = CounterMetricFamily(
            "bff_requests", "Answered requests.", labels=["route", "method", "status"]
        )
        for labels, count in self._counts.items():
            counter.add_metric(labels, count)
        yield counter
        histogram = HistogramMetricFamily(
            "bff_request_duration_seconds",
            "From a request's first byte to its answer's last.",
            labels=["route"],
        )
        for route, buckets in self._buckets.items():
            below, cumulated = 0, []
            for bound, count in zip([*map(str, BUCKETS), "+Inf"], buckets, strict=True):
                below += count
                cumulated.append((bound, below))
            histogram.add_metric([route], cumulated, self._sums[route])
        yield histogram
