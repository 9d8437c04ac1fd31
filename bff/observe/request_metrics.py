"""Request metrics, kept as plain numbers and turned into samples when they are collected.

The client library takes a lock for every sample, which is more than the rest of a request's accounting.
Rule 1: they belong to one event loop; a collector in another thread may see a request half counted.
"""

import math
import threading
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
_LARGEST_SMALL = 256  # Python keeps one object of each number up to it, for all


class Durations:
    """A histogram of seconds."""

    __slots__ = ("_buckets", "_sum", "bounds", "exemplars")

    def __init__(self, bounds: tuple[float, ...] = BUCKETS) -> None:
        self.bounds = bounds
        self._buckets = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self.exemplars: dict[int, Exemplar] = {}  # by the number of the bucket

    def exemplify(self, seconds: float, trace_id: str) -> None:
        """Keeps a trace as the example of the bucket of these seconds, which were counted."""
        example = Exemplar({"trace_id": trace_id}, seconds, time.time())
        self.exemplars[bisect_left(self.bounds, seconds)] = example

    def observe(self, seconds: float) -> None:
        """Counts one duration."""
        self._buckets[bisect_left(self.bounds, seconds)] += 1
        self._sum += seconds

    def take(self, buckets: list[int], seconds: float) -> None:
        """Takes counts and sum in place of its own."""
        self._buckets, self._sum = buckets, seconds

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        """Adds the samples to a metric."""
        below = 0
        cumulated: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
        bounds = [*map(str, self.bounds), "+Inf"]
        for number, (bound, count) in enumerate(zip(bounds, self._buckets, strict=True)):
            below += count
            example = self.exemplars.get(number)
            cumulated.append((bound, below) if example is None else (bound, below, example))
        if below:
            family.add_metric(labels, cumulated, self._sum)


_KINDS = 3  # of durations: whole, upstream, own
_BUCKETS = _KINDS  # behind the sums: each row has the buckets of the same number of all kinds
_CLASSES_AT = _BUCKETS + _KINDS * (len(OWN_BUCKETS) + 1)


def _places(bounds: tuple[float, ...], kind: int) -> tuple[float, ...]:
    """Returns the bounds so repeated that a search among them finds a bucket's place, and not its number."""
    return (*[-math.inf] * (_BUCKETS + kind), *(bound for bound in bounds for _ in range(_KINDS)))


_WHOLE, _UPSTREAM, _OWN = _places(BUCKETS, 0), _places(BUCKETS, 1), _places(OWN_BUCKETS, 2)


class _RouteNumbers:
    """The numbers of one route's requests: few objects, and few lines of the processor's cache for a call.

    A process may have a hundred frontends. A number that is an object of its own is one more place in memory
    that a call has to reach for, which takes longer than to count.

    Attributes:
        numbers: the seconds of each kind; their buckets; each method's classes of status. The counts are
            small, and so no objects.
    """

    __slots__ = ("_carried", "_lock", "durations", "numbers")

    def __init__(self) -> None:
        self.numbers: list[float] = [*([0.0] * _KINDS), *([0] * (_CLASSES_AT - _KINDS))]
        self._carried = [0] * _CLASSES_AT
        self._lock = threading.Lock()  # between a carry and a collector in another thread
        self.durations = Durations(BUCKETS), Durations(BUCKETS), Durations(OWN_BUCKETS)

    def method(self) -> int:
        """Returns the place of the counts of one more method."""
        with self._lock:
            place = len(self.numbers)
            self.numbers += [0] * len(_CLASSES)
            self._carried += [0] * len(_CLASSES)
        return place

    def carry(self) -> None:
        """Takes the counts out of `numbers`."""
        with self._lock:
            for place in range(_BUCKETS, len(self.numbers)):
                self._carried[place] += int(self.numbers[place])
                self.numbers[place] = 0

    def totals(self) -> list[int]:
        """Returns all that was ever counted, by the places in `numbers`; those of the seconds say nothing."""
        with self._lock:
            return [int(small) + large for small, large in zip(self.numbers, self._carried, strict=True)]

    def collected(self) -> tuple[Durations, Durations, Durations]:
        """Returns the three histograms as they stand."""
        totals = self.totals()
        for kind, durations in enumerate(self.durations):
            buckets = totals[_BUCKETS + kind : _CLASSES_AT : _KINDS]
            durations.take(buckets[: len(durations.bounds) + 1], self.numbers[kind])
        return self.durations


class Requests:
    """The counts and durations of the requests of one route and method."""

    __slots__ = ("_at", "_numbers", "_route")

    def __init__(self, route: _RouteNumbers) -> None:
        self._at = route.method()
        self._numbers, self._route = route.numbers, route

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
        numbers = self._numbers
        numbers[bisect_left(_WHOLE, seconds)] += 1
        numbers[0] += seconds
        if upstream is not None:
            numbers[bisect_left(_UPSTREAM, upstream)] += 1
            numbers[1] += upstream
        if own is not None:
            numbers[bisect_left(_OWN, own)] += 1
            numbers[2] += own
        place = self._at + (status // 100 if 0 < status <= _HIGHEST else 0)
        numbers[place] = count = numbers[place] + 1
        if count >= _LARGEST_SMALL:
            self._route.carry()

    def exemplify(self, seconds: float, upstream: float | None, trace_id: str) -> None:
        """Keeps a trace as an example of a request that was counted, by its durations."""
        whole, of_upstream, _ = self._route.durations
        whole.exemplify(seconds, trace_id)
        if upstream is not None:
            of_upstream.exemplify(upstream, trace_id)

    def by_class(self) -> Iterator[tuple[str, int]]:
        """The counts of requests by class of status, without those at zero."""
        counts = self._route.totals()[self._at : self._at + len(_CLASSES)]
        return ((name, count) for name, count in zip(_CLASSES, counts, strict=True) if count)


class RequestTally(Collector):
    """Answered requests by frontend, route, method and status class, and how long they took by route."""

    def __init__(self, most: int) -> None:
        self._most = most // len(_CLASSES)
        self._requests: dict[str, dict[tuple[str, str], Requests]] = {}
        self._routes: dict[tuple[str, str], _RouteNumbers] = {}

    def of(self, frontend: str, route: str, method: str) -> Requests:
        """The counts of this route and method; beyond the bound, which is a frontend's, those of `other`."""
        known = self._requests.setdefault(frontend, {})
        requests = known.get((route, method))
        if requests is None:
            if len(known) >= self._most:
                route = method = "other"
            numbers = self._routes.get((frontend, route))
            if numbers is None:
                numbers = self._routes[frontend, route] = _RouteNumbers()
            requests = known.get((route, method))
            if requests is None:
                requests = known[route, method] = Requests(numbers)
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
        for labels, numbers in self._routes.items():
            for durations, family in zip(numbers.collected(), (whole, upstream, own), strict=True):
                durations.add_to(family, labels)
        yield from (whole, upstream, own)


def _family(name: str, text: str) -> HistogramMetricFamily:
    return HistogramMetricFamily(name, text, labels=["frontend", "route"])
