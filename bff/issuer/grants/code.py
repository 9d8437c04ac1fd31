"""The authorization code grant (RFC 6749 4.1, RFC 7636, OpenID Connect Core 3.1).

Rule 1: PKCE with S256, always. authlib asks it of public clients only, and takes `plain`.
Rule 2: a code is taken atomically before anything is issued; authlib queries, issues, and deletes afterwards.
Rule 3: a code that is used twice ends the sign-in that it came from (RFC 6749 4.1.2).
"""

import re
import secrets
import time
from typing import Any

from authlib.oauth2.rfc6749 import InvalidGrantError, InvalidRequestError, grants
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core.grants.code import OpenIDCode

from bff.issuer.accounts.accounts import Account
from bff.issuer.grants.audiences import choose, read_resources
from bff.issuer.grants.clients import AUTH_METHODS, Client
from bff.issuer.grants.engine import EndUser, ProtocolServer
from bff.issuer.grants.proofs import ProvesKey
from bff.issuer.grants.tokens import Grant, token_answer
from bff.issuer.store.codes import Code
from bff.issuer.store.refresh_families import Family, RefreshToken
from bff.observe.logs import audit

MAX_NONCE = 512  # characters; it is stored with the code
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")  # RFC 7636 4.2: a SHA-256 in base64url


class S256Only(CodeChallenge):  # type: ignore[misc] # authlib publishes no types
    """Required PKCE, for confidential clients too (RFC 9700 2.1.1).

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
        if len(data.get("nonce", "")) > MAX_NONCE:
            raise InvalidRequestError("The nonce is too long.")
        if not _CHALLENGE.fullmatch(data.get("dpop_jkt", "x" * 43)):
            raise InvalidRequestError("dpop_jkt is the SHA-256 thumbprint of a key.")
        wanted, client = read_resources(data.get("resource")), grant.request.client
        choose(wanted, (), grant.server.allowed_audiences(client))
        super().validate_code_challenge(grant, redirect_uri)


class IdToken(OpenIDCode):  # type: ignore[misc] # authlib publishes no types
    """Adds the checks and the ID token of OpenID Connect to the code grant."""

    def exists_nonce(self, nonce: str, request: Any) -> bool:
        """Returns False: a nonce is bound to its code, which is good once; the client checks it."""
        del nonce, request
        return False

    def process_token(self, grant: Any, response: Any) -> Any:
        """Leaves the answer alone: `_token_answer` has put the ID token in."""
        del grant
        return response[1]


class CodeGrant(ProvesKey, grants.AuthorizationCodeGrant):  # type: ignore[misc] # authlib publishes no types
    """Codes of 256 random bits, bound to client, redirect URI, challenge and sign-in, good once."""

    TOKEN_ENDPOINT_AUTH_METHODS = AUTH_METHODS
    server: ProtocolServer

    def generate_authorization_code(self) -> str:
        """Makes a code."""
        return secrets.token_urlsafe(32)

    def save_authorization_code(self, code: str, request: Any) -> None:
        """Stores the code with its bindings."""
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
            resources=read_resources(data.get("resource")),
            dpop_jkt=data.get("dpop_jkt", ""),
        )
        self.server.store.codes.save(code, record, lifetime)

    def query_authorization_code(self, code: str, client: Client) -> "PresentedCode | None":
        """Takes the code. A second use is refused, and ends the sign-in with the tokens of the first."""
        taken = self.server.store.codes.take(code)
        if taken is None or taken.code.client_id != client.client_id:
            return None
        if taken.again:
            audit(
                "token_reused",
                sub=taken.code.sub,
                reason="code",
                sid=taken.code.sid,
                client_id=client.client_id,
            )
            self.server.termination.end_sign_in(taken.code.sid, "code_reused", client_id=client.client_id)
            return None
        if taken.code.dpop_jkt not in ("", self.jkt):
            raise InvalidGrantError("The code is bound to another key than the one that is proved.")
        return PresentedCode(taken.code)

    def delete_authorization_code(self, authorization_code: Any) -> None:
        """Does nothing: the code was taken when it was presented."""

    def authenticate_user(self, authorization_code: "PresentedCode") -> Account | None:
        """The account that signed in."""
        return self.server.accounts.find(authorization_code.record.sub)

    def generate_token(self, user: Account, scope: str, **_: Any) -> dict[str, Any]:
        """Issues the first tokens, and a family if `offline_access` was granted (OpenID Connect Core 11)."""
        record: Code = self.request.authorization_code.record
        store, client = self.server.store, self.request.client
        wanted = read_resources(self.request.form.get("resource"))
        audiences = choose(wanted, record.resources, self.server.allowed_audiences(client))
        token, ends = RefreshToken(record.family, "").successor(), None
        now = time.time()
        store.sign_in_sessions.note_client(record.sid, record.sub, record.client_id, now)
        jti = store.issued.name(token.family, self.server.minter.access_token_lifetime, now)
        if "offline_access" in scope.split():
            ends = now + self.server.settings.refresh_token_lifetime
            family = Family(
                record.client_id, scope, record.sub, record.sid, record.auth_time, ends, record.resources
            )
            store.sign_in_sessions.note_family(token.family, family, now)
            store.refresh_families.start(token, family, now)
        # A second use of the code, or a sign-out, a moment ago may have come too early to find this.
        if store.sign_in_sessions.has_ended(record.sid):
            store.refresh_families.end(
                token.family
            )  # an end that came in between may have forgotten its name
            self.server.termination.end_sign_in(record.sid, "over_already")
            raise InvalidGrantError("Invalid 'code' in request.")
        grant = Grant(
            user,
            record.client_id,
            scope,
            record.sid,
            record.auth_time,
            record.nonce,
            audiences,
            jti,
            self.jkt,
        )
        return token_answer(self.server.minter, grant, token, ends, int(time.time()))


class PresentedCode:
    """A taken code, in the shape that authlib's checks ask for."""

    def __init__(self, record: Code) -> None:
        self.record = record
        self.code_challenge = record.code_challenge
        self.code_challenge_method = "S256"

    def get_redirect_uri(self) -> str:
        """The parameters that the token request must repeat (RFC 6749 4.1.3)."""
        return self.record.redirect_uri

    def get_scope(self) -> str:
        """The granted scope."""
        return self.record.scope
