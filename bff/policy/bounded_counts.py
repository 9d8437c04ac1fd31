"""Counts of things under way, each key with its own, and one bound on all of them. Pure."""

from collections.abc import Iterator
from contextlib import contextmanager


class Counts:
    """A bound on the things that each key has under way at once."""

    def __init__(self, limit: int, former: "Counts | None" = None) -> None:
        """`former` had another bound: what it counts is still under way, and counts on."""
        self._limit = limit
        self._under_way: dict[str, int] = {} if former is None else former._under_way  # noqa: SLF001 - of its own kind

    def __len__(self) -> int:
        return len(self._under_way)

    def enter(self, key: str) -> bool:
        """Counts one more, and says so; False where the limit is reached."""
        count = self._under_way.get(key, 0)
        if count >= self._limit:
            return False
        self._under_way[key] = count + 1
        return True

    @contextmanager
    def holding(self, key: str) -> Iterator[bool]:
        """Counts one for as long as the block runs; gives False where the limit is reached."""
        entered = self.enter(key)
        try:
            yield entered
        finally:
            if entered:
                self.leave(key)

    def leave(self, key: str) -> None:
        """Takes one that was counted, and is over, out of the count."""
        count = self._under_way[key] - 1
        if count:
            self._under_way[key] = count
        else:
            del self._under_way[key]
