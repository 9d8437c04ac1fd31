"""Records that are sealed as bytes (`session.record_format = 2`), beside processes that write format 1."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.exceptions import TimeoutError as RedisTimeoutError

from bff.crypto import new_secret
from bff.session.model import EndReason, NoSession, OwnToken
from bff.session.sessions import Found
from bff.session.store import SessionStore, Write
from tests.contract.cached import Site, cookie, read
from tests.session.sample import NOW, needed, sample_tokens
from tests.support.network.relay import relay_to
from tests.support.processes.redis import RedisServer
from tests.support.wait import until

ORDERS = OwnToken("token-for-orders", NOW, NOW + 300)
LATER = NOW + 100


@pytest.fixture
async def sites(redis_server: RedisServer) -> AsyncIterator[tuple[Site, Site]]:
    """A process that writes bytes, and one that writes what earlier versions read."""
    keys = [new_secret()]
    async with relay_to(redis_server.port) as relay:
        pair = (Site(redis_server, relay, keys, record_format=2), Site(redis_server, relay, keys))
        for site in pair:
            await site.start()
        yield pair
        for site in pair:
            await site.aclose()


def held(site: Site, found: Found, field: str = "tokens") -> bytes:
    """The bytes of a sealed field in Redis."""
    with site.redis.client(decode_responses=False) as client:
        value: Any = client.hget(f"bff:session:{found.session.key}", field)
    assert isinstance(value, bytes)
    return value


async def as_read(site: Site, found: Found) -> Found:
    opened = await site.sessions.open(found.handle)
    assert isinstance(opened, Found)
    return opened


async def saved(site: Site, found: Found, token: str) -> Found:
    prepared = site.sessions.prepare(
        await as_read(site, found), sample_tokens(access_token=token), claims=None
    )
    assert Write.REPLACED is await site.sessions.save(prepared)
    return await as_read(site, found)


@pytest.mark.requirement("B-08")
async def test_both_formats_are_read_by_everyone(sites: tuple[Site, Site]) -> None:
    """Whoever wrote a session, all find it, and each save is of the writer's own format."""
    raw, plain = sites
    found = await raw.signed_in()
    assert held(raw, found).startswith(b"2")
    assert found.session == (await as_read(plain, found)).session
    for writer, begin in ((plain, b"1."), (raw, b"2"), (plain, b"1.")):
        newer = await saved(writer, found, f"access by {begin!r}")
        assert held(writer, found).startswith(begin)
        for site in sites:
            assert newer.session == (await as_read(site, found)).session
            packed = await read(site.sessions, found)
            assert packed is not None
            assert needed(newer.session) == packed.found.session


async def test_a_record_can_be_looked_at(sites: tuple[Site, Site]) -> None:
    """By a client that answers with text, and by redis-cli in a pipe: no byte is lost.

    A hash with a long value answers its fields in an order of its own, so any field may be the last.
    """
    raw, _ = sites
    found = await raw.signed_in()
    sealed, name = held(raw, found), f"bff:session:{found.session.key}"
    with raw.redis.client() as client:
        record = client.hgetall(name)
    assert sealed == record["tokens"].encode(errors="surrogateescape")
    shown = raw.redis.cli("HGETALL", name).encode(errors="surrogateescape")
    assert sealed in shown
    assert b"\nsub\nalice\n" in b"\n" + shown + b"\n"


async def test_bytes_take_a_quarter_less(sites: tuple[Site, Site]) -> None:
    """The same session in both formats."""
    raw, plain = sites
    found = await plain.signed_in()
    before = len(held(plain, found))
    await saved(raw, found, found.session.tokens.access_token)
    assert 0.76 * before > len(held(raw, found))


@pytest.mark.requirement("P-09")
async def test_tokens_for_single_backends(sites: tuple[Site, Site]) -> None:
    """They are kept, found, fenced and dropped as ever."""
    raw, plain = sites
    found = await as_read(raw, await raw.signed_in())
    assert Write.REPLACED is await raw.sessions.keep_exchanged(found, "orders", ORDERS)
    assert held(raw, found, "exchanged").startswith(b"2")
    assert Write.STALE is await raw.sessions.keep_exchanged(found, "stock", ORDERS)
    assert not await raw.sessions.end(found.session, EndReason.LOGOUT, fence="all tokens")
    newer = await as_read(plain, found)
    assert {"orders": ORDERS} == newer.session.exchanged
    assert Write.REPLACED is await plain.sessions.keep_exchanged(newer, "stock", ORDERS)
    last = await as_read(raw, found)
    assert {"orders", "stock"} == set(last.session.exchanged)
    assert await raw.sessions.end(last.session, EndReason.LOGOUT, fence="all tokens")


@pytest.mark.requirement("T-14")
async def test_a_write_whose_answer_was_lost_is_recognized(
    sites: tuple[Site, Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record is read, and the bytes in it are those that were written."""
    site = sites[0]
    found = await site.signed_in()
    prepared = site.sessions.prepare(found, sample_tokens(access_token="access-2"), claims=None)
    script = site.store._replace

    async def lost(**words: Any) -> None:
        await script(**words)
        raise RedisTimeoutError

    monkeypatch.setattr(site.store, "_replace", lost)
    assert Write.REPLACED is await site.sessions.save(prepared)
    monkeypatch.undo()
    assert isinstance(site.store, SessionStore)
    assert Write.REPLACED is await site.sessions.save(prepared), "a repetition"


async def test_a_note_of_use_leaves_it_in_the_near_cache(sites: tuple[Site, Site]) -> None:
    """The record that is read again afterwards is recognized without opening it."""
    site = sites[0]
    found = await site.cached()
    site.now = LATER
    near = site.near(found)
    assert near is not None
    await site.sessions.slide(near)
    await until(lambda: site.near(found) is not None)
    put_back = site.near(found)
    assert put_back is not None
    assert LATER == put_back.session.seen


@pytest.mark.requirement("B-31")
@pytest.mark.parametrize("at", [0, 1, 4, 5, 16, 17, -1])
async def test_each_byte_counts(sites: tuple[Site, Site], at: int) -> None:
    """A record with any other byte does not open: its format, key, nonce, content and tag."""
    site = sites[0]
    found = await site.signed_in()
    changed = bytearray(held(site, found))
    changed[at] ^= 1
    with site.redis.client(decode_responses=False) as client:
        client.hset(f"bff:session:{found.session.key}", "tokens", bytes(changed))
    outcome = await site.sessions.find(cookie(found))
    assert isinstance(outcome, NoSession)
    assert EndReason.TAMPERED is outcome.reason
    assert await read(site.sessions, found) is None
