"""The condition of Redis: does it take writes, and does it keep them."""

import asyncio
from dataclasses import dataclass
from itertools import count

from redis.asyncio import Redis

from bff.session.cluster.client import ClusterClient, masters_of
from bff.session.cluster.topology import slot_of

_NOEVICTION = "noeviction"


@dataclass(frozen=True, slots=True)
class Readiness:
    """Redis' own word: usable means that sessions can be written and will not be evicted."""

    writable: bool
    eviction_policy: str | None  # None where the account may not ask


async def tried(redis: Redis, name: str, *, seconds: int) -> None:
    """Writes a key that goes by itself, to each master of a cluster; raises if none takes it."""
    names = await names_on_each(redis, name)
    said = await asyncio.gather(*(redis.set(each, "1", ex=seconds) for each in names), return_exceptions=True)
    failed = [each for each in said if isinstance(each, BaseException)]
    if len(failed) == len(said):
        raise failed[0]


async def eviction_policy(redis: Redis) -> str | None:
    """Returns `maxmemory-policy`: of a cluster's masters the first that is not as it should be."""
    policies = [
        (await server.config_get("maxmemory-policy")).get("maxmemory-policy")
        for server in await masters_of(redis)
    ]
    return next((policy for policy in policies if policy != _NOEVICTION), policies[0])


async def names_on_each(redis: Redis, name: str) -> list[str]:
    """Returns the name itself, or for each master of a cluster `<name>:<number>`, the first that it has."""
    if not isinstance(redis, ClusterClient):
        return [name]
    known = await redis.topology.known()
    found: dict[tuple[str, int], str] = {}
    for number in count():
        each = f"{name}:{number}"
        if (owner := known.owner(slot_of(each.encode()))) is not None:
            found.setdefault(owner, each)
        if found.keys() >= known.masters or number > _MOST:
            return list(found.values())
    raise AssertionError("unreachable")


_MOST = 1000
"""Names that are tried: a master with so few slots that none of them is its own is passed over."""
