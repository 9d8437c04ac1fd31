"""The last step of a sign-in: an authorization code becomes a session.

Rule 1: a user who was signed out everywhere during the sign-in is not signed in by it (T-15): that note is
read after the session is written, so that one of the two always sees the other.
Rule 2: a step-up goes on with its session, and not with one that was ended while its code was spent, or by a
sign-out with the former cookie while its id changed (`bff/session/succession.py`).
Rule 3: the tokens of a sign-in that comes to no session are revoked, whatever the reason.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from starlette.requests import Request

from bff.errors import ProviderUnavailableError, StoreUnavailableError
from bff.hooks import SignIn
from bff.observe.logs import get_logger
from bff.observe.metrics import Metrics
from bff.oidc.client import OidcClient
from bff.oidc.id_token import Claims, IdTokenRejectedError
from bff.oidc.token_errors import InvalidGrant
from bff.oidc.token_response import TokenAnswer
from bff.session.model import EndReason
from bff.session.sessions import Found, NoSession, Sessions
from bff.session.succession import has_gone_on
from bff.settings.model import ServerSettings
from bff.web.accounting import name_session
from bff.web.callback_page import asked_for_own, redirect_uri
from bff.web.identity import (
    NotAllowedError,
    began_at,
    check_allowed,
    identity_of,
    too_weak,
    user_agent,
    went_on_since,
)
from bff.web.login_transaction import Transaction
from bff.web.responses import address_of

_NO_REFRESH = "the provider gave no refresh token: each session ends with its access token; "
_OFFLINE = 'it may give one for the scope "offline_access" (provider.scopes)'
# OpenID Connect Core 11: "offline_access" is to be ignored without the user's consent.
_CONSENT = (
    'for "offline_access" it may want the user\'s consent (provider.extra_params = { prompt = "consent" }), '
    "or the grant type refresh_token in the client's registration"
)
_log = get_logger("bff.web")


class NoStart(NamedTuple):
    """A sign-in without a session: `reason` for the audit log, `error` for the page."""

    reason: str
    error: str


class NotAllowed(NamedTuple):
    """A user whom the provider's rule does not let in."""

    sub: str


class SessionStart:
    """The exchange of a code, the checks of its answer, and the new session.

    `several`: there are other providers beside this one.
    """

    def __init__(
        self,
        *,
        client: OidcClient,
        sessions: Sessions,
        server: ServerSettings,
        state_lifetime: float,
        metrics: Metrics,
        admit: Callable[[SignIn], Awaitable[str | None]],
        several: bool = False,
    ) -> None:
        self._client = client
        self._name = client.settings.name
        self._sessions = sessions
        self._server = server
        self._several = several
        self._trusted = server.trusted_proxies
        self._state_lifetime = state_lifetime
        self._metrics = metrics
        self._admit = admit
        self._told_no_refresh = False

    async def from_code(
        self,
        request: Request,
        transaction: Transaction,
        code: str,
        found: Found | NoSession,
        *,
        return_to: str,
    ) -> Found | InvalidGrant | NoStart | NotAllowed:
        """Spends the code, and starts a session in the place of the one that the browser had (`found`).

        Raises:
            StoreUnavailableError, ProviderUnavailableError: no session was started; the code is spent.
        """
        own = asked_for_own(transaction, self._client.settings, several=self._several)
        answer = await self._client.exchange_code(
            code,
            redirect_uri=redirect_uri(self._server, self._client.settings, own=own),
            code_verifier=transaction.code_verifier,
            proof_key=transaction.proof_key,
        )
        if isinstance(answer, InvalidGrant):
            return answer
        try:
            outcome = await self._outcome(request, transaction, answer, found, return_to)
        except (StoreUnavailableError, ProviderUnavailableError):
            self._give_back(answer)
            raise
        if not isinstance(outcome, Found):
            self._give_back(answer)
        return outcome

    async def _outcome(
        self,
        request: Request,
        transaction: Transaction,
        answer: TokenAnswer,
        found: Found | NoSession,
        return_to: str,
    ) -> Found | NoStart | NotAllowed:
        try:
            claims = await self._claims(transaction, answer)
        except IdTokenRejectedError as rejected:
            return NoStart(f"id_token_{rejected.reason}", transaction.failure)
        except NotAllowedError as turned_away:
            return NotAllowed(turned_away.sub)
        sign_in = SignIn(
            sub=claims["sub"],
            provider=self._name,
            claims=claims,
            address=address_of(request, self._trusted),
            user_agent=user_agent(request),
            return_to=return_to,
        )
        if (refused := await self._admit(sign_in)) is not None:
            return NoStart("not_allowed", refused)
        started = await self._session(request, transaction, claims, answer, found)
        return started or NoStart("ended_meanwhile", "session_ended")

    async def _claims(self, transaction: Transaction, answer: TokenAnswer) -> Claims:
        if answer.id_token is None:
            raise IdTokenRejectedError("malformed")
        claims = await self._client.validate_id_token(
            answer.id_token,
            nonce=transaction.nonce,
            access_token=answer.access_token,
            requested_at=transaction.created,
            max_age=transaction.max_age,
        )
        if too_weak(transaction, claims):
            raise IdTokenRejectedError("acr")
        told = await self._client.wanted_claims(claims, answer)
        check_allowed(self._client.settings.allow, told)
        return told.claims

    async def _session(
        self,
        request: Request,
        transaction: Transaction,
        claims: Claims,
        answer: TokenAnswer,
        found: Found | NoSession,
    ) -> Found | None:
        """The new session; None if everything of this user or sign-in was ended meanwhile."""
        identity = identity_of(self._name, claims)
        goes_on = went_on_since(transaction, identity, found)
        if isinstance(found, Found):
            # Its tokens stay: providers that tie them to one single sign-on would take the new ones along.
            here = await self._sessions.end(found.session, EndReason.SIGNED_IN_AGAIN)
            if not here and goes_on is not None and await self._ended_by_others(found):
                return None
        address = address_of(request, self._trusted)
        started = await self._sessions.start(
            identity,
            answer.tokens(),
            user_agent=user_agent(request),
            address=address,
            since=goes_on,
        )
        if goes_on is not None and not await has_gone_on(self._sessions, found, started.session):
            await self._sessions.end(started.session, EndReason.LOGOUT)
            return None
        since = began_at(transaction, claims, self._client.settings.clock_skew)
        if (reason := await self._sessions.bulk.ended_since(started.session, since)) is not None:
            await self._sessions.end(started.session, reason, provider_revoked=False)
            return None
        await self._sessions.supersede(transaction.browser, started.session, self._state_lifetime)
        await self._sessions.bulk.end_oldest(started.session)
        if answer.refresh_token is None and not self._told_no_refresh:
            self._told_no_refresh = True
            asked = "offline_access" in self._client.settings.scopes
            _log.warning("no_refresh_token", problem=_NO_REFRESH + (_CONSENT if asked else _OFFLINE))
        self._metrics.login_finished("signed_in", self._name)
        name_session(request.scope, started.session.key, started.session)
        self._sessions.audit("signed_in", started.session, address=address)
        return started

    async def _ended_by_others(self, found: Found) -> bool:
        """Returns True unless another tab's sign-in has taken the session's place."""
        current = await self._sessions.open(found.handle)
        return isinstance(current, NoSession) and current.reason is not EndReason.SIGNED_IN_AGAIN

    def _give_back(self, answer: TokenAnswer) -> None:
        """Has tokens that no session will hold revoked; nobody waits for it."""
        self._client.give_back(
            answer, reason="sign_in_failed", frontend=self._sessions.frontend, provider=self._name
        )
