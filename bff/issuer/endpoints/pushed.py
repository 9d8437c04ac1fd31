"""Pushed authorization requests (RFC 9126): stored for a moment, named by a `request_uri` of ours.

Rule: a pushed request gives one code at most: it is taken in the step before the code is made. Its
`redirect_uri` is remembered for a while: a browser that comes back by its button is sent on to the client.
"""

import json
import secrets
from typing import cast

from bff.issuer.store.redis import IssuerRedis, digest

URN = "urn:ietf:params:oauth:request_uri:"
LIFETIME = 60  # seconds until the browser must have come with it
SIGN_IN_TIME = 600  # seconds that the sign-in page may take from then on
SPENT_KEPT = 3600  # seconds for which a request that was answered can still be told from an invented one


class PushedRequests:
    """The pushed requests in Redis."""

    def __init__(self, redis: IssuerRedis) -> None:
        self._redis = redis

    def save(self, parameters: dict[str, str]) -> str:
        """Stores a checked request; returns its `request_uri`."""
        name = secrets.token_urlsafe(32)
        self._redis.client.set(self._key(name), json.dumps(parameters), ex=LIFETIME)
        return URN + name

    def find(self, request_uri: str, client_id: str) -> dict[str, str] | None:
        """Returns a client's request that is still to be answered; the first look gives time to sign in.

        No later look gives more, and another client's gives none: no request can be kept from its end.
        """
        name, redis = request_uri.removeprefix(URN), self._redis.client
        text = cast("str | None", redis.get(self._key(name)))
        found = None if text is None else cast("dict[str, str]", json.loads(text))
        if found is None or found["client_id"] != client_id:
            return None
        if redis.set(self._redis.key("par-seen", digest(name)), "1", nx=True, ex=LIFETIME + SIGN_IN_TIME):
            redis.expire(self._key(name), SIGN_IN_TIME)
        return found

    def find_spent(self, request_uri: str) -> dict[str, str] | None:
        """Returns a request that was answered lately."""
        text = cast("str | None", self._redis.client.get(self._spent(request_uri)))
        return None if text is None else cast("dict[str, str]", json.loads(text))

    def take(self, request_uri: str) -> bool:
        """Uses a request up; returns False if it was used already."""
        text = self._redis.client.getdel(self._key(request_uri.removeprefix(URN)))
        if text is not None:
            self._redis.client.set(self._spent(request_uri), text, ex=SPENT_KEPT)
        return text is not None

    def _spent(self, request_uri: str) -> str:
        return self._redis.key("par-spent", digest(request_uri.removeprefix(URN)))

    def _key(self, name: str) -> str:
        return self._redis.key("par", digest(name))
