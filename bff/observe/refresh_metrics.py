"""Metrics of rotations, beside their outcomes: waiting calls, waiting times and incidents.

A part of `Metrics`, in its registry.
"""

from collections.abc import Iterator
from copy import copy
from typing import Final, Literal, Self

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from bff.observe.provider_names import ProviderNames

Incident = Literal[
    "repeated", "resumed_lost", "resumed_left", "sent_late", "rotation_lost", "reuse_suspected"
]
"""What must not happen, or only seldom.

repeated, resumed_lost, resumed_left: a refresh token was sent again: at once after an answer that got lost,
later after one, or after a process had left its marker behind. sent_late: it left when the lock was no longer
ours. rotation_lost: new tokens came, and nobody keeps them. reuse_suspected: the provider refused a token
that may have been sent twice; it may have taken that for a theft.
"""

INCIDENTS: Final[tuple[Incident, ...]] = (
    "repeated", "resumed_lost", "resumed_left", "sent_late", "rotation_lost", "reuse_suspected",
)  # fmt: skip
_WAITERS: Final = (0, 1, 2, 5, 10, 20, 50, 100, 250, 1000)
_LOCK_SECONDS: Final = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0)


class OpenCircuits(Collector):
    """The providers that are left alone."""

    def __init__(self, names: ProviderNames) -> None:
        self._names = names
        self._open: set[str] = set()

    def changed(self, provider: str, *, is_open: bool) -> None:
        """Notes that a provider is left alone, or no longer."""
        (self._open.add if is_open else self._open.discard)(provider)

    def collect(self) -> Iterator[Metric]:
        """The metric, of each provider where there are several."""
        family = GaugeMetricFamily(
            "bff_provider_circuit_open", "Whether the provider is left alone: 1 or 0.", labels=["provider"]
        )
        left_alone = {self._names.label(provider) for provider in self._open}
        for label in self._names.labels():
            family.add_metric([label], float(label in left_alone))
        yield family


class RotationMetrics:
    """The metrics of one process' rotations, as those of one provider count them."""

    _provider = ""

    def __init__(self, registry: CollectorRegistry, names: ProviderNames) -> None:
        self._waiters = Histogram(
            "bff_refresh_requests",
            "How many requests waited for a rotation; none for one in the background.",
            buckets=_WAITERS,
            registry=registry,
        )
        self._lock_seconds = Histogram(
            "bff_refresh_lock_wait_seconds",
            "How long a rotation waited for its session's lock.",
            buckets=_LOCK_SECONDS,
            registry=registry,
        )
        self._incidents = Counter(
            "bff_refresh_incidents",
            "Tokens sent again or late, tokens lost.",
            ["provider", "kind"],
            registry=registry,
        )
        self._names = names
        self._circuits = OpenCircuits(names)
        registry.register(self._circuits)

    def prepare(self) -> None:
        """Makes the series of incidents appear with 0."""
        for provider in self._names.labels():
            for kind in INCIDENTS:
                self._incidents.labels(provider, kind)

    def of(self, provider: str) -> Self:
        """Returns the same metrics, for the rotations of one provider's sessions."""
        return copy(self)._named(provider)  # noqa: SLF001 - a copy of its own

    def _named(self, provider: str) -> Self:
        self._provider = provider
        return self

    def finished(self, waiters: int) -> None:
        """A rotation has ended, for which so many requests have waited."""
        self._waiters.observe(waiters)

    def locked(self, seconds: float) -> None:
        """A rotation has got its lock, or has found that it need not."""
        self._lock_seconds.observe(seconds)

    def incident(self, kind: Incident) -> None:
        """Counts an incident: each kind is to be seldom."""
        self._incidents.labels(self._names.label(self._provider), kind).inc()

    def circuit_breaker(self, *, is_open: bool) -> None:
        """The provider is left alone from now on, or no longer."""
        self._circuits.changed(self._provider, is_open=is_open)
