"""The redirect to a provider's authorization endpoint, which begins a sign-in (RFC 6749 4.1.1).

Rule 1: state, nonce and code verifier are new each time, and the browser leaves with them in a sealed cookie.
"""

from collections.abc import Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response

from bff.errors import Problem
from bff.observe.metrics import Metrics
from bff.oidc.client import OidcClient
from bff.settings.model import ServerSettings
from bff.web.callback_page import has_own_callback, redirect_uri
from bff.web.login_transaction import TransactionCookies, begin
from bff.web.responses import cookie_headers, problem_answer, redirect


class AuthorizationRedirect:
    """Sends browsers to providers, of which there may be `several`. `clock` gives seconds since the epoch."""

    def __init__(
        self,
        *,
        cookies: TransactionCookies,
        server: ServerSettings,
        several: bool,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._cookies = cookies
        self._server = server
        self._several = several
        self._metrics = metrics
        self._clock = clock

    async def send(
        self, request: Request, client: OidcClient, return_to: str, asked: Mapping[str, str], **how: bool
    ) -> Response:
        """Begins a sign-in at this provider, with what is asked for; `how` is as for `begin`."""
        now, provider = self._clock(), client.settings
        details = asked.get("authorization_details", "")
        params = client.request_params(asked)
        if how.get("step_up"):  # what is demanded is asked for, whatever the settings ask for otherwise
            params |= {name: asked[name] for name in ("acr_values", "max_age") if name in asked}
        browser = next((each.browser for each in self._cookies.read(cookie_headers(request), now)), "")
        key, own = client.proof_key(), has_own_callback(provider, several=self._several)
        transaction = begin(
            return_to,
            params,
            now,
            provider=provider.name,
            own_callback=own,
            browser=browser,
            proof_key=key,
            details=details,
            **how,
        )
        url = await client.authorization_url(
            redirect_uri=redirect_uri(self._server, provider, own=own),
            state=transaction.state,
            nonce=transaction.nonce,
            code_verifier=transaction.code_verifier,
            params=params,
            proof_key=key,
            details=details,
        )
        kept = self._cookies.store(transaction, now)
        if kept is None:  # acr_values from the settings could be that long
            return problem_answer(Problem.BAD_REQUEST, detail="The sign-in's parameters are too long.")
        cleared = self._cookies.make_room(cookie_headers(request), now)
        self._metrics.login_finished("restarted" if transaction.restarted else "started", provider.name)
        return redirect(302, url, set_cookies=[*cleared, kept])
