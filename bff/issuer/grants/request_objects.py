"""Signed authorization requests (JAR, RFC 9101): a request as a JWT by the client's own key.

Rule 1: of a signed request counts what was signed, and nothing that stands beside it (RFC 9101 6.3).
Rule 2: it is for this issuer alone, from the client that it names, and not for long; it holds no other one.
Rule 3: its type is its own: an assertion that a client authenticates with is no request (RFC 9101 10.8).
Rule 4: the reason of a refusal is told in words of ours; nothing of the request is repeated.
"""

import json
import time
from typing import Any

from authlib.oauth2.rfc6749 import OAuth2Error
from joserfc import jws, jwt
from joserfc.errors import JoseError

from bff.issuer.grants.client_auth import ALGORITHMS, LEEWAY
from bff.issuer.grants.client_keys import ClientKeys
from bff.issuer.grants.clients import Client
from bff.verify.claims import finite_time

TYPE = "oauth-authz-req+jwt"
MAX_REQUEST = 16 * 1024
MAX_LIFETIME = 600
"""Seconds from now to its `exp`, and from its `nbf` to now."""
_OWN = frozenset({"iss", "aud", "exp", "nbf", "iat", "jti"})


class InvalidRequestObjectError(OAuth2Error):  # type: ignore[misc] # authlib publishes no types
    """A signed request that is not good (RFC 9101 7)."""

    error = "invalid_request_object"


class RequestObjects:
    """The check of signed requests; blocks where a client's keys are fetched."""

    def __init__(self, issuer: str, keys: ClientKeys) -> None:
        self._issuer = issuer
        self._keys = keys

    def read(self, text: str, client: Client) -> dict[str, str]:
        """Returns the parameters of a signed request.

        Raises:
            InvalidRequestObjectError: it is not this client's, not for this issuer, or not of this hour.
        """
        if not 0 < len(text) <= MAX_REQUEST:
            raise _refused("cannot be read")
        try:
            header = jws.extract_compact(text.encode()).headers()
            kid = header.get("kid")
            if header.get("typ") != TYPE:
                raise _refused(f"must have the typ {TYPE}")
            key = self._keys.find(client, kid if isinstance(kid, str) else None, time.monotonic())
            if key is None or header.get("alg") not in ALGORITHMS:
                raise _refused("is not signed by a key of the client")
            claims = jwt.decode(text, key, list(ALGORITHMS)).claims
        except (JoseError, ValueError, TypeError, KeyError, RecursionError):
            raise _refused("is not signed by a key of the client") from None
        self._check(claims, client, time.time())
        return {name: _text(value) for name, value in claims.items() if name not in _OWN}

    def _check(self, claims: dict[str, Any], client: Client, now: float) -> None:
        if claims.get("iss") != client.client_id or claims.get("client_id") != client.client_id:
            raise _refused("must name the client as iss and as client_id")
        if claims.get("aud") not in (self._issuer, [self._issuer]):
            raise _refused("must be for this issuer alone")
        if {"request", "request_uri", "sub"} & claims.keys():
            raise _refused("holds another request, or a subject")
        exp, begin = finite_time(claims.get("exp")), finite_time(claims.get("nbf", claims.get("iat", now)))
        if exp is None or not now - LEEWAY < exp <= now + MAX_LIFETIME + LEEWAY:
            raise _refused(f"must have an exp at most {MAX_LIFETIME} seconds from now")
        if begin is None or not now - MAX_LIFETIME - LEEWAY <= begin <= now + LEEWAY:
            raise _refused("must have an nbf of now")


def _text(value: Any) -> str:
    """A parameter as a query would have it: several resources apart by spaces, what is no text as JSON."""
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return " ".join(value)
    return value if isinstance(value, str) else json.dumps(value)


def _refused(words: str) -> InvalidRequestObjectError:
    return InvalidRequestObjectError(f"The request object {words}.")
