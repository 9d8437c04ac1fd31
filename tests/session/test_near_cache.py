"""The near cache by itself: what it keeps, and what it must not."""

import gc
import math
import tracemalloc
from functools import cache

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bff.crypto import Keyring, new_secret, session_key
from bff.observe.metrics import NearCacheCounts
from bff.policy.cookie_parser import only_value
from bff.session.cached_session import CachedSession, NearSessions
from bff.session.near_cache import ADMITTED, OVERHEAD, NearCache
from tests.session.sample import NOW, sample_session, sample_tokens


class Feed:
    """Trusted until the test says otherwise."""

    trusted = True

    @property
    def trusted_until(self) -> float:
        return math.inf if self.trusted else -math.inf

    current_until = -math.inf

    def catch_up(self, _: float) -> bool:
        return self.trusted


class Near:
    """A cache of sessions, known by their tokens, its feed, its counts and its time."""

    def __init__(self, memory: int = 1024**2) -> None:
        self.now = 100.0
        self.feed = Feed()
        self.counts = NearCacheCounts()
        self.cache = NearCache(memory=memory, feed=self.feed, counts=self.counts, clock=lambda: self.now)
        self.sessions = NearSessions(self.cache, "bff")

    def read(self, key: str, value: bytes | None = None, text: str = "session", lifetime: float = 60) -> None:
        with self.cache.reading(key) as reading:
            reading.keep(value or key.encode(), item(text), lifetime)

    def get(self, value: bytes) -> str | None:
        """The token of the session that is kept."""
        found = self.sessions.near(b"bff=" + value)
        return None if found is None else found.token.decode()

    def pass_over(self, keys: list[str]) -> int:
        """Asks for each in turn, and reads those that are not there; returns how many were."""
        return sum(self._asked(key) for key in keys)

    def _asked(self, key: str) -> bool:
        if self.get(key.encode()) is not None:
            return True
        self.read(key)
        return False


@cache
def item(text: str) -> bytes:
    """A session with this token."""
    session = sample_session(tokens=sample_tokens(access_token=text))
    return CachedSession.of("handle", session, NOW + 60).entry


SIZE = len(item("session")) + len(b"0000") + OVERHEAD
"""What one entry of the tests below is reckoned at: its session, a key of four characters, and the rest."""


@pytest.fixture
def near() -> Near:
    return Near()


def test_what_was_read_is_kept(near: Near) -> None:
    """A kept item is found by the cookie's value, and by nothing else."""
    near.read("k", b"cookie", "alice")
    assert "alice" == near.get(b"cookie")
    assert [None, None] == [near.get(b"k"), near.get(b"cookie ")]


@pytest.mark.requirement("B-32")
@given(
    st.lists(st.sampled_from([b"bff", b"=", b";", b" ", b"\t", b"\xa0", b"bff=a", b"; ", b"b"]), max_size=7)
)
@example([b"bff=a"])
@example([b"bff=a", b";"])
@example([b"bff=a", b"; ", b"b=b"])
@example([b"bff=a", b"; ", b"bff=b"])
@example([b"b=bff; ", b"bff=a"])
def test_a_header_leads_to_what_its_parser_finds(pieces: list[bytes]) -> None:
    """The only cookie of the name, or nothing: never one of two, nor one that is spelt otherwise."""
    near, header = Near(), b"".join(pieces)
    near.read("k", b"a")
    found, only = near.sessions.near(header) is not None, only_value(header, b"bff") == b"a"
    assert found == only or (only and header.endswith((b" ", b"\t")))  # `LineCache` leaves no blanks there


@pytest.mark.requirement("B-22")
def test_told_while_it_was_read(near: Near) -> None:
    """Value read, deleted, then inserted: it is not kept."""
    with near.cache.reading("k") as reading:
        near.cache.changed("k")
        reading.keep(b"cookie", item("alice"), 60)
    assert near.get(b"cookie") is None
    assert 0 == len(near.cache)


def test_told_before_it_was_read(near: Near) -> None:
    """An invalidation before the read does not concern it; one of another key neither."""
    near.cache.changed("k")
    with near.cache.reading("k") as reading:
        near.cache.changed("another")
        reading.keep(b"cookie", item("alice"), 60)
    assert "alice" == near.get(b"cookie")


