"""The account of sign-ins that come to nothing: counted, and told to the audit log."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from starlette.requests import Request

from bff.observe.logs import audit
from bff.observe.metrics import Metrics
from bff.oidc.providers import Providers
from bff.session.sessions import Sessions
from bff.web.login_transaction import Transaction
from bff.web.responses import address_of


class FailedSignIns:
    """Counts and audits them, for one frontend."""

    def __init__(
        self,
        *,
        providers: Providers,
        sessions: Sessions,
        metrics: Metrics,
        trusted: Sequence[IPv4Network | IPv6Network],
    ) -> None:
        self._default = providers.default.settings.name
        self._frontend = sessions.frontend
        self._metrics = metrics
        self._trusted = trusted

    def note(
        self, request: Request, transaction: Transaction | None, *, restarted: bool = False, **fields: Any
    ) -> None:
        """Notes one that has failed, for good unless it was `restarted`; None where it is not known which."""
        provider = None if transaction is None else transaction.provider or self._default
        if restarted:
            fields["restarted"] = True
        else:
            self._metrics.login_finished("failed", provider or "")
        address = address_of(request, self._trusted)
        audit("sign_in_failed", address=address, frontend=self._frontend, provider=provider, **fields)
