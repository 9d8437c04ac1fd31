"""Sessions kept in the process, true as far as the feed of changes is trusted.

Rule 1: an entry is kept only if nothing was told of its key while it was being read, our own writes included.
Rule 2: every hit asks whether the feed is trusted, and whether the entry's own time is up.
Rule 3: one entry for each Redis key. It is asked for by the cookie's whole value, which is an alias of the
key and goes with it: what was paid for once (signature, hash, unsealing) vouches for that spelling only.
Rule 4: it is bounded; what was not asked for longest goes first.
"""

from collections import OrderedDict
from collections.abc import Callable
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from bff.observe.metrics import NearCacheCounts
from bff.session.invalidation_feed import steady_now

T = TypeVar("T")


class Feed(Protocol):
    """What vouches for the entries."""

    @property
    def trusted(self) -> bool:
        """Whether everything that happened up to a lease ago has been told."""
        ...


class _Entry(Generic[T]):
    __slots__ = ("expires", "item", "key")

    def __init__(self, key: str, item: T, expires: float) -> None:
        self.key = key
        self.item = item
        self.expires = expires


class Reading(Generic[T]):
    """One read of a key that is under way: a `with` block around it. It can be kept until it is spoiled."""

    __slots__ = ("_began", "_cache", "key", "spoiled")

    def __init__(self, cache: "NearCache[T]", key: str, began: float, *, spoiled: bool) -> None:
        self.key = key
        self.spoiled = spoiled  # whether the feed said something, or could not have said it
        self._cache = cache
        self._began = began

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cache.finished(self)

    def keep(self, value: bytes, item: T, lifetime: float) -> None:
        """Keeps what was read, unless it is spoiled.

        Args:
            value: the cookie's value that leads to it.
            item: what was read.
            lifetime: how long it is good for, in seconds from the beginning of the read.
        """
        if not self.spoiled:
            self._cache.keep(value, _Entry(self.key, item, self._began + lifetime))


class NearCache(Generic[T]):
    """At most `size` items, each by its Redis key and by the one cookie value that leads to it.

    Args:
        size: how many.
        feed: what vouches for them; subscribe this cache to it.
        counts: where lookups are counted.
        clock: steady seconds.
    """

    def __init__(
        self, *, size: int, feed: Feed, counts: NearCacheCounts, clock: Callable[[], float] = steady_now
    ) -> None:
        self._size = size
        self._feed = feed
        self._counts = counts
        self._clock = clock
        self._entries: OrderedDict[bytes, _Entry[T]] = OrderedDict()
        self._values: dict[str, bytes] = {}  # the alias of each key
        self._readings: dict[str, list[Reading[T]]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def holds(self, value: bytes) -> bool:
        """Whether there is an entry for this cookie value, good or not; it counts as no lookup."""
        return value in self._entries

    def get(self, value: bytes) -> T | None:
        """What this cookie value leads to, or None: then it is not known here, and Redis must be asked."""
        if not self._feed.trusted:
            self._counts.bypasses += 1
            return None
        entry = self._entries.get(value)
        if entry is None or self._clock() >= entry.expires:
            self._counts.misses += 1  # what has expired stays in its place until it is read again
            return None
        self._counts.hits += 1
        self._entries.move_to_end(value)
        return entry.item

    def reading(self, key: str) -> Reading[T]:
        """Begins a read of this key; use it as a context manager."""
        reading = Reading(self, key, self._clock(), spoiled=not self._feed.trusted)
        self._readings.setdefault(key, []).append(reading)
        return reading

    def changed(self, key: str | None) -> None:
        """The feed's word: this key's session was written, deleted or has expired; None: any may be."""
        self._counts.invalidations += 1
        if key is None:
            for readings in self._readings.values():
                _spoil(readings)
            self._entries.clear()
            self._values.clear()
            self._counts.entries = 0
        else:
            self.forget(key)

    def forget(self, key: str) -> None:
        """Our own word: what is kept of this key, or being read now, is not to be used any more."""
        _spoil(self._readings.get(key, ()))
        value = self._values.pop(key, None)
        if value is not None:
            del self._entries[value]
            self._counts.entries = len(self._entries)

    def keep(self, value: bytes, entry: _Entry[T]) -> None:
        """`Reading.keep`, without its check that the read is not spoiled."""
        if not self._feed.trusted or self._clock() >= entry.expires:
            return
        former = self._values.get(entry.key)
        if former is not None:
            del self._entries[former]
        self._values[entry.key] = value
        self._entries[value] = entry
        if len(self._entries) > self._size:
            _, oldest = self._entries.popitem(last=False)
            del self._values[oldest.key]
        self._counts.entries = len(self._entries)

    def finished(self, reading: Reading[T]) -> None:
        """The end of a read, whatever came of it."""
        readings = self._readings[reading.key]
        readings.remove(reading)
        if not readings:
            del self._readings[reading.key]


def _spoil(readings: "list[Reading[T]] | tuple[()]") -> None:
    for reading in readings:
        reading.spoiled = True
