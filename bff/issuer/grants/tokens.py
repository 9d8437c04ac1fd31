"""The tokens that the issuer signs: RFC 9068 access tokens and OpenID Connect ID tokens.

Rule 1: an access token holds no personal data: services that need more ask `userinfo`.
Rule 2: time is an argument, in whole seconds since 1970.
"""

import hashlib
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError

from bff.issuer.accounts.accounts import Account
from bff.issuer.keys.keys import Keys, SigningKey

ACCESS_TOKEN_TYPE = "at+jwt"  # noqa: S105 - the media type of RFC 9068 section 2.1
ID_TOKEN_TYPE = "JWT"  # noqa: S105 - same
LOGOUT_TOKEN_TYPE = "logout+jwt"  # noqa: S105 - same
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
ACR = "urn:oasis:names:tc:SAML:2.0:ac:classes:Password"
"""The `acr` of every sign-in here, which is by a password: the name that SAML has for it."""
ID_TOKEN_LIFETIME = 300
LOGOUT_TOKEN_LIFETIME = 120
MAX_TOKEN = 16 * 1024


@dataclass(frozen=True, slots=True)
class Grant:
    """The subject of issued tokens: the user, client, scope and sign-in.

    `audiences` are the services that the access token is for; none: the one that the settings name.
    `jti` is the access token's name; without it, it gets one. `jkt` is the key that it is bound to, if any.
    """

    account: Account
    client_id: str
    scope: str
    sid: str
    auth_time: int
    nonce: str = ""
    audiences: tuple[str, ...] = ()
    jti: str = ""
    jkt: str = ""


class Minter:
    """Signs tokens for one issuer, and reads its own again. Calls may block: keys are looked up."""

    def __init__(self, issuer: str, audience: str, keys: Keys, access_token_lifetime: float) -> None:
        self._issuer = issuer
        self._audience = audience
        self._keys = keys
        self.access_token_lifetime = max(1, int(access_token_lifetime))

    def access_token(self, grant: Grant, now: int, lifetime: int | None = None) -> str:
        """Signs an access token (RFC 9068 section 2), for `lifetime` seconds or the usual ones.

        `role` names the roles as `scope` names scopes: in one text, apart by spaces. `tid` is the tenant.
        """
        claims = {
            "iss": self._issuer,
            "aud": _aud(grant.audiences or (self._audience,)),
            "sub": grant.account.sub,
            "exp": now + (self.access_token_lifetime if lifetime is None else lifetime),
            "iat": now,
            "jti": grant.jti or secrets.token_urlsafe(16),
            "sid": grant.sid,
            "client_id": grant.client_id,
            "scope": grant.scope,
            **({"auth_time": grant.auth_time, "acr": ACR} if grant.auth_time else {}),
            **({"cnf": {"jkt": grant.jkt}} if grant.jkt else {}),
            **({"role": " ".join(grant.account.roles)} if grant.account.roles else {}),
            **({"tid": grant.account.tenant} if grant.account.tenant else {}),
        }
        return self._sign(ACCESS_TOKEN_TYPE, claims, now)

    def client_token(
        self, client_id: str, scope: str, audiences: Sequence[str], now: int, jkt: str = ""
    ) -> str:
        """Signs an access token of a client itself (RFC 6749 4.4): with no user, and so with no `sid`."""
        claims = {
            "iss": self._issuer,
            "aud": _aud(audiences),
            "sub": client_subject(client_id),
            "exp": now + self.access_token_lifetime,
            "iat": now,
            "jti": secrets.token_urlsafe(16),
            "client_id": client_id,
            "scope": scope,
            **({"cnf": {"jkt": jkt}} if jkt else {}),
        }
        return self._sign(ACCESS_TOKEN_TYPE, claims, now)

    def id_token(self, grant: Grant, access_token: str, now: int) -> str:
        """Signs an ID token (OpenID Connect Core 2); `name` and `email` as the scope allows."""
        claims = {
            "iss": self._issuer,
            "aud": grant.client_id,
            "exp": now + ID_TOKEN_LIFETIME,
            "iat": now,
            "auth_time": grant.auth_time,
            "acr": ACR,
            "amr": ["pwd"],
            "sid": grant.sid,
            "at_hash": _half_hash(access_token),
            **({"nonce": grant.nonce} if grant.nonce else {}),
            **personal_claims(grant.account, grant.scope),
        }
        return self._sign(ID_TOKEN_TYPE, claims, now)

    def logout_token(self, client_id: str, sub: str, sid: str, now: int) -> str:
        """Signs a logout token (OpenID Connect Back-Channel Logout 1.0, section 2.4)."""
        claims = {
            "iss": self._issuer,
            "aud": client_id,
            "iat": now,
            "exp": now + LOGOUT_TOKEN_LIFETIME,
            "jti": secrets.token_urlsafe(16),
            "sub": sub,
            "sid": sid,
            "events": {LOGOUT_EVENT: {}},
        }
        return self._sign(LOGOUT_TOKEN_TYPE, claims, now)

    def read_access_token(self, token: str, now: int) -> Mapping[str, Any] | None:
        """Returns the claims of a valid access token of our own, else None."""
        # Of the published keys, as for any verifier: a retired one has signed no token that is alive.
        published = {key.kid: key for key in self._keys.published(now)}
        claims = self._read(token, ACCESS_TOKEN_TYPE, published.get)
        return claims if claims is not None and claims["exp"] > now else None

    def read_id_token_hint(self, token: str, now: int) -> Mapping[str, Any] | None:
        """Returns the claims of our own ID token, an expired one too (RP-Initiated Logout 2), else None."""
        return self._read(token, ID_TOKEN_TYPE, lambda kid: self._keys.find(kid, now))

    def _sign(self, typ: str, claims: dict[str, Any], now: int) -> str:
        key = self._keys.signer(now)
        return jwt.encode(key.header(typ), claims, key.private, [key.algorithm])

    def _read(
        self, token: str, typ: str, find: Callable[[str], SigningKey | None]
    ) -> Mapping[str, Any] | None:
        if len(token) > MAX_TOKEN:
            return None
        try:
            kid = jws.extract_compact(token.encode()).headers().get("kid")
            key = find(kid) if isinstance(kid, str) else None
            if key is None:
                return None
            read = jwt.decode(token, key.private, [key.algorithm])
        except (JoseError, ValueError, TypeError, RecursionError):
            return None
        ours = read.header.get("typ") == typ and read.claims.get("iss") == self._issuer
        return read.claims if ours else None


