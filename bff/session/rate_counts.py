"""The counts of the limits that all processes share.

    <prefix>:rate:<limit>:<who>     string, PX: when the client's quota will be whole again, in microseconds

Rule 1: one script on one key decides and counts in one step, by Redis' own clock, so that processes on hosts
whose clocks differ count alike.
Rule 2: a key goes by itself once its client's quota is whole again: within the limit's window.
Rule 3: a foreign value there counts as nothing, or as a quota that is used up, and never as more.
"""

import math

from bff.policy.quota import Quota
from bff.session.batch_script import BatchScript
from bff.session.batches import Batches
from bff.session.lua_scripts import TAKE
from bff.session.redis_errors import Translated

_MICROSECONDS = 1_000_000


class RateCounts:
    """Takes from quotas. `translated` turns redis-py's errors into our own."""

    def __init__(self, batches: Batches, prefix: str, translated: Translated) -> None:
        self._take = BatchScript(batches, TAKE)
        self._prefix = prefix
        self._translated = translated

    async def take(self, quota: Quota, who: str) -> float:
        """Takes one act from a client's quota: 0, or how many seconds it has to wait, and nothing was taken.

        Raises:
            StoreUnavailableError: it cannot be known now.
        """
        interval = max(1, round(quota.interval * _MICROSECONDS))
        name = f"{self._prefix}:rate:{quota.name}:{who}".encode()
        async with self._translated():
            wait: int = await self._take.run(name, b"%d" % interval, b"%d" % (interval * (quota.limit - 1)))
        return math.ceil(wait / 1000) / 1000
