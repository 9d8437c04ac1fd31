"""Sessions kept in the process, true as far as the invalidation feed is trusted.

Rule 1: an entry is kept only if nothing was told of its key while it was being read, our own writes included.
Rule 2: every hit checks that the feed is current, and that the entry's own time is not up (`NearSessions`).
Rule 3: one entry for each Redis key. It is asked for by the cookie's whole value, which is an alias of the
key and goes with it: the work done once (signature, hash, unsealing) vouches for that spelling only.
Rule 4: the entries take `memory` bytes at most, everything counted that an entry costs. When they take more a
hand goes round (the CLOCK algorithm): an entry that was asked for since the hand last came by stays for
another round, the first one that was not is dropped. A hit sets one byte for that, and moves nothing.
Rule 5: once the memory is full, one read in `ADMITTED` that needs another's place is kept. So the hand goes
round that much slower, and of more users in turn than there is room for some are found each time; else each
would be dropped before it comes again. Who is new is kept after a few calls.
"""

from collections.abc import Callable
from struct import Struct
from types import TracebackType
from typing import Final, Protocol, Self

from bff.observe.metrics import NearCacheCounts
from bff.session.invalidation_feed import steady_now

HEAD: Final = "<dI"
"""The form of an entry's beginning, the cache's own: when its time is up, and its place in `used`."""

_HEAD = Struct(HEAD)

PREFIX: Final = _HEAD.size
"""Bytes of that beginning; the item follows."""

OVERHEAD: Final = 270
"""Bytes that an entry takes beside its own and the cookie's value: headers of both, two tables, the ring."""

ADMITTED: Final = 4
"""Reads that need another's place, for each that gets it."""

_NUMBERS = 2**60 - 1  # of a key; larger ones would take more memory
_NOBODY = -1


class Feed(Protocol):
    """The feed that vouches for the entries."""

    @property
    def trusted(self) -> bool:
        """True while everything that happened up to a lease ago has been told."""
        ...

    @property
    def trusted_until(self) -> float:
        """Before that moment of the steady clock it is trusted."""
        ...

    @property
    def current_until(self) -> float:
        """Before that moment a hit needs no `catch_up`."""
        ...

    def catch_up(self, now: float) -> bool:
        """Passes on the pushes that came until this moment; returns False if the feed cannot vouch for it."""
        ...


