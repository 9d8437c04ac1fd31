"""The clients of the providers of a process: all frontends of a provider share one.

Rule 1: documents, keys, connections and the limit on calls at once are a provider's, and there once; what a
frontend's rules ask of the user's claims is its own.
Rule 2: a client serves on under other settings where they differ by its credentials alone, which it takes
over (`bff.live_settings`).
"""

from collections.abc import Callable, Iterable
from functools import partial
from weakref import WeakValueDictionary

from bff.observe.metrics import Metrics
from bff.observe.tracing import Spans
from bff.oidc.client import OidcClient
from bff.oidc.http_clients import Certificates
from bff.oidc.providers import Providers
from bff.oidc.traced_http import http_maker
from bff.policy.route_access import asked_claims
from bff.settings.changes import CREDENTIALS
from bff.settings.claim_rule import names_of
from bff.settings.model import ProviderSettings, Settings
from bff.tasks import Tasks


class ProviderClients:
    """The clients of a process; `clock` gives seconds since the epoch.

    Attributes:
        ask: called with a provider's name where it refuses us; it returns True for newer credentials.
    """

    def __init__(
        self, *, clock: Callable[[], float], tasks: Tasks, metrics: Metrics, spans: Spans | None
    ) -> None:
        self._clock = clock
        self._tasks = tasks
        self._metrics = metrics
        self._http = http_maker(spans)
        self._clients: list[OidcClient] = []
        self._views: WeakValueDictionary[tuple[OidcClient, frozenset[str]], OidcClient] = (
            WeakValueDictionary()
        )
        self.ask: Callable[[str], bool] = lambda _: False

    def of(self, settings: Settings) -> Providers:
        """Returns the providers of one frontend; clients that are not there yet are made.

        Raises:
            OSError: a certificate's file cannot be used any more.
        """
        asked = frozenset().union(*map(asked_claims, settings.route))
        return Providers(
            self._view(self._client(each), asked.union(names_of(each.allow))) for each in settings.providers()
        )

    def all(self) -> list[OidcClient]:
        """Returns all clients, the longest there first."""
        return list(self._clients)

    def named(self, name: str) -> list[OidcClient]:
        """Returns the clients of one provider: more than one while other settings of it are prepared."""
        return [client for client in self._clients if client.settings.name == name]

    def try_certificates(self, providers: Iterable[ProviderSettings]) -> None:
        """Reads the certificates that clients are to take over, and changes nothing; else OSError."""
        for settings in providers:
            if self.named(settings.name):
                Certificates.of(settings)

    def retain(self, used: Iterable[Providers]) -> None:
        """Retires the clients that no frontend uses any more."""
        kept = {client.shared for providers in used for client in providers}
        for client in self.all():
            if client not in kept:
                self._clients.remove(client)
                self._tasks.spawn(client.retire(), name="former provider")

    async def aclose(self) -> None:
        """Closes every connection."""
        for client in self._clients:
            await client.aclose()

    def _client(self, settings: ProviderSettings) -> OidcClient:
        for known in self._clients:
            if _is_same(known.settings, settings):
                return known
        metrics = self._metrics.at(provider=settings.name)
        made = OidcClient(
            settings,
            clock=self._clock,
            tasks=self._tasks,
            failed=metrics.provider_failed,
            watched=metrics.provider_call,
            http=self._http,
        )
        made.ask_for_newer(partial(self._ask, settings.name))
        self._clients.append(made)
        return made

    def _view(self, client: OidcClient, needed: frozenset[str]) -> OidcClient:
        """Returns a client for rules that need these claims: the same one for the same."""
        view = self._views.get((client, needed))
        if view is None:
            view = self._views[client, needed] = client.for_claims(needed)
        return view

    def _ask(self, name: str) -> bool:
        return self.ask(name)


def _is_same(before: ProviderSettings, after: ProviderSettings) -> bool:
    """Returns True for settings that one client can serve."""
    return before.model_copy(update={name: getattr(after, name) for name in CREDENTIALS}) == after
