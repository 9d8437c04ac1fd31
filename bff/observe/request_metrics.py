"""Request metrics, kept as plain numbers and turned into samples when they are collected.

The client library takes a lock for every sample, which is more than the rest of a request's accounting.
Rule 1: they belong to one event loop; a collector in another thread may see a request half counted.
"""

import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

BUCKETS = (
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0,
)  # fmt: skip
"""Bounds for a whole request and for a backend, in seconds."""

OWN_BUCKETS = (
    0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Bounds for the proxy's own part, in seconds: most often a fraction of a millisecond."""

_CLASSES = ("other", "1xx", "2xx", "3xx", "4xx", "5xx")
_HIGHEST = 599


class Durations:
    """A histogram of seconds.

    Args:
        bounds: the upper bounds of its buckets.
        numbers: the list that has its numbers, behind those of others: buckets, then the sum of the seconds.
    """

    __slots__ = ("_at", "_end", "_numbers", "bounds", "exemplars")

    def __init__(self, bounds: tuple[float, ...] = BUCKETS, numbers: list[float] | None = None) -> None:
        self.bounds = bounds
        self._numbers = [] if numbers is None else numbers
        self._at = len(self._numbers)
        self._end = self._at + len(bounds) + 1
        self._numbers += [*([0] * (len(bounds) + 1)), 0.0]
        self.exemplars: dict[int, Exemplar] = {}  # by the number of the bucket

    def exemplify(self, seconds: float, trace_id: str) -> None:
        """Keeps a trace as the example of the bucket of these seconds, which were counted."""
        example = Exemplar({"trace_id": trace_id}, seconds, time.time())
        self.exemplars[bisect_left(self.bounds, seconds)] = example

    def observe(self, seconds: float) -> None:
        """Counts one duration."""
        self._numbers[self._at + bisect_left(self.bounds, seconds)] += 1
        self._numbers[self._end] += seconds

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        """Adds the samples to a metric."""
        below: float = 0
        buckets = self._numbers[self._at : self._end]
        cumulated: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
        for number, (bound, count) in enumerate(zip([*map(str, self.bounds), "+Inf"], buckets, strict=True)):
            below += count
            example = self.exemplars.get(number)
            cumulated.append((bound, below) if example is None else (bound, below, example))
        if below:
            family.add_metric(labels, cumulated, self._numbers[self._end])


class _RouteDurations:
    """The durations of one route's requests: as a whole, at the backend, and what is left of them.

    All of their numbers are in one list: a call touches few lines of the processor's cache.
    """

    __slots__ = ("numbers", "own", "upstream", "whole")

    def __init__(self) -> None:
        self.numbers: list[float] = []
        self.whole = Durations(BUCKETS, self.numbers)
        self.upstream = Durations(BUCKETS, self.numbers)
        self.own = Durations(OWN_BUCKETS, self.numbers)


_WHOLE_SUM = len(BUCKETS) + 1  # places in `numbers`
_UPSTREAM = _WHOLE_SUM + 1
_UPSTREAM_SUM = _UPSTREAM + len(BUCKETS) + 1
_OWN = _UPSTREAM_SUM + 1
_OWN_SUM = _OWN + len(OWN_BUCKETS) + 1


class Requests:
    """The counts and durations of the requests of one route and method."""

    __slots__ = ("_classes", "_durations", "_numbers")

    def __init__(self, durations: _RouteDurations) -> None:
        self._classes = [0] * len(_CLASSES)
        self._durations = durations
        self._numbers = durations.numbers

    def add(
        self, status: int, seconds: float, upstream: float | None = None, own: float | None = None
    ) -> None:
        """Counts one.

        Args:
            status: the status that was sent.
            seconds: from the request's first byte to the answer's last.
            upstream: from the request's being sent to the head of the backend's answer; None where it was
                not sent.
            own: the proxy's part; None where nothing is told apart.
        """
        self._classes[status // 100 if 0 < status <= _HIGHEST else 0] += 1
        numbers = self._numbers
        numbers[bisect_left(BUCKETS, seconds)] += 1
        numbers[_WHOLE_SUM] += seconds
        if own is not None:
            numbers[_OWN + bisect_left(OWN_BUCKETS, own)] += 1
            numbers[_OWN_SUM] += own
        if upstream is not None:
            numbers[_UPSTREAM + bisect_left(BUCKETS, upstream)] += 1
            numbers[_UPSTREAM_SUM] += upstream

    def exemplify(self, seconds: float, upstream: float | None, trace_id: str) -> None:
        """Keeps a trace as an example of a request that was counted, by its durations."""
        self._durations.whole.exemplify(seconds, trace_id)
        if upstream is not None:
            self._durations.upstream.exemplify(upstream, trace_id)

    def by_class(self) -> Iterator[tuple[str, int]]:
        """The counts of requests by class of status, without those at zero."""
        return ((name, count) for name, count in zip(_CLASSES, self._classes, strict=True) if count)


class RequestTally(Collector):
    """Answered requests by frontend, route, method and status class, and how long they took by route."""

    def __init__(self, most: int) -> None:
        self._most = most // len(_CLASSES)
        self._requests: dict[str, dict[tuple[str, str], Requests]] = {}
        self._durations: dict[tuple[str, str], _RouteDurations] = {}

    def of(self, frontend: str, route: str, method: str) -> Requests:
        """The counts of this route and method; beyond the bound, which is a frontend's, those of `other`."""
        known = self._requests.setdefault(frontend, {})
        requests = known.get((route, method))
        if requests is None:
            if len(known) >= self._most:
                route = method = "other"
            durations = self._durations.setdefault((frontend, route), _RouteDurations())
            requests = known.setdefault((route, method), Requests(durations))
        return requests

    def collect(self) -> Iterator[Metric]:
        """The metrics as they stand."""
        counter = CounterMetricFamily(
            "bff_requests", "Answered requests.", labels=["frontend", "route", "method", "status"]
        )
        for frontend, known in self._requests.items():
            for labels, requests in known.items():
                for status, count in requests.by_class():
                    counter.add_metric((frontend, *labels, status), count)
        yield counter
        whole = _family("bff_request_duration_seconds", "From a request's first byte to its answer's last.")
        upstream = _family(
            "bff_upstream_duration_seconds",
            "From a request's being sent to a backend to the head of its answer.",
        )
        own = _family(
            "bff_own_duration_seconds",
            "The proxy's own part of a call: without the backend's time, and the wait for a client's body.",
        )
        for labels, durations in self._durations.items():
            durations.whole.add_to(whole, labels)
            durations.upstream.add_to(upstream, labels)
            durations.own.add_to(own, labels)
        yield from (whole, upstream, own)


def _family(name: str, text: str) -> HistogramMetricFamily:
    return HistogramMetricFamily(name, text, labels=["frontend", "route"])