class Reading:
    """One read of a key that is under way: a `with` block around it. It can be kept until it is spoiled.

    Attributes:
        spoiled: the feed said something of the key, or could not have said it.
    """

    __slots__ = ("_began", "_cache", "key", "spoiled")

    def __init__(self, cache: "NearCache", key: str, began: float, *, spoiled: bool) -> None:
        self.key = key
        self.spoiled = spoiled
        self._cache = cache
        self._began = began

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Ends the read, whatever came of it."""
        self._cache.finished(self)

    def keep(self, value: bytes, item: bytes, lifetime: float) -> None:
        """Keeps the item that was read, unless the read is spoiled.

        Args:
            value: the cookie's value that leads to it.
            item: the item, behind `PREFIX` bytes that are overwritten.
            lifetime: how long it is good for, in seconds from the beginning of the read.
        """
        if not self.spoiled:
            self._cache.keep(self.key, value, item, self._began + lifetime)


class _Turn:
    """The hand of the clock, and the counts beside it: one for all frontends that share a cache."""

    __slots__ = ("bytes", "emptied", "hand", "turned_away", "views")

    def __init__(self) -> None:
        self.emptied = self.hand = self.turned_away = self.views = 0
        self.bytes = 0  # of this cache's entries; `counts` has those of all caches of the process


class NearCache:
    """Items of bytes, each by its Redis key and by the one cookie value that leads to it.

    Args:
        memory: bytes that all entries may take.
        feed: vouches for the entries; subscribe this cache to it.
        counts: where lookups are counted.
        clock: steady seconds.

    Attributes:
        whole: the cache that this is a frontend's view of; itself, if it is none.
        prefix: the beginning of this view's values there.
        entries: by the cookie's value; `NearSessions` looks them up.
        used: 1 for each place in the ring whose entry was asked for since the hand last came by.
    """

    __slots__ = (
        "__weakref__",  # the feed refers to it
        "_free",
        "_readings",
        "_ring",
        "_turn",
        "_values",
        "clock",
        "counts",
        "entries",
        "feed",
        "memory",
        "prefix",
        "used",
        "whole",
    )

    whole: "NearCache"

    def __init__(
        self, *, memory: int, feed: Feed, counts: NearCacheCounts, clock: Callable[[], float] = steady_now
    ) -> None:
        self.memory = memory
        self.feed = feed
        self.counts = counts
        self.clock = clock
        self.entries: dict[bytes, bytes] = {}
        self._values: dict[int, bytes] = {}  # the cookie's value, by the key's number
        self._readings: dict[str, list[Reading]] = {}
        self._ring: list[int] = []  # the keys' numbers
        self.used = bytearray()
        self._free: list[int] = []  # places in the ring
        self._turn = _Turn()
        self.whole, self.prefix = self, b""

    @property
    def emptied(self) -> int:
        """The number of times that all entries were dropped: nothing vouches for a session of before."""
        return self._turn.emptied

    def view(self) -> "NearCache":
        """Returns the cache of one frontend: all share the memory, and none finds another's entry.

        One that takes another's place finds none of that one's entries either.
        """
        self._turn.views += 1
        return _FrontendCache(self, self._turn.views)

    def __len__(self) -> int:
        return len(self.entries)

    def peek(self, value: bytes) -> bytes | None:
        """The entry of this cookie value, if the feed is trusted; it counts as no lookup, and no use."""
        return self.entries.get(value) if self.feed.trusted else None

    def missed(self, value: bytes) -> None:
        """Counts a lookup of a cookie value that this server made, where it found no entry."""
        if self.prefix + value in self.entries:
            return
        if self.feed.trusted:
            self.counts.misses += 1
        else:
            self.counts.bypasses += 1

    def reading(self, key: str) -> Reading:
        """Begins a read of this key; use it as a context manager."""
        now = self.clock()
        reading = Reading(self, key, now, spoiled=now >= self.feed.trusted_until)
        others = self._readings.get(key)
        if others is None:
            self._readings[key] = [reading]
        else:
            others.append(reading)
        return reading

    def changed(self, key: str | None) -> None:
        """The feed's word: this key's session was written, deleted or has expired; None: any may be."""
        self.counts.invalidations += 1
        if key is None:
            self._turn.emptied += 1
            for readings in self._readings.values():
                _spoil(readings)
            self.counts.entries -= len(self.entries)
            self.entries.clear()
            self._values.clear()
            self._ring.clear()
            self.used.clear()
            self._free.clear()
            self.counts.bytes -= self._turn.bytes
            self._turn.hand = self._turn.bytes = 0
        else:
            self.forget(key)

    def forget(self, key: str) -> None:
        """Drops the entry of this key, and spoils the reads of it that are under way."""
        if (readings := self._readings.get(key)) is not None:
            _spoil(readings)
        number = hash(key) & _NUMBERS  # `_number`, a call less: each write of any session comes here
        if number in self._values:
            self._drop(number)

    def keep(self, key: str, value: bytes, item: bytes, expires: float) -> None:
        """`Reading.keep`, without its check that the read is not spoiled."""
        now = self.clock()
        if now >= expires or now >= self.feed.trusted_until:
            return
        cost, turn, counts = len(item) + len(value) + OVERHEAD, self._turn, self.counts
        number = hash(key) & _NUMBERS  # as `_number`
        if number in self._values:
            self._drop(number)
        if turn.bytes + cost > self.memory and (cost > self.memory or not self._made_room(cost)):
            return
        if self._free:
            place = self._free.pop()
            self._ring[place] = number
        else:
            place = len(self._ring)
            self._ring.append(number)
            self.used.append(0)
        self._values[number] = value
        self.entries[value] = _HEAD.pack(expires, place) + item[PREFIX:]
        turn.bytes += cost
        counts.bytes += cost
        counts.entries += 1

    def finished(self, reading: Reading) -> None:
        """The end of a read, whatever came of it."""
        readings = self._readings[reading.key]
        if len(readings) == 1:
            del self._readings[reading.key]
        else:
            readings.remove(reading)

    def _made_room(self, cost: int) -> bool:
        """Makes room for an entry that needs another's place; False where it is not to be kept."""
        self._turn.turned_away = (self._turn.turned_away + 1) % ADMITTED
        if self._turn.turned_away:
            return False
        while self._turn.bytes + cost > self.memory:
            self._evict()
        return True

    def _evict(self) -> None:
        """Moves the hand on to the next entry that was not asked for, and drops that."""
        ring, used = self._ring, self.used
        while True:
            place = self._turn.hand
            self._turn.hand = (place + 1) % len(ring)
            if used[place]:
                used[place] = 0
            elif ring[place] != _NOBODY:
                self._drop(ring[place])
                self.counts.evictions += 1
                return

    def _drop(self, number: int) -> None:
        value = self._values.pop(number, None)
        if value is None:
            return
        entry = self.entries.pop(value)
        _, place = _HEAD.unpack_from(entry)
        self._ring[place] = _NOBODY
        self.used[place] = 0
        self._free.append(place)
        cost = len(entry) + len(value) + OVERHEAD
        self._turn.bytes -= cost
        self.counts.bytes -= cost
        self.counts.entries -= 1


class _FrontendCache(NearCache):
    """The near cache as one of several frontends sees it: its number goes before each cookie value.

    A cookie that is carried over to another frontend finds nothing.
    """

    __slots__ = ()

    def __init__(self, shared: NearCache, number: int) -> None:
        for name in NearCache.__slots__[1:]:  # containers, counts and turn are the same objects
            setattr(self, name, getattr(shared, name))
        self.prefix = b"%d " % number

    def peek(self, value: bytes) -> bytes | None:
        """The entry of this cookie value here, as no lookup, and no use."""
        return NearCache.peek(self, self.prefix + value)

    def keep(self, key: str, value: bytes, item: bytes, expires: float) -> None:
        """`Reading.keep`, without its check that the read is not spoiled."""
        NearCache.keep(self, key, self.prefix + value, item, expires)


def _number(key: str) -> int:
    """The key's number: two keys that share one would only take each other's place."""
    return hash(key) & _NUMBERS


def _spoil(readings: "list[Reading] | tuple[()]") -> None:
    for reading in readings:
        reading.spoiled = True
