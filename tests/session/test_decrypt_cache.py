"""Handles and records that were opened before."""

import tracemalloc

import pytest

from bff.crypto import Keyring, new_secret, session_key
from bff.session.decrypt_cache import DecryptCache
from bff.session.record import Record, encode_record
from tests.session.sample import sample_session, sample_tokens

KEYRING = Keyring([new_secret()])
LONG = sample_tokens(access_token="a" * 3000, refresh_token="r" * 1500, id_token="i" * 1500)


def records(count: int) -> list[tuple[str, Record, str]]:
    made: list[tuple[str, Record, str]] = []
    for _ in range(count):
        handle = KEYRING.new_handle()
        session = sample_session(key=session_key(handle), tokens=LONG)
        made.append((session.key, encode_record(session, handle, KEYRING), handle))
    return made


def test_the_same_record_is_opened_once() -> None:
    """Field by field the same is the same session; a changed record is opened anew, and does not open."""
    cache = DecryptCache(KEYRING, 1024**2)
    ((key, record, handle),) = records(1)
    session = cache.session(key, record, handle)
    assert session is not None
    assert session is cache.session(key, dict(record), handle)
    assert cache.session(key, {**record, "sub": "mallory"}, handle) is None


def test_it_is_bounded_by_memory() -> None:
    """Long sessions are few: what they take stays below the bound, which is made use of."""
    memory, made = 1024**2, records(200)
    cache = DecryptCache(KEYRING, memory)
    tracemalloc.start()
    try:
        for key, record, handle in made:
            assert cache.handle(handle.encode()) == handle
            assert cache.session(key, dict(record), handle) is not None
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.1 * memory < taken < memory
    assert 10 < len(cache._sessions) < 100
    first, last = made[0], made[-1]
    assert [False, True] == [one[0] in cache._sessions for one in (first, last)]


@pytest.mark.requirement("B-22")
def test_what_goes_gives_its_memory_back() -> None:
    """A session that is gone, one that changed, and all of them with a server key."""
    cache = DecryptCache(KEYRING, 1024**2)
    (key, record, handle), (other, theirs, whose) = records(2)
    for _ in range(3):
        assert cache.session(key, {**record, "name": "x" * 100}, handle) is not None
        assert cache.session(key, record, handle) is not None
    taken = cache._taken
    assert cache.session(other, theirs, whose) is not None
    cache.forget(other)
    cache.forget(other)
    assert (taken, [key]) == (cache._taken, list(cache._sessions))
    cache.clear()
    assert (0, 0) == (cache._taken, len(cache._sessions))


def test_beside_a_near_cache_nothing_is_remembered() -> None:
    """Without memory of its own it opens, and keeps nothing."""
    cache = DecryptCache(KEYRING, 0)
    ((key, record, handle),) = records(1)
    assert cache.handle(handle.encode()) == handle
    assert cache.session(key, record, handle) is not None
    assert ({}, {}, 0) == (cache._handles, cache._sessions, cache._taken)
