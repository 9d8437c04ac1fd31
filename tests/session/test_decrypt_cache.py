"""Handles and records that were opened before."""

import gc
import tracemalloc

import pytest

from bff.crypto import Keyring, new_secret, session_key
from bff.session.cached_session import CachedSession
from bff.session.decrypt_cache import DecryptCache
from bff.session.record import FIELDS, Values, encode_record, fingerprint, values_of
from tests.session.sample import NOW, sample_session, sample_tokens

KEYRING = Keyring([new_secret()])
LONG = sample_tokens(access_token="a" * 3000, refresh_token="r" * 1500, id_token="i" * 1500)


Made = tuple[str, Values, str]
"""A session's key, its record's values, its handle."""


def records(count: int) -> list[Made]:
    made: list[Made] = []
    for _ in range(count):
        handle = KEYRING.new_handle()
        session = sample_session(key=session_key(handle), tokens=LONG)
        made.append((session.key, values_of(encode_record(session, handle, KEYRING)), handle))
    return made


def opened(cache: DecryptCache, made: Made) -> CachedSession | None:
    """The session of a record, opened and kept where it is not remembered, as a reader has it."""
    key, values, handle = made
    session = cache.open(key, values, handle)
    if session is None:
        return None
    packed = CachedSession.of(handle, session, NOW, fingerprint=fingerprint(values))
    cache.keep(packed, values)
    return packed


def changed(values: Values, field: str, value: bytes | None) -> Values:
    return [value if name == field else former for name, former in zip(FIELDS, values, strict=True)]


@pytest.mark.parametrize("field", FIELDS)
def test_the_same_record_is_opened_once(field: str) -> None:
    """A record with other values is opened anew, save for the fields that are for people."""
    cache = DecryptCache(KEYRING, 1024**2)
    (made,) = records(1)
    key, values, handle = made
    assert cache.opened(key, values, handle) is None
    packed = opened(cache, made)
    assert packed is not None
    again = cache.opened(key, list(values), handle)
    assert again is not None
    assert (packed.entry, packed.value, packed.token) == (again.entry, again.value, again.token)
    for value in (b"mallory", None, b""):
        other = changed(values, field, value)
        found = cache.opened(key, other, handle)
        if other == values or field in {"name", "ua", "ip", "frontend"}:
            assert found is not None
        else:
            assert found is None


@pytest.mark.requirement("B-33")
def test_a_remembered_session_is_its_own_handles_alone() -> None:
    """Another handle with that record gets nothing, nor does another key."""
    cache = DecryptCache(KEYRING, 1024**2)
    made, other = records(2)
    assert opened(cache, made) is not None
    assert cache.opened(made[0], made[1], other[2]) is None
    assert cache.opened(other[0], made[1], made[2]) is None


def test_it_is_bounded_by_memory() -> None:
    """Long sessions are few: what they take stays below the bound, which is made use of."""
    memory, made = 1024**2, records(500)
    cache = DecryptCache(KEYRING, memory)
    gc.collect()
    tracemalloc.start()
    try:
        for number, (_, _, handle) in enumerate(made):
            assert cache.handle(handle.encode()) == handle
            assert opened(cache, made[number]) is not None
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.7 * memory < taken < memory
    assert 150 < len(cache._opened) < 300
    first, last = made[0], made[-1]
    assert [False, True] == [one[0] in cache._opened for one in (first, last)]


@pytest.mark.requirement("B-22")
def test_what_goes_gives_its_memory_back() -> None:
    """A session that is gone, one that changed, and all of them with a server key."""
    cache = DecryptCache(KEYRING, 1024**2)
    one, other = records(2)
    for _ in range(3):
        assert opened(cache, one) is not None
    taken = cache._taken
    assert opened(cache, other) is not None
    cache.forget(other[0])
    cache.forget(other[0])
    assert (taken, [one[0]]) == (cache._taken, list(cache._opened))
    cache.clear()
    assert (0, 0) == (cache._taken, len(cache._opened))


def test_beside_a_near_cache_nothing_is_remembered() -> None:
    """Without memory of its own it opens, and keeps nothing."""
    cache = DecryptCache(KEYRING, 0)
    (made,) = records(1)
    assert cache.handle(made[2].encode()) == made[2]
    assert opened(cache, made) is not None
    assert ({}, {}, 0) == (cache._handles, cache._opened, cache._taken)
