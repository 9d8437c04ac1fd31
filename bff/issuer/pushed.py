"""Pushed authorization requests (RFC 9126): stored for a moment, named by a `request_uri` of ours.

Rule: a pushed request gives one code at most: it is taken in the step before the code is made.
"""

import json
import secrets
from typing import cast

from bff.issuer.database import Database, digest

URN = "urn:ietf:params:oauth:request_uri:"
LIFETIME = 60  # seconds until the browser must have come with it
SIGN_IN_TIME = 600  # seconds that the sign-in page may then take


class PushedRequests:
    """The pushed requests in Redis."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, parameters: dict[str, str]) -> str:
        """Stores a checked request; returns its `request_uri`."""
        name = secrets.token_urlsafe(32)
        self._database.redis.set(self._key(name), json.dumps(parameters), ex=LIFETIME)
        return URN + name

    def find(self, request_uri: str) -> dict[str, str] | None:
        """Returns a request that is still to be answered, and gives its sign-in page some time."""
        key = self._key(request_uri.removeprefix(URN))
        text = cast("str | None", self._database.redis.getex(key, ex=SIGN_IN_TIME))
        return None if text is None else cast("dict[str, str]", json.loads(text))

    def take(self, request_uri: str) -> bool:
        """Uses a request up; False if somebody else has."""
        return bool(self._database.redis.delete(self._key(request_uri.removeprefix(URN))))

    def _key(self, name: str) -> str:
        return self._database.key("par", digest(name))
