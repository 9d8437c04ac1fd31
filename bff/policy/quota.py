"""A limit on how often one client may do something, and the fields that tell a client of it. Pure.

The fields are those of draft-ietf-httpapi-ratelimit-headers (revision 11): `RateLimit-Policy` has the limit,
`RateLimit` the rest of it. They stand on refusals alone.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

from bff.settings.value_types import Rate


@dataclass(frozen=True, slots=True)
class Quota:
    """A number of acts that one client may do within a window.

    A client that has been away may do all of them at once; after that one more each `interval`.

    Attributes:
        name: told to clients, part of Redis keys and of a metric's label: a word of ours or a route's path.
        limit: how many, at least 1.
        window: in seconds, at least 1.
        wall: each process keeps this limit by itself too, which costs no round trip and holds without Redis.
    """

    name: str
    limit: int
    window: float
    wall: bool = False

    @classmethod
    def of(cls, name: str, rate: Rate) -> "Quota":
        """The quota of a setting like "600/m"."""
        return cls(name, rate.times, rate.seconds)

    @property
    def interval(self) -> float:
        """Seconds that buy one act."""
        return self.window / self.limit


class Limited(NamedTuple):
    """A refusal: the quota is used up, and the next act is possible after `wait` seconds."""

    quota: Quota
    wait: float

    def fields(self) -> list[tuple[bytes, bytes]]:
        """The header fields that tell a client of the limit; `Retry-After` is the problem's own."""
        quota = self.quota
        name = quota.name.replace("\\", "\\\\").replace('"', '\\"')  # an sf-string (RFC 9651 3.3.3)
        policy = f'"{name}";q={quota.limit};w={math.ceil(quota.window)}'
        state = f'"{name}";r=0;t={max(1, math.ceil(self.wait))}'
        return [(b"ratelimit-policy", policy.encode("ascii")), (b"ratelimit", state.encode("ascii"))]
