"""The rotations of sessions at several providers: each by the coordinator of the session's own provider."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from bff.errors import Problem
from bff.observe.metrics import Metrics
from bff.oidc.client import OidcClient
from bff.refresh.circuit_breaker import CircuitBreaker
from bff.refresh.coordinator import RefreshCoordinator, circuit_breaker_of
from bff.refresh.outcome import Outcome, Over
from bff.session.model import EndReason, Found
from bff.session.rotation_policy import Cause


class Refresher(Protocol):
    """The part of a coordinator that those who need newer tokens know."""

    async def rotate(self, found: Found, cause: Cause) -> Outcome:
        """Rotates, or waits for the rotation that is under way."""
        ...

    def ahead(self, found: Found) -> None:
        """Rotates in the background."""
        ...


class RefreshByProvider:
    """The coordinators of several providers, by name.

    A session of another provider is over: `Sessions` ends it when it is read.
    """

    def __init__(self, coordinators: Mapping[str, RefreshCoordinator]) -> None:
        self._coordinators = coordinators

    async def rotate(self, found: Found, cause: Cause) -> Outcome:
        """Rotates, or waits for the rotation that is under way."""
        coordinator = self._coordinators.get(found.session.provider)
        if coordinator is None:
            return Over(Problem.SESSION_ENDED, EndReason.PROVIDER_REMOVED)
        return await coordinator.rotate(found, cause)

    def ahead(self, found: Found) -> None:
        """Rotates in the background, unless there is no such provider."""
        coordinator = self._coordinators.get(found.session.provider)
        if coordinator is not None:
            coordinator.ahead(found)


class CircuitBreakers:
    """The circuit breakers of a process: one before each provider, for all frontends of it.

    It stays with the provider's client, whatever other settings come. `clock` gives seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float], metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._by_client: dict[OidcClient, CircuitBreaker] = {}

    def of(self, client: OidcClient) -> CircuitBreaker:
        """Returns the one before the client's provider."""
        known = self._by_client.get(client.shared)
        if known is None:
            name = client.settings.name
            metrics = self._metrics.at(provider=name)
            known = self._by_client[client.shared] = circuit_breaker_of(self._clock, metrics, name)
        return known

    def retain(self, clients: Iterable[OidcClient]) -> None:
        """Retires those of clients that are gone."""
        for client in self._by_client.keys() - set(clients):
            self._by_client.pop(client).retire()


def coordinators_of(
    clients: Iterable[OidcClient],
    make: Callable[..., RefreshCoordinator],
    *,
    metrics: Metrics,
    circuits: CircuitBreakers,
    **parts: Any,
) -> Refresher:
    """Returns the coordinator of the only provider, or of all."""
    made = {
        name: make(
            client=client, metrics=metrics.at(provider=name), circuit_breaker=circuits.of(client), **parts
        )
        for name, client in ((client.settings.name, client) for client in clients)
    }
    return RefreshByProvider(made) if len(made) > 1 else next(iter(made.values()))
