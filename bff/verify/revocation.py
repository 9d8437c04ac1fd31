"""Revocation lists: sources that know which tokens ended before their time.

A verifier asks for every token, one it has seen before too: it remembers that a token was good, never that it
still is. A service that accepts a bounded delay sets `fresh`.

Rule 1: "not known" is an exception, never "not revoked"; the verifier turns it into 503.
Rule 2: what is remembered is bounded in number and in time.
"""

import asyncio
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from pathlib import Path
from typing import Any, Protocol

import httpx

from .claims import Claims
from .fetch import ASKED, trust

MAX_ANSWER = 64 * 1024


class Revocations(Protocol):
    """A source that knows which tokens ended before their time."""

    async def is_revoked(self, token: str, claims: Claims) -> bool:
        """Return True if an otherwise valid token was revoked; raises the error that prevented the check."""
        ...

    async def close(self) -> None:
        """Closes the connections."""
        ...


class Remembered:
    """The names that were found good a moment ago, each with the end of that answer.

    `fresh` is in seconds; of more than `size` the oldest goes first.
    """

    def __init__(self, fresh: float, size: int) -> None:
        self._fresh, self._size = fresh, size
        self._until: OrderedDict[Hashable, float] = OrderedDict()

    def holds(self, name: Hashable) -> bool:
        """Returns True for a name that is believed without asking again."""
        return self._fresh > 0 and self._until.get(name, 0.0) > time.monotonic()

    def add(self, name: Hashable, asked: float) -> None:
        """Notes a good answer; `asked` is the moment of the question by the monotonic clock."""
        if self._fresh > 0:
            self._until.pop(name, None)
            self._until[name] = asked + self._fresh
            if len(self._until) > self._size:
                self._until.popitem(last=False)


class RedisRevocations:
    """The marks that the issuer leaves in Redis: `<prefix>:revoked:jti:<jti>`, `<prefix>:revoked:sid:<sid>`.

    A mark ends by itself once no token it is about can be alive. One command asks for both.

    Args:
        url: the issuer's Redis; a read-only account is enough.
        prefix: the issuer's.
        timeout: seconds to wait for Redis.
        fresh: seconds for which "not revoked" is believed without asking again; 0 asks each time.
        size: the number of answers that are remembered.
        ca_file: a PEM file of the authorities of a Redis with TLS (`rediss://`).

    Needs the package redis: `bff-verify[redis]`.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "issuer",
        timeout: float = 1.0,
        fresh: float = 0.0,
        size: int = 10_000,
        ca_file: str | Path | None = None,
    ) -> None:
        from redis.asyncio import Redis  # noqa: PLC0415 - an extra: a backend without Redis does without it
        from redis.asyncio.retry import Retry  # noqa: PLC0415 - likewise
        from redis.backoff import NoBackoff  # noqa: PLC0415 - likewise

        authorities: dict[str, Any] = {} if ca_file is None else {"ssl_ca_certs": str(ca_file)}
        self._redis: Redis = Redis.from_url(
            url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
            **authorities,
        )
        self._prefix = prefix
        self._good = Remembered(fresh, size)

    async def is_revoked(self, token: str, claims: Claims) -> bool:
        """Asks Redis; RedisError when it cannot be asked."""
        del token
        names = (f"{self._prefix}:revoked:jti:{claims.jti}", f"{self._prefix}:revoked:sid:{claims.sid}")
        if self._good.holds(names):
            return False
        asked = time.monotonic()
        revoked = await self._redis.exists(*names)
        if not revoked:
            self._good.add(names, asked)
        return revoked > 0

    async def close(self) -> None:
        """Closes the connections."""
        await self._redis.aclose()


class Introspection:
    """The issuer itself, by RFC 7662: a token that is not `active` is revoked.

    Args:
        endpoint: the introspection endpoint.
        client_id: the client that asks; the issuer decides about its right.
        client_secret: sent by HTTP Basic.
        timeout: seconds for a question as a whole.
        fresh: seconds for which "active" is believed without asking again; 0 asks each time.
        size: the number of answers that are remembered.
        ca_file: a PEM file of the authorities that the issuer's certificate is checked against.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        client_id: str,
        client_secret: str,
        timeout: float = 3.0,
        fresh: float = 0.0,
        size: int = 10_000,
        ca_file: str | Path | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._longest = timeout
        auth = httpx.BasicAuth(client_id, client_secret)
        self._client = httpx.AsyncClient(
            timeout=timeout, auth=auth, follow_redirects=False, trust_env=False, verify=trust(ca_file)
        )
        self._good = Remembered(fresh, size)

    async def is_revoked(self, token: str, claims: Claims) -> bool:
        """Asks the issuer; raises for an error and for a malformed answer."""
        del claims
        name = hashlib.sha256(token.encode()).hexdigest()  # of all of it: no two tokens share an answer
        if self._good.holds(name):
            return False
        asked = time.monotonic()
        form = {"token": token, "token_type_hint": "access_token"}
        async with (
            asyncio.timeout(self._longest),
            self._client.stream("POST", self._endpoint, data=form, headers=ASKED) as answer,
        ):
            if answer.status_code != httpx.codes.OK:
                raise OSError(f"the introspection endpoint answered {answer.status_code}")
            body = b""
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) > MAX_ANSWER:
                    raise OSError("the introspection endpoint's answer is too long")
        document: Any = json.loads(body)
        active = document.get("active") if isinstance(document, dict) else None
        if not isinstance(active, bool):
            raise OSError("the introspection endpoint's answer does not say whether the token is active")
        if active:
            self._good.add(name, asked)
        return not active

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()


class OwnRevocations:
    """A function of the service's own, as a revocation list."""

    def __init__(self, is_revoked: Callable[[Claims], Awaitable[bool]]) -> None:
        self._is_revoked = is_revoked

    async def is_revoked(self, token: str, claims: Claims) -> bool:
        """Calls the function."""
        del token
        return await self._is_revoked(claims)

    async def close(self) -> None:
        """Does nothing: there is no connection."""
