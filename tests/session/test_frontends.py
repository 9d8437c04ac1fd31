"""Frontends that share a process: keys, records and memory that are nothing to each other."""

import math

import pytest

from bff.crypto import Keyring, new_secret
from bff.observe.metrics import NearCacheCounts
from bff.session.cached_session import CachedSession, NearSessions
from bff.session.near_cache import NearCache
from tests.session.sample import NOW, sample_session

pytestmark = pytest.mark.requirement("P-01")


class Trusted:
    trusted = True

    trusted_until = current_until = math.inf

    def catch_up(self, now: float) -> bool:
        return now < self.trusted_until


def test_the_keys_of_one_frontend_open_nothing_of_anothers() -> None:
    """Handles, records, sealed cookies and proofs; all follow the server keys."""
    keys = Keyring([new_secret()])
    shop, desk = keys.of_frontend("shop"), keys.of_frontend("desk")
    assert keys is keys.of_frontend("")
    assert shop is keys.of_frontend("shop")
    handle = shop.new_handle()
    record, cookie, proof = (
        shop.seal_record(handle, b"x", b"y"),
        shop.seal_cookie(b"p", b"x"),
        shop.proof(b"p", "x"),
    )
    assert (handle, b"x", b"x", True) == _opened(shop, handle, record, cookie, proof)
    for other in (desk, keys):
        assert (None, None, None, False) == _opened(other, handle, record, cookie, proof)
    former = keys._keys[0].kid
    keys.replace([new_secret()])
    assert (None, None, None, False) == _opened(shop, handle, record, cookie, proof)
    assert shop.kids == keys.kids != [former]
    asked = iter([False])
    keys.ask = lambda: next(asked)
    assert shop.accepts(handle.encode()) is None
    assert [] == list(asked)


def _opened(keys: Keyring, handle: str, record: str, cookie: str, proof: str) -> tuple[object, ...]:
    accepted = keys.accepts(handle.encode())
    return (
        accepted,
        keys.open_record(handle, record, b"y"),
        keys.open_cookie(b"p", cookie),
        keys.proves(b"p", "x", proof),
    )


def test_a_cookie_finds_nothing_in_another_frontends_memory() -> None:
    """One memory and one feed for all, and an entry that only its own frontend is given."""
    counts = NearCacheCounts()
    shared = NearCache(memory=100_000, feed=Trusted(), counts=counts, clock=lambda: 0.0)
    shop, desk = shared.view(), shared.view()
    with shop.reading("key") as reading:
        reading.keep(b"cookie", CachedSession.of("cookie", sample_session(), NOW).entry, 60.0)
    found = NearSessions(shop, "bff").near(b"bff=cookie")
    assert found is not None
    assert (b"cookie", b"access-1") == (found.value, found.token)
    assert [None, b"cookie"] == [cache.peek(b"cookie") and b"cookie" for cache in (desk, shop)]
    others = [NearSessions(cache, "bff").near(b"bff=cookie") for cache in (desk, shared)]
    assert [None, None, None] == [*others, desk.peek(b"cookie")]
    assert (1, 1) == (counts.entries, len(desk))
    with desk.reading("key") as other:
        shared.changed("key")  # the one subscriber of the feed
        assert other.spoiled
    assert NearSessions(shop, "bff").near(b"bff=cookie") is None
    shared.changed(None)
    assert 1 == shop.emptied == desk.emptied
