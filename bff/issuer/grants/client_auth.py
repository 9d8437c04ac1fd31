"""private_key_jwt: a client authenticates by a JWT that it has signed (RFC 7521, RFC 7523).

Rule 1: an assertion is for this issuer and nobody else: one `aud`, compared to the letter.
Rule 2: it is good once, and not for long: its `jti` is remembered until it ends.
Rule 3: the reason of a refusal repeats nothing of the assertion.

authlib's own class is not used: it takes any of joserfc's default algorithms, HMAC among them, one `aud`
among several, any `exp`, and chooses keys without their `kid`.
"""

import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

from authlib.oauth2.rfc6749 import InvalidClientError
from joserfc import jws, jwt
from joserfc.errors import JoseError

from bff.issuer.grants.client_keys import ClientKeys
from bff.issuer.grants.clients import Client
from bff.issuer.store.redis import IssuerRedis

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ALGORITHMS = ("ES256", "ES384", "RS256", "PS256")
MAX_ASSERTION = 8 * 1024
MAX_LIFETIME = 300
LEEWAY = 10
_MAX_JTI = 256
_FAR_FUTURE = 1e12


class PrivateKeyJwt:
    """Authenticates a request by its assertion, as authlib's engine asks a method to.

    Args:
        redis: remembers the used assertions.
        keys: the clients' keys.
        audiences: the values that `aud` may have: the issuer, or the endpoints that an assertion is sent to.
    """

    def __init__(self, redis: IssuerRedis, keys: ClientKeys, audiences: frozenset[str]) -> None:
        self._redis = redis
        self._keys = keys
        self._audiences = audiences

    def __call__(self, query_client: Callable[[str], Client | None], request: Any) -> Client | None:
        """Returns the client; None without an assertion; raises InvalidClientError for a bad one."""
        assertion = request.form.get("client_assertion")
        if not assertion and "client_assertion_type" not in request.form:
            return None
        if request.form.get("client_assertion_type") != ASSERTION_TYPE:
            raise _refused("The client_assertion_type is not supported.")
        if not assertion or len(assertion) > MAX_ASSERTION:
            raise _refused("The client_assertion cannot be read.")
        header, claims = _peek(assertion)
        client = query_client(_text(claims.get("sub")))
        if client is None or request.form.get("client_id", client.client_id) != client.client_id:
            raise _refused("The client_assertion is not from a client that is known here.")
        kid = header.get("kid")
        key = self._keys.find(client, kid if kid is None else _text(kid), time.monotonic())
        if key is None or header.get("alg") not in ALGORITHMS:
            raise _refused("The client_assertion is not signed by a key of the client.")
        try:
            claims = jwt.decode(assertion, key, list(ALGORITHMS)).claims
        except (JoseError, ValueError, TypeError, RecursionError):
            raise _refused("The client_assertion is not signed by a key of the client.") from None
        self._check(claims, client, int(time.time()))
        return client

    def _check(self, claims: dict[str, Any], client: Client, now: int) -> None:
        if claims.get("iss") != client.client_id or claims.get("sub") != client.client_id:
            raise _refused("The client_assertion must name the client as iss and as sub.")
        audience = claims.get("aud")
        if isinstance(audience, list) and len(audience) == 1:
            audience = audience[0]
        if not isinstance(audience, str) or audience not in self._audiences:
            raise _refused("The client_assertion must be for this issuer alone.")
        exp, jti = _time(claims.get("exp")), _text(claims.get("jti"))
        if exp is None or exp + LEEWAY <= now or exp > now + MAX_LIFETIME + LEEWAY:
            raise _refused(f"The client_assertion must have an exp at most {MAX_LIFETIME} seconds from now.")
        for name in ("nbf", "iat"):
            begin = _time(claims.get(name, 0))
            if begin is None or begin > now + LEEWAY:
                raise _refused(f"The client_assertion has an {name} that is not yet.")
        if not 0 < len(jti) <= _MAX_JTI:
            raise _refused("The client_assertion must have a jti.")
        name = hashlib.sha256(f"{client.client_id}\n{jti}".encode("utf-8", "surrogatepass")).hexdigest()
        key = self._redis.key("assertion", name)
        if not self._redis.client.set(key, "1", nx=True, ex=int(exp - now) + 2 * LEEWAY):
            raise _refused("The client_assertion was used before.")


def _peek(assertion: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads header and claims before the signature is checked: they name the client whose key checks it."""
    try:
        found = jws.extract_compact(assertion.encode())
        claims = json.loads(found.payload)
    except (JoseError, ValueError, TypeError, RecursionError):
        raise _refused("The client_assertion cannot be read.") from None
    if not isinstance(claims, dict):
        raise _refused("The client_assertion cannot be read.")
    return dict(found.headers()), claims


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _time(value: Any) -> float | None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < _FAR_FUTURE
    return float(value) if number else None


def _refused(words: str) -> InvalidClientError:
    return InvalidClientError(description=words, status_code=401)