def test_each_of_two_reads_counts_for_itself(near: Near) -> None:
    """Of two reads of one key, the one that began after the change is kept, whichever ends first."""
    with near.cache.reading("k") as early:
        near.cache.changed("k")
        with near.cache.reading("k") as late:
            late.keep(b"cookie", item("new"), 60)
        early.keep(b"cookie", item("old"), 60)
    assert "new" == near.get(b"cookie")
    assert {} == near.cache._readings


def test_own_writes_count_as_changes(near: Near) -> None:
    """What we wrote ourselves during a read spoils it as well, and takes away what was kept."""
    near.read("k")
    with near.cache.reading("k") as reading:
        near.cache.forget("k")
        assert near.get(b"k") is None
        reading.keep(b"k", item("old"), 60)
    assert near.get(b"k") is None


@pytest.mark.requirement("B-22")
def test_everything_may_have_changed(near: Near) -> None:
    """A flush or a new connection empties the cache, and spoils every read under way."""
    near.read("a")
    near.read("b")
    with near.cache.reading("c") as reading:
        near.cache.changed(None)
        reading.keep(b"c", item("old"), 60)
    assert [None] * 3 == [near.get(value) for value in (b"a", b"b", b"c")]
    assert (0, 0) == (len(near.cache), near.counts.entries)


def test_without_trust_nothing_is_served_and_nothing_kept(near: Near) -> None:
    """Distrust counts in the moment of the hit, of the read's beginning, and of its end."""
    near.read("k")
    near.feed.trusted = False
    assert near.get(b"k") is None
    with near.cache.reading("began") as began:
        near.feed.trusted = True
        began.keep(b"began", item("x"), 60)
    with near.cache.reading("ended") as ended:
        near.feed.trusted = False
        ended.keep(b"ended", item("x"), 60)
    near.feed.trusted = True
    assert [None, None] == [near.get(b"began"), near.get(b"ended")]
    assert "session" == near.get(b"k")


@pytest.mark.requirement("B-21")
def test_entries_have_an_end_of_their_own(near: Near) -> None:
    """The lifetime counts from the beginning of the read, and needs nobody to tell."""
    with near.cache.reading("k") as reading:
        near.now += 4
        reading.keep(b"k", item("alice"), 5)
        reading.keep(b"short", item("alice"), 4)
    assert near.get(b"short") is None
    assert "alice" == near.get(b"k")
    near.now += 1
    assert near.get(b"k") is None


@pytest.mark.requirement("B-33")
def test_an_alias_goes_with_its_key(near: Near) -> None:
    """One entry for each key: another alias takes its place, and a change of the key ends it."""
    near.read("k", b"one")
    near.read("k", b"two")
    assert [None, "session"] == [near.get(b"one"), near.get(b"two")]
    near.cache.changed("k")
    assert near.get(b"two") is None
    assert ({}, {}) == (near.cache.entries, near.cache._values)


def names(count: int) -> list[str]:
    return [f"{number:04}" for number in range(count)]


def test_what_is_in_use_stays() -> None:
    """Beyond its memory goes what was not asked for, with its alias; what was asked for has another round."""
    near = Near(memory=3 * SIZE)
    for key in names(3):
        near.read(key)
    near.get(b"0000")
    for _ in range(ADMITTED):
        near.read("0003")
    assert ["session", None, "session", "session"] == [near.get(key.encode()) for key in names(4)]
    assert (3, 3, 3 * SIZE, 1) == (
        near.counts.entries,
        len(near.cache._values),
        near.counts.bytes,
        near.counts.evictions,
    )
    for number, key in enumerate(names(1000)[4:]):
        near.read(key)
        assert (number % ADMITTED == ADMITTED - 1) is (key.encode() in near.cache.entries)
        near.get(b"0000")
    assert "session" == near.get(b"0000")
    assert (3, 3, 3) == (len(near.cache), len(near.cache._values), len(near.cache._ring))


def test_all_users_in_turn_hit_when_they_fit() -> None:
    """Users who come one after the other, over and over, are found from the second time on."""
    near = Near(memory=500 * SIZE)
    users = names(500)
    assert [0, 500, 500] == [near.pass_over(users) for _ in range(3)]
    assert 0 == near.counts.evictions


