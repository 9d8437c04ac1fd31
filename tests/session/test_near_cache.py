"""The near cache by itself: what it keeps, and what it must not."""

import pytest

from bff.observe.metrics import NearCacheCounts
from bff.session.near_cache import NearCache


class Feed:
    """Trusted until the test says otherwise."""

    trusted = True


class Near:
    """A cache of texts, its feed, its counts and its time."""

    def __init__(self, size: int = 10) -> None:
        self.now = 100.0
        self.feed = Feed()
        self.counts = NearCacheCounts()
        self.cache = NearCache[str](size=size, feed=self.feed, counts=self.counts, clock=lambda: self.now)

    def read(self, key: str, value: bytes | None = None, item: str = "session", lifetime: float = 60) -> None:
        with self.cache.reading(key) as reading:
            reading.keep(value or key.encode(), item, lifetime)


@pytest.fixture
def near() -> Near:
    return Near()


def test_what_was_read_is_kept(near: Near) -> None:
    """A kept item is found by the cookie's value, and by nothing else."""
    near.read("k", b"cookie", "alice")
    assert "alice" == near.cache.get(b"cookie")
    assert [None, None] == [near.cache.get(b"k"), near.cache.get(b"cookie ")]


@pytest.mark.requirement("B-22")
def test_told_while_it_was_read(near: Near) -> None:
    """Value read, deleted, then inserted: it is not kept."""
    with near.cache.reading("k") as reading:
        near.cache.changed("k")
        reading.keep(b"cookie", "alice", 60)
    assert near.cache.get(b"cookie") is None
    assert 0 == len(near.cache)


def test_told_before_it_was_read(near: Near) -> None:
    """An invalidation before the read does not concern it; one of another key neither."""
    near.cache.changed("k")
    with near.cache.reading("k") as reading:
        near.cache.changed("another")
        reading.keep(b"cookie", "alice", 60)
    assert "alice" == near.cache.get(b"cookie")


def test_each_of_two_reads_counts_for_itself(near: Near) -> None:
    """Of two reads of one key, the one that began after the change is kept, whichever ends first."""
    with near.cache.reading("k") as early:
        near.cache.changed("k")
        with near.cache.reading("k") as late:
            late.keep(b"cookie", "new", 60)
        early.keep(b"cookie", "old", 60)
    assert "new" == near.cache.get(b"cookie")
    assert {} == near.cache._readings


def test_own_writes_count_as_changes(near: Near) -> None:
    """What we wrote ourselves during a read spoils it as well, and takes away what was kept."""
    near.read("k")
    with near.cache.reading("k") as reading:
        near.cache.forget("k")
        assert near.cache.get(b"k") is None
        reading.keep(b"k", "old", 60)
    assert near.cache.get(b"k") is None


@pytest.mark.requirement("B-22")
def test_everything_may_have_changed(near: Near) -> None:
    """A flush or a new connection empties the cache, and spoils every read under way."""
    near.read("a")
    near.read("b")
    with near.cache.reading("c") as reading:
        near.cache.changed(None)
        reading.keep(b"c", "old", 60)
    assert [None] * 3 == [near.cache.get(value) for value in (b"a", b"b", b"c")]
    assert (0, 0) == (len(near.cache), near.counts.entries)


def test_without_trust_nothing_is_served_and_nothing_kept(near: Near) -> None:
    """Distrust counts in the moment of the hit, of the read's beginning, and of its end."""
    near.read("k")
    near.feed.trusted = False
    assert near.cache.get(b"k") is None
    with near.cache.reading("began") as began:
        near.feed.trusted = True
        began.keep(b"began", "x", 60)
    with near.cache.reading("ended") as ended:
        near.feed.trusted = False
        ended.keep(b"ended", "x", 60)
    near.feed.trusted = True
    assert [None, None] == [near.cache.get(b"began"), near.cache.get(b"ended")]
    assert "session" == near.cache.get(b"k")


@pytest.mark.requirement("B-21")
def test_entries_have_an_end_of_their_own(near: Near) -> None:
    """The lifetime counts from the beginning of the read, and needs nobody to tell."""
    with near.cache.reading("k") as reading:
        near.now += 4
        reading.keep(b"k", "alice", 5)
        reading.keep(b"short", "alice", 4)
    assert near.cache.get(b"short") is None
    assert "alice" == near.cache.get(b"k")
    near.now += 1
    assert near.cache.get(b"k") is None


@pytest.mark.requirement("B-33")
def test_an_alias_goes_with_its_key(near: Near) -> None:
    """One entry for each key: another alias takes its place, and a change of the key ends it."""
    near.read("k", b"one")
    near.read("k", b"two")
    assert [None, "session"] == [near.cache.get(b"one"), near.cache.get(b"two")]
    near.cache.changed("k")
    assert near.cache.get(b"two") is None
    assert ({}, {}) == (near.cache._entries, near.cache._values)


def test_it_is_bounded() -> None:
    """Beyond its size goes what was not asked for longest, with its alias."""
    near = Near(size=3)
    for key in "abc":
        near.read(key)
    near.cache.get(b"a")
    near.read("d")
    assert ["session", None, "session", "session"] == [near.cache.get(key.encode()) for key in "abcd"]
    assert ({"a", "c", "d"}, 3) == (set(near.cache._values), near.counts.entries)
    for number in range(1000):
        near.read(str(number))
    assert (3, 3) == (len(near.cache._entries), len(near.cache._values))


def test_a_read_that_fails_leaves_nothing(near: Near) -> None:
    """An error or a cancellation in the middle of a read leaves no trace of it."""
    with pytest.raises(RuntimeError), near.cache.reading("k"):
        raise RuntimeError("lost")
    assert {} == near.cache._readings


def test_look_ups_are_counted(near: Near) -> None:
    """Hits, misses, bypasses, changes and entries."""
    near.read("k")
    near.cache.get(b"k")
    near.cache.get(b"k")
    near.cache.get(b"unknown")
    near.feed.trusted = False
    near.cache.get(b"k")
    assert (2, 1, 1, 1) == (
        near.counts.hits,
        near.counts.misses,
        near.counts.bypasses,
        near.counts.entries,
    )
    near.cache.changed("k")
    assert (1, 0) == (near.counts.invalidations, near.counts.entries)
