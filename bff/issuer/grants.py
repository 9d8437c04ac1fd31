"""The protocol: authlib's server grants, with what they leave open or do in steps made right.

Rule 1: PKCE with S256, always. authlib asks it of public clients only, and takes `plain`.
Rule 2: codes and refresh tokens are taken atomically before anything is issued (see store.py); authlib
queries, issues, and deletes afterwards.
Rule 3: a code or refresh token that is used twice ends its family (RFC 9700 4.14.2, RFC 6749 4.1.2).

All of it is synchronous and calls Redis: the app runs it in a thread.
"""

import logging
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from authlib.oauth2.rfc6749 import (
    AuthorizationServer,
    InvalidGrantError,
    InvalidRequestError,
    OAuth2Request,
    grants,
)
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core.grants.code import OpenIDCode

from bff.issuer.accounts import Account, Accounts
from bff.issuer.clients import Client
from bff.issuer.settings import SCOPES, IssuerSettings
from bff.issuer.store import Code, Family, RefreshToken, SignIn, Store
from bff.issuer.tokens import Grant, Minter
from bff.observe.logs import get_logger

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")  # RFC 7636 4.2: a SHA-256 in base64url
_SECRET_METHODS = ["client_secret_basic", "client_secret_post"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What to answer: a redirect when `location` is set, else a JSON body."""

    status: int
    body: Mapping[str, Any]
    headers: Sequence[tuple[str, str]]
    location: str | None = None


@dataclass(frozen=True, slots=True)
class EndUser:
    """Somebody who is signed in in the browser that asks."""

    account: Account
    sign_in: SignIn


class ProtocolRequest(OAuth2Request):  # type: ignore[misc] # authlib publishes no types
    """A request as authlib wants it. Parameters come apart and never twice (RFC 6749 3.1 and 3.2)."""

    def __init__(self, method: str, uri: str, parameters: dict[str, str], headers: Mapping[str, str]) -> None:
        super().__init__(method, uri, headers=headers)
        self.payload = BasicOAuth2Payload(parameters)
        self._parameters = parameters

    @property
    def args(self) -> dict[str, str]:
        """The parameters."""
        return self._parameters

    @property
    def form(self) -> dict[str, str]:
        """The parameters: the app passes those of the right place."""
        return self._parameters


class ProtocolServer(AuthorizationServer):  # type: ignore[misc] # authlib publishes no types
    """authlib's engine, tied to our clients, store and tokens."""

    def __init__(self, settings: IssuerSettings, store: Store, accounts: Accounts, minter: Minter) -> None:
        super().__init__(scopes_supported=None)  # unknown scopes are left out, not refused (RFC 6749 3.3)
        logging.getLogger("authlib").setLevel(logging.INFO)  # its DEBUG lines hold tokens
        self.settings = settings
        self.store = store
        self.accounts = accounts
        self.minter = minter
        self.clients = {client.client_id: Client(client) for client in settings.clients}
        self.register_grant(CodeGrant, [S256Only(), IdToken()])
        self.register_grant(RefreshGrant)
        self.register_endpoint(Revocation)

    def query_client(self, client_id: str) -> Client | None:
        """Returns a registered client, or None."""
        return self.clients.get(client_id)

    def save_token(self, token: Any, request: Any) -> None:
        """Nothing to do: families are stored before tokens are issued, access tokens not at all."""

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Nobody listens."""

    def create_oauth2_request(self, request: ProtocolRequest) -> ProtocolRequest:
        """Returns the request as it is: the app has already made one."""
        return request

    def handle_response(self, status: int, body: Any, headers: Sequence[tuple[str, str]]) -> Answer:
        """Hands the app a plain value."""
        location = next((value for name, value in headers if name == "Location"), None)
        return Answer(status, body if isinstance(body, dict) else {}, headers, location)


class S256Only(CodeChallenge):  # type: ignore[misc] # authlib publishes no types
    """PKCE as a duty, for confidential clients too (RFC 9700 2.1.1).

    authlib asks for the verifier wherever a challenge was stored; here one always was.
    """

    SUPPORTED_CODE_CHALLENGE_METHOD = ("S256",)
    DEFAULT_CODE_CHALLENGE_METHOD = "S256"

    def validate_code_challenge(self, grant: Any, redirect_uri: str) -> None:
        """Refuses an authorization request without a well-formed S256 challenge."""
        data = grant.request.payload.data
        if data.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(
            data.get("code_challenge", "")
        ):
            raise InvalidRequestError("A code_challenge with code_challenge_method S256 is required.")
        super().validate_code_challenge(grant, redirect_uri)


class IdToken(OpenIDCode):  # type: ignore[misc] # authlib publishes no types
    """Adds the checks and the ID token of OpenID Connect to the code grant."""

    def exists_nonce(self, nonce: str, request: Any) -> bool:
        """Says no: a nonce is bound to its code, and a code is good once; the check is the client's."""
        del nonce, request
        return False

    def process_token(self, grant: Any, response: Any) -> Any:
        """Leaves the answer alone: `_token_answer` has put the ID token in."""
        del grant
        return response[1]


class CodeGrant(grants.AuthorizationCodeGrant):  # type: ignore[misc] # authlib publishes no types
    """Codes of 256 random bits, bound to client, redirect URI, challenge and sign-in, good once."""

    TOKEN_ENDPOINT_AUTH_METHODS = _SECRET_METHODS
    server: ProtocolServer

    def generate_authorization_code(self) -> str:
        """Makes a code."""
        return secrets.token_urlsafe(32)

    def save_authorization_code(self, code: str, request: Any) -> None:
        """Stores the code with all that it is bound to."""
        user: EndUser = request.user
        data = request.payload.data
        lifetime = self.server.settings.code_lifetime
        record = Code(
            client_id=request.client.client_id,
            redirect_uri=request.payload.redirect_uri,
            scope=request.scope,
            sub=user.account.sub,
            sid=user.sign_in.sid,
            auth_time=user.sign_in.auth_time,
            nonce=data.get("nonce", ""),
            code_challenge=data["code_challenge"],
            family=secrets.token_urlsafe(18),
            expires=time.time() + lifetime,
        )
        self.server.store.save_code(code, record, lifetime)

    def query_authorization_code(self, code: str, client: Client) -> "PresentedCode | None":
        """Takes the code. A second use is refused, and ends what the first began."""
        presented = self.server.store.present_code(code)
        if presented is None:
            return None
        uses, record = presented
        if uses > 1:
            self.server.store.end_family(RefreshToken(record.family, "").family)
            _log.warning("code_reused", client_id=client.client_id, sub=record.sub, sid=record.sid)
            return None
        if record.client_id != client.client_id or time.time() >= record.expires:
            return None
        return PresentedCode(record)

    def delete_authorization_code(self, authorization_code: Any) -> None:
        """Nothing to do: it was taken when it was presented."""

    def authenticate_user(self, authorization_code: "PresentedCode") -> Account | None:
        """The account that signed in."""
        return self.server.accounts.find(authorization_code.record.sub)

    def generate_token(self, user: Account, scope: str, **_: Any) -> dict[str, Any]:
        """Issues the first tokens, and a family if `offline_access` was granted (OpenID Connect Core 11)."""
        record: Code = self.request.authorization_code.record
        store = self.server.store
        token, ends = RefreshToken(record.family, "").successor(), None
        if "offline_access" in scope.split():
            now = time.time()
            ends = now + self.server.settings.refresh_token_lifetime
            family = Family(record.client_id, scope, record.sub, record.sid, record.auth_time, ends)
            store.start_family(token, family, now)
        # Whoever used the code again, or signed out, a moment ago came too early to find a family to end.
        if store.count_presentations(self.request.form["code"]) > 1 or store.has_ended(record.sid):
            store.end_family(token.family)
            raise InvalidGrantError("Invalid 'code' in request.")
        grant = Grant(user, record.client_id, scope, record.sid, record.auth_time, record.nonce)
        return _token_answer(self.server.minter, grant, token, ends)


class PresentedCode:
    """A taken code, in the shape that authlib's checks ask for."""

    def __init__(self, record: Code) -> None:
        self.record = record
        self.code_challenge = record.code_challenge
        self.code_challenge_method = "S256"

    def get_redirect_uri(self) -> str:
        """What the token request has to repeat (RFC 6749 4.1.3)."""
        return self.record.redirect_uri

    def get_scope(self) -> str:
        """The granted scope."""
        return self.record.scope


class PresentedRefreshToken:
    """A refresh token with its family, in the shape that authlib's checks ask for."""

    def __init__(self, token: RefreshToken, family: Family) -> None:
        self.token = token
        self.family = family

    def check_client(self, client: Client) -> bool:
        """Tells whether the token was issued to this client."""
        return bool(self.family.client_id == client.client_id)

    def get_scope(self) -> str:
        """The granted scope."""
        return self.family.scope


class RefreshGrant(grants.RefreshTokenGrant):  # type: ignore[misc] # authlib publishes no types
    """Rotation: each use gives a new refresh token; a second use of one ends the family."""

    TOKEN_ENDPOINT_AUTH_METHODS = _SECRET_METHODS
    server: ProtocolServer

    def authenticate_refresh_token(self, refresh_token: str) -> PresentedRefreshToken | None:
        """Finds the family; a used token of this client's ends it here already, whatever else is asked."""
        token = RefreshToken.parse(refresh_token)
        found = self.server.store.find_family(token) if token else None
        if token is None or found is None:
            return None
        family, valid = found
        if not valid and family.client_id == self.request.client.client_id:
            self._end_reused(token, family)
            return None
        return PresentedRefreshToken(token, family)

    def authenticate_user(self, refresh_token: PresentedRefreshToken) -> Account:
        """The account behind the family; none any more is `invalid_grant`, and the family ends."""
        account = self.server.accounts.find(refresh_token.family.sub)
        if account is None:
            self.server.store.end_family(refresh_token.token.family)
            raise InvalidGrantError
        return account

    def issue_token(self, user: Account, refresh_token: PresentedRefreshToken) -> dict[str, Any]:
        """Takes the old token and installs the new one in one step, and only then issues."""
        family, successor = refresh_token.family, refresh_token.token.successor()
        outcome = self.server.store.rotate(refresh_token.token, successor)
        if outcome != "rotated":
            if outcome == "reused":
                self._end_reused(refresh_token.token, family)
            raise InvalidGrantError
        scope = " ".join((self.request.payload.scope or family.scope).split())
        grant = Grant(user, family.client_id, scope, family.sid, family.auth_time)
        return _token_answer(self.server.minter, grant, successor, family.ends)

    def revoke_old_credential(self, refresh_token: Any) -> None:
        """Nothing to do: the old token is gone."""

    def _end_reused(self, token: RefreshToken, family: Family) -> None:
        self.server.store.end_family(token.family)
        _log.warning("refresh_token_reused", client_id=family.client_id, sub=family.sub, sid=family.sid)


class Revocation(RevocationEndpoint):  # type: ignore[misc] # authlib publishes no types
    """RFC 7009: a refresh token ends its whole family. Access tokens end by themselves, within minutes."""

    CLIENT_AUTH_METHODS = _SECRET_METHODS
    server: ProtocolServer

    def check_params(self, request: Any, client: Client) -> None:
        """Asks for a token only; an unknown hint is no reason to refuse (RFC 7009 2.1)."""
        del client
        if not request.form.get("token"):
            raise InvalidRequestError("Missing 'token' in request.")

    def query_token(self, token_string: str, token_type_hint: str | None) -> PresentedRefreshToken | None:
        """Finds the family of a refresh token, a used one too; unknown tokens are as good as revoked."""
        del token_type_hint
        token = RefreshToken.parse(token_string)
        found = self.server.store.find_family(token) if token else None
        return PresentedRefreshToken(token, found[0]) if token and found else None

    def revoke_token(self, token: PresentedRefreshToken, request: Any) -> None:
        """Ends the family."""
        del request
        self.server.store.end_family(token.token.family)


def _token_answer(
    minter: Minter, grant: Grant, refresh_token: RefreshToken, ends: float | None
) -> dict[str, Any]:
    """The token endpoint's answer (RFC 6749 5.1).

    It has an ID token if `openid` was granted, and a refresh token if there is a family, which `ends`.
    """
    now = int(time.time())
    access_token = minter.access_token(grant, now)
    answer: dict[str, Any] = {
        "access_token": access_token,
        "token_type": "Bearer",
        "expires_in": minter.access_token_lifetime,
        "scope": grant.scope,
    }
    if ends is not None:
        answer["refresh_token"] = str(refresh_token)
        answer["refresh_token_expires_in"] = max(0, int(ends) - now)
    if "openid" in grant.scope.split():
        answer["id_token"] = minter.id_token(grant, access_token, now)
    return answer


def supported_scopes() -> list[str]:
    """What discovery names."""
    return list(SCOPES)


_log = get_logger("bff.issuer")
