"""The counts of the limits that all processes share.

    <prefix>:rate:<limit>:<who>     string, PX: when the client's quota will be whole again, in microseconds

Rule 1: one script on one key decides and counts in one step, by Redis' own clock, so that processes on hosts
whose clocks differ count alike.
Rule 2: a key goes by itself once its client's quota is whole again: within the limit's window.
Rule 3: a foreign value there counts as nothing, or as a quota that is used up, and never as more.
"""

import hashlib
import math
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from redis.exceptions import ResponseError

from bff.policy.quota import Quota
from bff.session.batch_reader import BatchReader
from bff.session.scripts import TAKE

Translated = Callable[[], AbstractAsyncContextManager[None]]

_MICROSECONDS = 1_000_000
_SCRIPT = TAKE.encode()
_SHA = hashlib.sha1(_SCRIPT, usedforsecurity=False).hexdigest().encode()  # by which Redis names a script


class RateCounts:
    """Takes from quotas. `translated` turns what redis-py raises into our own error."""

    def __init__(self, batches: BatchReader, prefix: str, translated: Translated) -> None:
        self._batches = batches
        self._prefix = prefix
        self._translated = translated

    async def take(self, quota: Quota, who: str) -> float:
        """Takes one act from a client's quota: 0, or how many seconds it has to wait, and nothing was taken.

        Raises:
            StoreUnavailableError: it cannot be known now.
        """
        interval = max(1, round(quota.interval * _MICROSECONDS))
        name = f"{self._prefix}:rate:{quota.name}:{who}".encode()
        arguments = (b"1", name, b"%d" % interval, b"%d" % (interval * (quota.limit - 1)))
        async with self._translated():
            try:
                wait: int = await self._batches.evaluate(_packed(b"EVALSHA", _SHA, *arguments))
            except ResponseError as refused:
                if not str(refused).startswith("NOSCRIPT"):
                    raise
                wait = await self._batches.evaluate(_packed(b"EVAL", _SCRIPT, *arguments))
        return math.ceil(wait / 1000) / 1000


def _packed(*words: bytes) -> bytes:
    """A command as it is sent."""
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])
