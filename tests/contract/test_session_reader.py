"""How a process without a near cache reads one session, call after call."""

import asyncio

from bff.session.batch_reader import Loaded
from bff.session.sessions import Found, SessionReader
from tests.contract.cached import Site, cookie
from tests.contract.test_put_back import without_cache


async def read(reader: SessionReader) -> Found | None:
    asked = reader.ask()
    await asyncio.wait([asked])
    return reader.found(asked)


def reader_of(site: Site, found: Found) -> SessionReader:
    reader = without_cache(site).reader(cookie(found))
    assert reader is not None
    return reader


async def test_the_same_session_is_the_same_object(site: Site) -> None:
    """As long as nothing changes in Redis; what was made of it once need not be made again."""
    found = await site.signed_in()
    reader = reader_of(site, found)
    first = await read(reader)
    assert first is not None
    assert found.session.key == first.session.key
    assert first is await read(reader)


async def test_what_has_ended_is_not_found(site: Site) -> None:
    """`find` says why."""
    found = await site.signed_in()
    reader = reader_of(site, found)
    assert await read(reader) is not None
    site.delete(found)
    assert await read(reader) is None


async def test_what_was_changed_by_hand_is_not_found(site: Site) -> None:
    """A record that does not open is no session, whatever was read before."""
    found = await site.signed_in()
    reader = reader_of(site, found)
    assert await read(reader) is not None
    site.redis.cli("HSET", f"bff:session:{found.session.key}", "sub", "mallory")
    assert await read(reader) is None


async def test_a_question_that_was_not_answered_finds_nothing(site: Site) -> None:
    """Neither a failure nor a cancellation is a session, or an exception on the fast path."""
    found = await site.signed_in()
    reader = reader_of(site, found)
    loop = asyncio.get_running_loop()
    failed: asyncio.Future[Loaded] = loop.create_future()
    failed.set_exception(OSError("away"))
    cancelled: asyncio.Future[Loaded] = loop.create_future()
    cancelled.cancel()
    assert [None, None] == [reader.found(failed), reader.found(cancelled)]


async def test_which_requests_have_a_reader(site: Site) -> None:
    """One cookie of ours, and no near cache; of two the first is not taken."""
    found, other = await site.signed_in(), await site.signed_in()
    bare = without_cache(site)
    both = b"; ".join(cookie(found) + cookie(other))
    for headers in ([], [b"bff=forged"], [both], cookie(found) + cookie(other), cookie(found) * 2):
        assert bare.reader(headers) is None, headers
    assert bare.reader(cookie(found)) is not None
    assert site.sessions.reader(cookie(found)) is None
