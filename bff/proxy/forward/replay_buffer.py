"""The beginning of a request's body, kept so that the call can be made again after a 401. Pure.

Rule 1: a buffer that has overflowed never becomes replayable again, and holds no memory.
"""

from collections.abc import Sequence


class ReplayBuffer:
    """Keeps a body of at most `limit` bytes; a longer one is forgotten as soon as that is known."""

    __slots__ = ("_chunks", "_limit", "_overflowed", "_size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._chunks: list[bytes] = []
        self._size = 0
        self._overflowed = False

    def add(self, chunk: bytes) -> None:
        """Takes the next piece of the body, in the order in which it was sent."""
        if self._overflowed or not chunk:
            return
        self._size += len(chunk)
        if self._size > self._limit:
            self.drop()
        else:
            self._chunks.append(chunk)

    def keep(self, chunks: Sequence[bytes]) -> None:
        """Begins with what was gathered, one read beyond the limit at most; more drops it all."""
        assert not self._size
        self._chunks = [*chunks]
        self._size = sum(map(len, chunks))

    def drop(self) -> None:
        """Gives the memory back: no replay will be wanted, or none is possible."""
        self._overflowed = True
        self._chunks = []
        self._size = 0

    @property
    def replayable(self) -> bool:
        """Whether every byte that was added is still held: a new attempt can start with them.

        It holds for an unfinished body as well: the attempt then begins with what is held, and the rest
        follows as it comes.
        """
        return not self._overflowed

    @property
    def size(self) -> int:
        """How many bytes are held."""
        return self._size

    def chunks(self) -> Sequence[bytes]:
        """What is held, in order: a copy of the list, so that adding goes on while it is read.

        Raises:
            LookupError: the buffer is not `replayable`.
        """
        if self._overflowed:
            raise LookupError("the body is no longer held")
        return tuple(self._chunks)
