"""The memory of DPoP proofs that were used: each is good once (RFC 9449 11.1).

Rule 1: bounded. Where there is no room the oldest proof is forgotten, and from then on each proof that is not
newer is taken for used: a forgotten one can never be used again.
Rule 2: a memory that cannot be asked is an exception, never "not used yet".
"""

import heapq
from pathlib import Path
from typing import Any, Protocol

from .dpop import Proof


class UsedProofs(Protocol):
    """A memory of used proofs, of one process or shared."""

    async def first_use(self, proof: Proof, ends: float, now: float) -> bool:
        """Notes a proof; returns False if it was used before. Raises the error that prevented the note.

        `ends`: when the proof is too old by itself; times are seconds since 1970.
        """
        ...

    async def close(self) -> None:
        """Lets go of connections."""
        ...


class ProofMemory:
    """The used proofs of this process.

    Args:
        size: how many are remembered; each takes some 200 bytes. It should hold the proofs of `max_age`.
    """

    def __init__(self, size: int = 50_000) -> None:
        self._size = size
        self._used: set[str] = set()
        self._by_age: list[tuple[float, float, str]] = []
        self._floor = float("-inf")

    def __len__(self) -> int:
        return len(self._used)

    async def first_use(self, proof: Proof, ends: float, now: float) -> bool:
        """Notes a proof; False if it was used before, or is no newer than one that was forgotten."""
        while self._by_age and self._by_age[0][1] < now:
            self._used.discard(heapq.heappop(self._by_age)[2])
        name = proof.memory_key()
        if name in self._used or proof.iat <= self._floor:
            return False
        self._used.add(name)
        heapq.heappush(self._by_age, (proof.iat, ends, name))
        if len(self._used) > self._size:
            self._floor, _, oldest = heapq.heappop(self._by_age)
            self._used.discard(oldest)
        return True

    async def close(self) -> None:
        """Does nothing: there is no connection."""


class RedisProofs:
    """The used proofs of all processes that share a Redis: `<prefix>:dpop:<hash>`, each with its end.

    Args:
        url: the Redis; an account that may SET below the prefix is enough.
        prefix: what the keys begin with.
        timeout: seconds to wait for Redis; without an answer the call is refused (503).
        ca_file: a PEM file of the authorities of a Redis with TLS (`rediss://`).

    Needs the package redis: `bff-verify[redis]`.
    """

    def __init__(
        self, url: str, *, prefix: str = "bff-verify", timeout: float = 1.0, ca_file: str | Path | None = None
    ) -> None:
        from redis.asyncio import Redis  # noqa: PLC0415 - an extra: a backend without Redis does without it
        from redis.asyncio.retry import Retry  # noqa: PLC0415 - likewise
        from redis.backoff import NoBackoff  # noqa: PLC0415 - likewise

        authorities: dict[str, Any] = {} if ca_file is None else {"ssl_ca_certs": str(ca_file)}
        self._redis: Redis = Redis.from_url(
            url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 0),  # a note that was sent twice would take its own proof for used
            health_check_interval=0,
            **authorities,
        )
        self._prefix = prefix

    async def first_use(self, proof: Proof, ends: float, now: float) -> bool:
        """Notes a proof; False if it was used before. RedisError when Redis cannot be asked."""
        left = max(1, int((ends - now) * 1000) + 1000)
        return bool(await self._redis.set(f"{self._prefix}:dpop:{proof.memory_key()}", "1", nx=True, px=left))

    async def close(self) -> None:
        """Closes the connections."""
        await self._redis.aclose()
