"""The rotations of sessions at several providers: each by the coordinator of the session's own provider."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from bff.errors import Problem
from bff.observe.metrics import Metrics
from bff.oidc.client import OidcClient
from bff.refresh.coordinator import RefreshCoordinator
from bff.refresh.outcome import Outcome, Over
from bff.session.model import EndReason, Found
from bff.session.token_policy import Cause


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


def coordinators_of(
    clients: Iterable[OidcClient],
    make: Callable[..., RefreshCoordinator],
    *,
    metrics: Metrics,
    **parts: Any,
) -> Refresher:
    """Returns the coordinator of the only provider, or of all."""
    made = {
        name: make(client=client, metrics=metrics.at(provider=name), **parts)
        for name, client in ((client.settings.name, client) for client in clients)
    }
    return RefreshByProvider(made) if len(made) > 1 else next(iter(made.values()))
