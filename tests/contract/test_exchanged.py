"""Tokens for single backends beside a session's own: kept, sealed, seen everywhere, and gone with them."""

import pytest

from bff.session.model import EndReason, OwnToken
from bff.session.sessions import Found
from bff.session.store import Write
from tests.contract.cached import Site, cookie
from tests.session.sample import NOW, sample_tokens

ORDERS = OwnToken("token-for-orders", NOW, NOW + 300)
STOCK = OwnToken("token-for-stock", NOW, None)


async def as_read(site: Site, found: Found) -> Found:
    read = await site.sessions.open(found.handle)
    assert isinstance(read, Found)
    return read


@pytest.mark.requirement("B-08")
async def test_they_stand_side_by_side_and_no_one_reads_them(sites: tuple[Site, Site]) -> None:
    """Each is kept beside those of other backends; another process finds both; Redis shows neither."""
    here, there = sites
    found = await here.cached()
    assert isinstance(await there.sessions.find(cookie(found)), Found)
    for audience, token in (("orders", ORDERS), ("stock", STOCK)):
        await here.sessions.keep_exchanged(await as_read(here, found), audience, token)
    await there.told()
    seen = await there.sessions.find(cookie(found))
    assert isinstance(seen, Found)
    assert {"orders": ORDERS, "stock": STOCK} == seen.session.exchanged
    assert (1, found.session.tokens) == (seen.session.version, seen.session.tokens)
    assert "token-for" not in here.redis.cli("HGETALL", f"bff:session:{found.session.key}")


async def test_newer_tokens_leave_none_of_them(site: Site) -> None:
    """A rotation drops them, whoever knew of them; what comes for the former tokens is not kept any more."""
    found = await site.signed_in()
    former = await as_read(site, found)
    await site.sessions.keep_exchanged(former, "orders", ORDERS)
    prepared = site.sessions.prepare(found, sample_tokens(access_token="access-2"), claims=None)
    assert Write.REPLACED is await site.sessions.save(prepared)
    assert {} == (await as_read(site, found)).session.exchanged
    assert Write.STALE is await site.sessions.keep_exchanged(former, "orders", ORDERS)
    assert {} == (await as_read(site, found)).session.exchanged


@pytest.mark.requirement("P-09")
async def test_none_is_lost_among_several_writers(site: Site) -> None:
    """Two that read one record do not both write; a sign-out that read it ends no token that came since."""
    found = await as_read(site, await site.signed_in())
    assert Write.REPLACED is await site.sessions.keep_exchanged(found, "orders", ORDERS)
    assert Write.STALE is await site.sessions.keep_exchanged(found, "stock", STOCK)
    assert not await site.sessions.end(found.session, EndReason.LOGOUT, fence="all tokens")
    newer = await as_read(site, found)
    assert {"orders": ORDERS} == newer.session.exchanged
    assert await site.sessions.end(newer.session, EndReason.LOGOUT, fence="all tokens")


async def test_a_session_that_is_over_is_not_made_again(site: Site) -> None:
    """Neither by keeping a token, nor behind our back."""
    found = await site.signed_in()
    await site.sessions.end(found.session, EndReason.LOGOUT)
    assert Write.GONE is await site.sessions.keep_exchanged(found, "orders", ORDERS)
    assert Write.GONE is await site.store.keep_exchanged(found.session, "sealed")
    assert "0" == site.redis.cli("EXISTS", f"bff:session:{found.session.key}")
