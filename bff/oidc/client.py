"""The proxy as a client of its OpenID Provider: its requests, and the meaning of the answers.

Rule 1: only `invalid_grant` means that a grant is gone (T-07). Everything else that is no success, a refused
client included, is `ProviderUnavailableError`, by its kind (`refusals.py`): nobody is signed out for it here.
Rule 2: no message and no log line holds a token, a code, a URL with a query, or a body.
"""

import asyncio
import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from bff.errors import ProviderUnavailableError
from bff.observe.dependency_metrics import ProviderCall, Watched, unwatched
from bff.observe.logs import get_logger
from bff.oidc import requests, revocation
from bff.oidc.authenticated_calls import AuthenticatedCalls
from bff.oidc.client_authentication import Authentication
from bff.oidc.concurrency_limit import LATE_CALLS
from bff.oidc.dpop import ProofKey, new_key
from bff.oidc.http import PLAIN, ProviderHttp, Sending
from bff.oidc.http_clients import Certificates
from bff.oidc.id_token import Claims, Expected, IdTokenRejectedError, validate_id_token
from bff.oidc.introspection import Introspection
from bff.oidc.metadata import Metadata, SigningKey
from bff.oidc.provider_documents import Documents
from bff.oidc.provider_proofs import ProviderProofs
from bff.oidc.pushed_requests import PushedRequests
from bff.oidc.request_object import authorization_details, signed_request
from bff.oidc.token_endpoint import TokenEndpoint
from bff.oidc.token_errors import InvalidGrant, SignInRequired
from bff.oidc.token_response import TokenAnswer, TokenHint, refused_token
from bff.oidc.transmitter import Transmitter
from bff.oidc.userinfo import Told, Userinfo
from bff.settings.model import ProviderSettings
from bff.tasks import Tasks

_log = get_logger("bff.oidc")


