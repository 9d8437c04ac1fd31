"""A script of Redis that runs in the batches of the reads, and shares their round trips.

Rule 1: it is named by its hash; a server that does not know it yet is sent all of it, once.
Rule 2: it may be run twice, where a connection breaks: only for scripts of which that does no harm.
"""

import hashlib
from typing import Any

from redis.exceptions import ResponseError

from bff.session.batches import Batches, Told
from bff.session.redis_connection import packed

_WORDS = 2  # of the command, before the number of its keys


class BatchScript:
    """One script on one key."""

    def __init__(self, batches: Batches, source: str) -> None:
        self._batches = batches
        self._source = source.encode()
        # Redis' name of it.
        self._sha = hashlib.sha1(self._source, usedforsecurity=False).hexdigest().encode()
        self._head = packed(b"EVALSHA", self._sha, b"1").partition(b"\r\n")[2]

    def begin(self, then: Told[Any], name: bytes, *arguments: bytes) -> None:
        """Runs it as `run` does, for callers that do not await: `then` gets what that returns, or raises."""
        rest = (b"1", name, *arguments)

        def answered(answer: Any) -> None:
            if isinstance(answer, ResponseError) and _is_unknown(answer):
                self._batches.run(name, packed(b"EVAL", self._source, *rest), then)
            else:
                then(answer)

        words = b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in (name, *arguments)])
        self._batches.run(name, b"*%d\r\n%b%b" % (_WORDS + len(rest), self._head, words), answered)

    async def run(self, name: bytes, *arguments: bytes) -> Any:
        """Runs it on the key of this name.

        Raises:
            ResponseError: Redis refuses it.
            StoreUnavailableError: nothing is known of it.
        """
        rest = (b"1", name, *arguments)
        try:
            return await self._batches.evaluate(name, packed(b"EVALSHA", self._sha, *rest))
        except ResponseError as refused:
            if not _is_unknown(refused):
                raise
            return await self._batches.evaluate(name, packed(b"EVAL", self._source, *rest))


def _is_unknown(refused: ResponseError) -> bool:
    """Returns True if the server does not know the script."""
    return str(refused).startswith("NOSCRIPT")