def client_subject(client_id: str) -> str:
    """The `sub` of a client's own tokens; no account's `sub` holds a colon."""
    return f"client:{client_id}"


def _aud(audiences: Sequence[str]) -> str | list[str]:
    return audiences[0] if len(audiences) == 1 else list(audiences)


def personal_claims(account: Account, scope: str) -> dict[str, Any]:
    """The claims about a user that a scope grants (OpenID Connect Core 5.4)."""
    scopes = scope.split()
    claims: dict[str, Any] = {"sub": account.sub}
    if "profile" in scopes:
        claims["name"] = account.name
    if "email" in scopes:
        claims["email"] = account.email
    return claims


def _half_hash(text: str) -> str:
    """`at_hash` for a SHA-256 algorithm: the left half of the digest (OpenID Connect Core 3.1.3.6)."""
    return urlsafe_b64encode(hashlib.sha256(text.encode()).digest()[:16]).rstrip(b"=").decode()


def token_type(jkt: str) -> str:
    """Returns the `token_type` of a token by the key that it is bound to (RFC 6750, RFC 9449 5)."""
    return "DPoP" if jkt else "Bearer"


def token_answer(
    minter: Minter, grant: Grant, refresh_token: object, ends: float | None, now: int
) -> dict[str, Any]:
    """The token endpoint's answer (RFC 6749 5.1).

    It has an ID token if `openid` was granted, and a refresh token if there is a family, which `ends`.
    """
    access_token = minter.access_token(grant, now)
    answer: dict[str, Any] = {
        "access_token": access_token,
        "token_type": token_type(grant.jkt),
        "expires_in": minter.access_token_lifetime,
        "scope": grant.scope,
    }
    if ends is not None:
        answer["refresh_token"] = str(refresh_token)
        answer["refresh_token_expires_in"] = max(0, int(ends) - now)
    if "openid" in grant.scope.split():
        answer["id_token"] = minter.id_token(grant, access_token, now)
    return answer