class OidcClient:
    """One provider. The settings hold our credentials; `failed` is called for every call that failed.

    `watched` makes the context of each call; `clock` gives seconds since the epoch. `needed` names the claims
    of rules and headers.

    Attributes:
        shared: the client that those for other claims were made of.
    """

    def __init__(
        self,
        settings: ProviderSettings,
        *,
        clock: Callable[[], float],
        tasks: Tasks,
        failed: Callable[[ProviderCall], None] = lambda _: None,
        watched: Watched[ProviderCall] = unwatched,
        http: Callable[[ProviderSettings, int], ProviderHttp] = ProviderHttp.of,
        needed: Collection[str] = (),
    ) -> None:
        self.settings = settings
        self.shared = self
        self.needed = frozenset(needed)
        self._clock = clock
        self._failed = failed
        self._watched = watched
        self._authentication = Authentication(settings, clock)
        at_once = settings.max_token_calls * (1 + LATE_CALLS)
        self._wire = http(settings, at_once)
        proofs = ProviderProofs(clock)
        self._calls = AuthenticatedCalls(self._wire, self._authentication, proofs)
        self._tasks = tasks
        self._revocation = revocation.Revocation(self._calls, self.metadata, watched)
        self._introspection = Introspection(settings, self._calls, self.metadata, watched)
        self._tokens = TokenEndpoint(
            settings,
            self._calls,
            self.metadata,
            clock=clock,
            failed=failed,
            watched=watched,
            give_back=self._give_back,
        )
        self.tickets = self._tokens.tickets
        self._pushed = PushedRequests(settings, self._calls, clock)
        self._proofs = proofs
        self._userinfo = self._userinfo_for(needed)
        self.documents = Documents(
            settings, self._wire, clock=clock, tasks=tasks, failed=failed, watched=watched
        )
        self.transmitter: Transmitter | None = None
        if (issuer := settings.signals_issuer) is not None:
            self.transmitter = Transmitter(settings, issuer, self._wire, clock=clock, tasks=tasks)

    def _userinfo_for(self, needed: Collection[str]) -> Userinfo:
        return Userinfo(self.settings, self._wire, self.metadata, self._watched, needed, proofs=self._proofs)

    def for_claims(self, needed: Collection[str]) -> "OidcClient":
        """Returns the same client for rules that need other claims: all but the claims is shared."""
        other = copy.copy(self)
        other.needed = frozenset(needed)
        other._userinfo = self._userinfo_for(needed)  # noqa: SLF001 - of its own kind
        return other

    @property
    def granted(self) -> int:
        """The number of good answers of the token endpoint, to any request."""
        return self._tokens.granted

    def authenticate_by(self, settings: ProviderSettings) -> None:
        """Takes a newer secret or key; the former one serves until the provider has accepted it."""
        self._authentication.replace(settings)

    def ask_for_newer(self, ask: Callable[[], bool]) -> None:
        """Sets the function to call where the provider refuses us; it returns True for another secret."""
        self._calls.ask = ask

    def trust(self, settings: ProviderSettings) -> None:
        """Reads the provider's CA certificates and the client's own anew; OSError changes nothing."""
        self._wire.renew(Certificates.of(settings))

    async def retire(self) -> None:
        """Keeps no connection from now on; calls of requests that began before still go on."""
        await self._wire.retire()

    async def aclose(self) -> None:
        """Closes every connection."""
        await self._wire.aclose()

    async def metadata(self) -> Metadata:
        """The discovery document (O-06).

        Raises:
            ProviderUnavailableError: it has never been had.
        """
        return await self.documents.metadata()

    async def keys(self) -> Sequence[SigningKey]:
        """The provider's signing keys. Raises as `metadata` does."""
        return await self.documents.keys()

    async def newer_keys(self) -> Sequence[SigningKey]:
        """The keys as they are at the provider now, unless they have just been fetched (O-09)."""
        return await self.documents.newer_keys()

    def request_params(self, asked: Mapping[str, str]) -> dict[str, str]:
        """Returns the authorization request's parameters beside ours: those asked for, then the settings'."""
        required = self.settings.acr_required
        own = {"acr_values": " ".join(required)} if required else {}
        params = {**own, **asked, **self.settings.extra_params}
        return {name: value for name, value in params.items() if name not in requests.RESERVED}

    def proof_key(self, former: str | None = None) -> str | None:
        """Returns the key that tokens are to be bound to, a new one without a `former`; None for none."""
        if not self.settings.over_dpop():
            return None
        return former or new_key(self.settings.dpop_alg)

    async def authorization_url(
        self,
        *,
        redirect_uri: str,
        state: str,
        nonce: str,
        code_verifier: str,
        params: Mapping[str, str],
        proof_key: str | None = None,
        details: str = "",
    ) -> str:
        """Returns where to send the browser; the request is pushed where the provider takes that (RFC 9126).

        `details` names authorization details of the settings, beside those of each sign-in.

        Raises:
            ProviderUnavailableError: the discovery document has never been had, or the push failed.
        """
        metadata = await self.metadata()
        fields = requests.authorization_params(
            client_id=self.settings.client_id,
            redirect_uri=redirect_uri,
            scopes=self.settings.scopes,
            state=state,
            nonce=nonce,
            code_verifier=code_verifier,
            params=params,
            resource=self.settings.resource,
            dpop_jkt=proof_key and ProofKey(proof_key).jkt,
        )
        if (asked := authorization_details(self.settings, details)) is not None:
            fields = {**fields, "authorization_details": asked}
        if not self._pushed.are_for(metadata):
            client, now = self._authentication.client(metadata), int(self._clock())
            signed = signed_request(client, fields, issuer=metadata.issuer, now=now)
            return requests.authorization_url(metadata.authorization_endpoint, signed)
        try:
            with self._watched("par"):
                request_uri = await self._pushed.push(metadata, fields)
        except ProviderUnavailableError:
            self._failed("par")
            raise
        return requests.pushed_authorization_url(
            metadata.authorization_endpoint, client_id=self.settings.client_id, request_uri=request_uri
        )

    async def exchange_code(
        self, code: str, *, redirect_uri: str, code_verifier: str, proof_key: str | None = None
    ) -> TokenAnswer | InvalidGrant:
        """Spends an authorization code, once; the tokens are bound to the key that the sign-in began with.

        Raises:
            ProviderUnavailableError: no answer that settles it; `AnswerLostError` if it may be spent.
        """
        return await self._tokens.awaited(
            "token",
            lambda client: requests.code_form(
                client,
                code=code,
                redirect_uri=redirect_uri,
                code_verifier=code_verifier,
                resource=self.settings.resource,
            ),
            self.proof_key(proof_key),
        )

    async def refresh(
        self,
        refresh_token: str,
        *,
        scope: str | None = None,
        sending: Sending = PLAIN,
        proof_key: str | None = None,
    ) -> TokenAnswer | InvalidGrant | SignInRequired:
        """Spends a refresh token, once. The caller has taken one of the `slots`.

        A session without a `proof_key` gets one where tokens are to be bound: the refresh token of a client
        that authenticates is bound to no key (RFC 9449 5).

        Raises as `exchange_code` does, and `CallWithdrawnError` if `sending.may_send` said no.
        """
        return await self._tokens.send(
            "refresh",
            lambda client: requests.refresh_form(
                client, refresh_token=refresh_token, scope=scope, resource=self.settings.resource
            ),
            sending,
            self.proof_key(proof_key),
        )

    async def exchange_token(
        self, access_token: str, audience: str, *, proof_key: str | None = None
    ) -> TokenAnswer | InvalidGrant:
        """Gets a token for one backend in exchange for the session's (RFC 8693); nothing is spent.

        It is bound to the key that the session's own is bound to.

        Raises as `exchange_code` does; `GrantRefusedError` where this one token or audience is refused.
        """
        return await self._tokens.awaited(
            "exchange",
            lambda client: requests.exchange_form(client, access_token=access_token, audience=audience),
            proof_key,
        )

    async def client_token(self, grant: requests.ClientGrant) -> TokenAnswer | InvalidGrant:
        """Gets a token in our own name (RFC 6749 4.4), bound to a new key where the provider binds tokens.

        Raises as `exchange_token` does.
        """
        return await self._tokens.awaited(
            "client", lambda client: requests.client_form(client, grant), self.proof_key()
        )

    async def is_active(self, token: str) -> bool:
        """Asks about an access token; raises ProviderUnavailableError where there is no answer to it."""
        return await self._introspection.is_active(token)

    async def revoke(self, token: str, hint: TokenHint) -> bool | None:
        """Revokes a token as well as can be; see `Revocation.revoke`."""
        return await self._revocation.revoke(token, hint)

    def give_back(self, answer: TokenAnswer, *, reason: str, frontend: str, provider: str) -> None:
        """Revokes the tokens of a grant that no session will hold, beside the caller.

        It is the refresh token, which takes the access tokens along (RFC 7009 2.1), or else the access token.
        """
        refused: tuple[str, TokenHint] = (
            (answer.access_token, "access_token")
            if answer.refresh_token is None
            else (answer.refresh_token, "refresh_token")
        )
        giving = self._revocation.give_back(refused, reason=reason, frontend=frontend, provider=provider)
        self._tasks.spawn(giving, name="revoke tokens")

    def _give_back(self, document: Any) -> None:
        if (refused := refused_token(document)) is not None:
            giving = self._revocation.give_back(refused, reason="answer_refused")
            self._tasks.spawn(giving, name="revoke tokens")

    async def end_session_url(
        self, *, id_token: str | None, logout_hint: str | None, post_logout_redirect_uri: str
    ) -> str | None:
        """Returns where the browser signs out at the provider; None if there is no such place, or none known.

        With the setting `end_session_hint` the ID token names the session, else `logout_hint` does.
        """
        try:
            async with asyncio.timeout(revocation.TIMEOUT):
                endpoint = (await self.metadata()).end_session_endpoint
        except (ProviderUnavailableError, TimeoutError):
            return None
        if endpoint is None:
            return None
        hint = id_token if self.settings.end_session_hint else None
        return requests.end_session_url(
            endpoint,
            client_id=self.settings.client_id,
            post_logout_redirect_uri=post_logout_redirect_uri,
            id_token_hint=hint,
            logout_hint=logout_hint if hint is None else None,
        )

    async def validate_id_token(
        self,
        id_token: str,
        *,
        nonce: str,
        access_token: str,
        requested_at: float,
        max_age: int | None = None,
    ) -> Claims:
        """Checks the ID token of a sign-in (O-08, O-17).

        Raises:
            IdTokenRejectedError: it is not to be believed.
            ProviderUnavailableError: the keys have never been had.
        """
        expected = self._expected(
            nonce=nonce,
            access_token=access_token,
            requested_at=requested_at,
            max_age=max_age,
            acr_required=self.settings.acr_required,
        )
        return await self._validate(id_token, expected)

    async def validate_refreshed_id_token(self, id_token: str, *, sub: str, access_token: str) -> Claims:
        """Checks the ID token of a refresh. Raises likewise; reason `iss` or `sub`: another person (T-13)."""
        return await self._validate(id_token, self._expected(sub=sub, access_token=access_token))

    async def wanted_claims(self, claims: Claims, answer: TokenAnswer) -> Told:
        """The claims of a sign-in, with those that only the userinfo endpoint has; never fails."""
        return await self._userinfo.completed(claims, answer.access_token, answer.proof_key)

    async def refreshed_claims(
        self, claims: Claims | None, *, sub: str, access_token: str, proof_key: str | None = None
    ) -> Claims | None:
        """The claims of a refresh likewise: those of its ID token, if any; None: there is nothing new."""
        return await self._userinfo.refreshed(claims, sub, access_token, proof_key)

    def _expected(
        self,
        *,
        access_token: str,
        nonce: str | None = None,
        sub: str | None = None,
        requested_at: float = 0.0,
        max_age: int | None = None,
        acr_required: Sequence[str] = (),
    ) -> Expected:
        return Expected(
            issuer=self.settings.issuer,
            client_id=self.settings.client_id,
            algs=self.settings.id_token_algs,
            clock_skew=self.settings.clock_skew,
            nonce=nonce,
            sub=sub,
            max_age=max_age,
            requested_at=requested_at,
            acr_required=acr_required,
            access_token=access_token,
        )

    async def _validate(self, id_token: str, expected: Expected) -> Claims:
        keys = await self.documents.keys()
        try:
            return validate_id_token(id_token, keys, expected, self._clock())
        except IdTokenRejectedError as rejected:
            # Keys rotate (O-09); a provider that names no `kid` shows it by a signature that fails.
            if rejected.reason not in ("unknown_key", "bad_signature"):
                raise
        return validate_id_token(id_token, await self.documents.newer_keys(), expected, self._clock())
