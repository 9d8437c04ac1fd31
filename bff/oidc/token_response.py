"""The answers of the token endpoint and its neighbours, read with checked types. Pure.

Rule 1: a refusal holds nothing of the answer.
Rule 2: time is an argument; `now` and all moments are seconds since the epoch.
"""

import base64
import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bff.session.model import Tokens

MAX_TOKEN = 128 * 1024
MAX_REQUEST_URI = 2048  # it goes into a Location
PUSHED_FOR = 600  # seconds (FAPI 2.0 Security Profile 5.3.2.2)
MAX_LIFETIME = 10 * 365 * 86400.0  # keeps nonsense out of later arithmetic
_LAST_MOMENT = 253402300800.0  # the year 10000
_CLOCKS_APART = 30.0  # seconds by which a provider's clock may differ from ours
_TELLING = 2.0  # seconds: ends are stated in whole ones
TokenHint = Literal["refresh_token", "access_token"]
"""The kinds of tokens that can be revoked (RFC 7009 2.1)."""

# A token in an Authorization header: RFC 6750 2.1 and a little more, but no space and no CR or LF.
_TOKEN = re.compile(r"[\x21-\x7e]+")


class TokenAnswerError(ValueError):
    """A token endpoint's answer that cannot be used. The message holds nothing of it."""


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """A successful answer (RFC 6749 5.1). `scope` is None where the answer does not say."""

    access_token: str = field(repr=False)
    obtained_at: float
    access_expires_at: float | None
    refresh_token: str | None = field(repr=False)
    refresh_expires_at: float | None
    id_token: str | None = field(repr=False)
    scope: str | None
    proof_key: str | None = field(default=None, repr=False)  # that the access token is bound to

    def tokens(self, former: Tokens | None = None) -> Tokens:
        """Return a session's tokens. Fields that a refresh left out stay as they were (RFC 6749 6, T-06)."""
        kept_refresh = former.refresh_token if former else None
        kept_end = former.refresh_expires_at if former and self.refresh_token is None else None
        refresh_end = kept_end if self.refresh_expires_at is None else self.refresh_expires_at
        return Tokens(
            access_token=self.access_token,
            obtained_at=self.obtained_at,
            access_expires_at=self.access_expires_at,
            refresh_token=self.refresh_token or kept_refresh,
            refresh_expires_at=refresh_end,
            id_token=self.id_token or (former.id_token if former else None),
            scope=(former.scope if former else "") if self.scope is None else self.scope,
            refresh_end_moves=former is None or _moves(former, self.obtained_at, refresh_end),
            proof_key=self.proof_key,
        )


def parse_token_answer(
    document: Any,
    now: float,
    *,
    refresh_lifetime: float | None = None,
    refreshed: bool = False,
    jkt: str | None = None,
) -> TokenAnswer:
    """Reads a token endpoint's JSON; `now` is when the request was sent.

    An unreadable lifetime counts as not stated: refusing the answer for it would throw away a rotated
    refresh token. So does an answer to a refresh that states no type, as the former token had one, or that
    holds a malformed ID token. `refresh_lifetime` bounds the refresh token where the settings know better
    (seconds). With `jkt`, the thumbprint of the key that the request was proved by, the token has to be bound
    to that key: the answer must say so (RFC 9449 5), and a JWT that names another key is refused. One that
    nobody here can read, or that names none, may be bound by the provider's own books.

    Raises:
        TokenAnswerError: there is no bearer token in it, or with `jkt` none that is bound.
    """
    if not isinstance(document, Mapping):
        raise TokenAnswerError("the token endpoint's answer is not a JSON object")
    wanted = "Bearer" if jkt is None else "DPoP"
    token_type = document.get("token_type", "Bearer" if refreshed else None)
    if not isinstance(token_type, str) or token_type.lower() != wanted.lower():
        raise TokenAnswerError(f"the token endpoint's answer has a token_type other than {wanted}")
    access_token = _token(document, "access_token")
    if access_token is None:
        raise TokenAnswerError("the token endpoint's answer has no access_token")
    if jkt is not None and _bound_otherwise(access_token, jkt):
        raise TokenAnswerError("the token endpoint's answer has a token that is bound to another key")
    expires_in = _lifetime(document.get("expires_in"))
    scope = document.get("scope")
    refresh_token = _token(document, "refresh_token")
    return TokenAnswer(
        access_token=access_token,
        obtained_at=now,
        access_expires_at=_access_end(access_token, now, expires_in),
        refresh_token=refresh_token,
        refresh_expires_at=_refresh_end(document, now, refresh_token and refresh_lifetime),
        id_token=_id_token(document, refreshed=refreshed),
        scope=scope if isinstance(scope, str) else None,
    )


