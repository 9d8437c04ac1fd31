"""The clients of a frontend's providers, kept where other settings leave theirs as they are."""

from collections.abc import Iterable

from bff.oidc.client import OidcClient
from bff.oidc.providers import Providers
from bff.oidc.traced_http import http_maker
from bff.policy.route_access import asked_claims
from bff.settings.changes import IN_PLACE
from bff.settings.claim_rule import names_of
from bff.settings.model import ProviderSettings, Settings
from bff.shared_parts import SharedParts


def providers_of(settings: Settings, shared: SharedParts, former: Iterable[OidcClient]) -> Providers:
    """Makes the clients of the providers; a `former` one that has the same settings goes on."""
    asked = frozenset().union(*map(asked_claims, settings.route))
    before = list(former)

    def client(each: ProviderSettings) -> OidcClient:
        needed = asked.union(names_of(each.allow))
        for known in before:
            if known.needed == needed and _is_same(known.settings, each, default=known is before[0]):
                return known
        return OidcClient(
            each,
            clock=shared.clock,
            tasks=shared.tasks,
            failed=shared.metrics.provider_failed,
            watched=shared.metrics.provider_calls.timed,
            http=http_maker(shared.spans),
            needed=needed,
        )

    return Providers(client(each) for each in settings.providers())


def _is_same(before: ProviderSettings, after: ProviderSettings, *, default: bool) -> bool:
    """Returns true for settings that one client can serve: the default provider's takes other credentials."""
    if not default:
        return before == after
    names = {name.partition(".")[2] for name in IN_PLACE if name.startswith("provider.")}
    return before.model_copy(update={name: getattr(after, name) for name in names}) == after
