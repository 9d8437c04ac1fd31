"""Metrics of the proxy's dependencies: how long Redis and the provider take.

A part of `Metrics`, in its registry.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Generic, Literal, Protocol, TypeVar

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from bff.observe.request_metrics import Durations

StoreCall = Literal["batch", "command"]
"""batch: reads that were joined into one round trip. command: everything else."""

ProviderCall = Literal[
    "discovery",
    "jwks",
    "token",
    "refresh",
    "revocation",
    "par",
    "exchange",
    "client",
    "userinfo",
    "introspection",
]

PROVIDER_CALLS: Final[tuple[ProviderCall, ...]] = (
    "discovery", "jwks", "token", "refresh", "revocation", "par", "exchange", "client", "userinfo",
    "introspection",
)  # fmt: skip

_STORE_SECONDS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
)  # fmt: skip
_PROVIDER_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

C = TypeVar("C", bound=str)
K_contra = TypeVar("K_contra", bound=str, contravariant=True)


class Watched(Protocol[K_contra]):
    """Makes the context in which one call of a kind is made, which times or traces it."""

    def __call__(self, kind: K_contra, /) -> AbstractContextManager[None]:
        """Returns the context."""
        ...


def unwatched(_: str, /) -> AbstractContextManager[None]:
    """Watches nothing."""
    return nullcontext()


class CallDurations(Collector, Generic[C]):
    """The durations of calls to one dependency, failed ones included, by provider and kind of call."""

    def __init__(
        self, name: str, text: str, label: str, kinds: Iterable[C], bounds: tuple[float, ...]
    ) -> None:
        self._name, self._text, self._label = name, text, label
        self._kinds, self._bounds = tuple(kinds), bounds
        self._durations: dict[str, dict[C, Durations]] = {}

    def took(self, kind: C, seconds: float, provider: str = "") -> None:
        """Counts a call that has ended, well or not; `provider` is its label."""
        durations = self._durations.get(provider)
        if durations is None:
            durations = self._durations[provider] = {each: Durations(self._bounds) for each in self._kinds}
        durations[kind].observe(seconds)

    def collect(self) -> Iterator[Metric]:
        """The durations as a metric."""
        family = HistogramMetricFamily(self._name, self._text, labels=["provider", self._label])
        for provider, by_kind in self._durations.items():
            for kind, durations in by_kind.items():
                durations.add_to(family, [provider, kind])
        yield family


def store_durations() -> CallDurations[StoreCall]:
    """The durations of calls to Redis."""
    return CallDurations(
        "bff_store_duration_seconds", "How long Redis took.", "call", ("batch", "command"), _STORE_SECONDS
    )


def provider_durations() -> CallDurations[ProviderCall]:
    """The durations of calls to the provider."""
    return CallDurations(
        "bff_provider_duration_seconds",
        "How long the OpenID Provider took.",
        "call",
        PROVIDER_CALLS,
        _PROVIDER_SECONDS,
    )