def test_of_more_users_in_turn_than_fit_some_are_found() -> None:
    """Twice as many users as there is room for: each round finds a third of them or more, not none."""
    near = Near(memory=500 * SIZE)
    users = names(1000)
    rounds = [near.pass_over(users) for _ in range(12)]
    assert 0 == rounds[0]
    assert min(rounds[2:]) > 333
    assert 500 == len(near.cache)


def test_strangers_do_not_push_out_who_is_in_use() -> None:
    """Users who come once each take the places of such; those who come again keep theirs."""
    near = Near(memory=500 * SIZE)
    users, strangers = names(400), names(5000)[1000:]
    near.pass_over(users)
    for number in range(0, 4000, 50):
        assert 400 == near.pass_over(users)
        near.pass_over(strangers[number : number + 50])
    assert (500, 500 * SIZE) == (len(near.cache), near.counts.bytes)


def test_the_memory_is_what_is_bounded() -> None:
    """Long entries are few; one that is longer than all of it is not kept, and pushes nobody out."""
    near = Near(memory=10 * SIZE)
    for key in names(10):
        near.read(key)
    for _ in range(ADMITTED):
        near.read("0010", text="x" * (4 * SIZE))
    assert near.counts.bytes <= 10 * SIZE
    assert 5 <= len(near.cache) <= 6
    kept = len(near.cache)
    near.read("0011", text="x" * (11 * SIZE))
    assert (kept, None) == (len(near.cache), near.get(b"0011"))


def test_places_are_used_again() -> None:
    """Whatever goes, by a change or by a newer read, its place and its memory are free again."""
    near = Near()
    for _ in range(3):
        for key in names(10):
            near.read(key)
        for key in names(5):
            near.cache.changed(key)
    assert (5, 10, 5 * SIZE) == (len(near.cache), len(near.cache._ring), near.counts.bytes)
    near.cache.changed(None)
    near.read("0001")
    assert (1, 1, SIZE) == (len(near.cache), len(near.cache._ring), near.counts.bytes)


@pytest.mark.parametrize("count", [2_800, 5_400])  # right after and right before the tables grow
def test_memory_is_reckoned_as_it_is(count: int) -> None:
    """What the cache says that it takes is not less than what it takes, and not much more.

    A session takes 600 bytes at most beside its access token.
    """
    keyring, token = Keyring([new_secret()]), "t" * 1000
    near = Near(memory=64 * 1024**2)
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(count):
            handle = keyring.new_handle()
            tokens = sample_tokens(
                access_token=f"{token}{number}", refresh_token="r" * 1000, id_token="i" * 1000
            )
            session = sample_session(
                key=session_key(handle), sub=f"{number:032}", sid=f"{number:032}", tokens=tokens
            )
            packed = CachedSession.of(handle, session, NOW + 60)
            with near.cache.reading(session.key) as reading:
                reading.keep(packed.value, packed.entry, 3600)
            del handle, tokens, session, packed, reading
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == len(near.cache)
    assert 0.75 * near.counts.bytes < taken <= near.counts.bytes
    assert near.counts.bytes / count <= len(token) + 600


def test_a_read_that_fails_leaves_nothing(near: Near) -> None:
    """An error or a cancellation in the middle of a read leaves no trace of it."""
    with pytest.raises(RuntimeError), near.cache.reading("k"):
        raise RuntimeError("lost")
    assert {} == near.cache._readings


def test_look_ups_are_counted(near: Near) -> None:
    """Hits, misses, bypasses, changes and entries."""
    near.read("k")
    near.get(b"k")
    near.get(b"k")
    near.get(b"unknown")  # anybody's: whoever knows better says so
    near.cache.missed(b"unknown")
    near.cache.missed(b"k")  # found, and counted by then
    near.feed.trusted = False
    near.get(b"k")
    near.cache.missed(b"unknown")
    assert (2, 1, 2, 1) == (
        near.counts.hits,
        near.counts.misses,
        near.counts.bypasses,
        near.counts.entries,
    )
    near.cache.changed("k")
    assert (1, 0) == (near.counts.invalidations, near.counts.entries)
