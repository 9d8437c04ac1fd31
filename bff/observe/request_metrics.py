"""Request metrics, kept as plain numbers and turned into samples when they are collected.

The client library takes a lock for every sample, which is more than the rest of a request's accounting.
Rule 1: they belong to one event loop; a collector in another thread may see a request half counted.
"""

from bisect import bisect_left
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)  # seconds

_CLASSES = ("other", "1xx", "2xx", "3xx", "4xx", "5xx")
_HIGHEST = 599


class _Durations:
    """The durations of one route's requests."""

    __slots__ = ("buckets", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0


class Requests:
    """Those of one route and method."""

    __slots__ = ("_classes", "_durations")

    def __init__(self, durations: _Durations) -> None:
        self._classes = [0] * len(_CLASSES)
        self._durations = durations

    def add(self, status: int, seconds: float) -> None:
        """Counts one."""
        self._classes[status // 100 if 0 < status <= _HIGHEST else 0] += 1
        durations = self._durations
        durations.buckets[bisect_left(BUCKETS, seconds)] += 1
        durations.seconds += seconds

    def by_class(self) -> Iterator[tuple[str, int]]:
        """The counts of requests by class of status, without those at zero."""
        return ((name, count) for name, count in zip(_CLASSES, self._classes, strict=True) if count)


class RequestTally(Collector):
    """Answered requests by route, method and status class, and how long they took by route."""

    def __init__(self, most: int) -> None:
        self._most = most // len(_CLASSES)
        self._requests: dict[tuple[str, str], Requests] = {}
        self._durations: dict[str, _Durations] = {}

    def of(self, route: str, method: str) -> Requests:
        """The counts of this route and method; beyond the bound, which is of all, those of `other`."""
        requests = self._requests.get((route, method))
        if requests is None:
            if len(self._requests) >= self._most:
                route = method = "other"
            durations = self._durations.setdefault(route, _Durations())
            requests = self._requests.setdefault((route, method), Requests(durations))
        return requests

    def collect(self) -> Iterator[Metric]:
        """The metrics as they stand."""
        counter = CounterMetricFamily(
            "bff_requests", "Answered requests.", labels=["route", "method", "status"]
        )
        for labels, requests in self._requests.items():
            for status, count in requests.by_class():
                counter.add_metric((*labels, status), count)
        yield counter
        histogram = HistogramMetricFamily(
            "bff_request_duration_seconds",
            "From a request's first byte to its answer's last.",
            labels=["route"],
        )
        for route, durations in self._durations.items():
            below, cumulated = 0, []
            for bound, count in zip([*map(str, BUCKETS), "+Inf"], durations.buckets, strict=True):
                below += count
                cumulated.append((bound, below))
            histogram.add_metric([route], cumulated, durations.seconds)
        yield histogram