def refused_token(document: Any) -> tuple[str, TokenHint] | None:
    """Returns the token to revoke of an answer that is not taken: without it the grant lives on unused."""
    names: tuple[TokenHint, ...] = ("refresh_token", "access_token")
    for name in names if isinstance(document, Mapping) else ():
        value = document.get(name)
        if isinstance(value, str) and len(value) <= MAX_TOKEN and _TOKEN.fullmatch(value):
            return value, name
    return None


def parse_pushed(document: Any) -> str | None:
    """The `request_uri` of a pushed authorization request (RFC 9126 2.2), or None."""
    value = document.get("request_uri") if isinstance(document, Mapping) else None
    usable = isinstance(value, str) and len(value) <= MAX_REQUEST_URI and _TOKEN.fullmatch(value)
    return value if usable else None


def pushed_too_long(document: Any) -> str:
    """Returns the fault of a pushed request's lifetime by FAPI 2.0 (5.3.2.2); empty for none."""
    seconds = _lifetime(document.get("expires_in")) if isinstance(document, Mapping) else None
    if seconds is None:
        return "the provider does not say for how long a pushed request can be used (expires_in)"
    if not 0 < seconds < PUSHED_FOR:
        return f"a pushed request can be used for {seconds:.0f} s: FAPI 2.0 wants less than {PUSHED_FOR}"
    return ""


def _token(document: Mapping[str, Any], name: str) -> str | None:
    value = document.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > MAX_TOKEN or not _TOKEN.fullmatch(value):
        raise TokenAnswerError(f"the token endpoint's answer has a malformed {name}")
    return value


def _id_token(document: Mapping[str, Any], *, refreshed: bool) -> str | None:
    try:
        return _token(document, "id_token")
    except TokenAnswerError:
        if refreshed:
            return None
        raise


def _lifetime(value: Any) -> float | None:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value, re.ASCII):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not math.isfinite(value):  # isfinite raises on huge ints
        return None
    return float(min(max(value, 0), MAX_LIFETIME))


def _access_end(token: str, now: float, expires_in: float | None) -> float | None:
    """Returns the access token's end: `expires_in` after `now`, or its own `exp` where that comes sooner."""
    stated = None if expires_in is None else now + expires_in
    own = _own_end(token, now)
    if own is None or (stated is not None and now < stated <= own):
        return stated
    return own


def _own_end(token: str, now: float) -> float | None:
    """The `exp` of a JWT by our clock (RFC 7519 4.1.4); None if it has none, or cannot be read.

    It is no check: nothing is trusted for it but when to rotate. Where `iat` shows that the provider's clock
    is another than ours, or that the token was issued before, the token's life is counted from `now`.
    """
    claims = _readable_claims(token)
    end, issued = _moment(claims.get("exp")), _moment(claims.get("iat"))
    if end is None:
        return None
    if issued is not None and abs(now - issued) > _CLOCKS_APART:
        end += now - issued
    return end if end > now else None


def _readable_claims(token: str) -> Mapping[str, Any]:
    """The claims of a token that is a JWT and not encrypted; empty where they cannot be read."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, Mapping) else {}


def _bound_otherwise(token: str, jkt: str) -> bool:
    """Returns True if a token says itself that it is bound, and not to this key (RFC 9449 6.1)."""
    confirmation = _readable_claims(token).get("cnf")
    return confirmation is not None and not (
        isinstance(confirmation, Mapping) and confirmation.get("jkt") == jkt
    )


def names_other_certificate(token: str, thumbprints: Collection[str]) -> bool:
    """Returns True if a token can be read, and is bound to none of these certificates (RFC 8705 3.1)."""
    claims = _readable_claims(token)
    confirmation = claims.get("cnf")
    named = confirmation.get("x5t#S256") if isinstance(confirmation, Mapping) else None
    return bool(claims) and not (isinstance(named, str) and named in thumbprints)


def _moment(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LAST_MOMENT:
        return None
    return float(value)


def _moves(former: Tokens, now: float, end: float | None) -> bool:
    """Returns True if a rotation gives the refresh token a later end; where nothing tells, as before.

    Nothing tells too soon after the former answer, nor does an earlier end: the provider's lifetimes are
    shorter now.
    """
    elapsed = now - former.obtained_at
    if end is None or former.refresh_expires_at is None or elapsed <= _TELLING:
        return former.refresh_end_moves
    shift = end - former.refresh_expires_at
    return former.refresh_end_moves if shift < -elapsed / 2 else shift > elapsed / 2


def _refresh_end(document: Mapping[str, Any], now: float, configured: float | str | None) -> float | None:
    stated = [_lifetime(document.get(name)) for name in ("refresh_expires_in", "refresh_token_expires_in")]
    # Zero is how Keycloak says that an offline token has no end.
    lifetimes = [seconds for seconds in stated if seconds]
    if isinstance(configured, int | float):
        lifetimes.append(configured)
    return now + min(lifetimes) if lifetimes else None
