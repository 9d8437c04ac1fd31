"""POST /bff/backchannel-logout: the provider signs somebody out, and nobody else can."""

import hashlib
import time
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from bff.oidc.logout_token import EVENT, MAX_AGE
from bff.session.model import EndReason
from bff.session.sessions import Found, NoSession
from bff.session.store import Write
from tests.support.processes.redis import RedisServer
from tests.support.providers.provider import ServedProvider, sign
from tests.web.site import Browser, Site, running_site

PATH = "/bff/backchannel-logout"


def logout_token(site: Site, **changes: Any) -> str:
    now = time.time()
    claims: dict[str, Any] = {
        "iss": site.provider.base,
        "aud": "spa-bff",
        "iat": now,
        "exp": now + 120,
        "jti": "the-jti",
        "events": {EVENT: {}},
        "sub": "alice",
        "sid": "provider-session",
    }
    return sign({name: value for name, value in (claims | changes).items() if value is not None})


async def tell(site: Site, token: str, **options: Any) -> httpx.Response:
    """Posts a token as a provider does: no cookie, no header of a browser."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(site.app), base_url=site.base) as client:
        return await client.post(PATH, **({"data": {"logout_token": token}} | options))


async def person(site: Site, **claims: Any) -> tuple[Browser, str]:
    """Somebody who is signed in: the browser and the handle."""
    site.provider.claims = claims
    browser = site.browser()
    await site.sign_in(browser)
    handle = browser.session()
    assert handle is not None
    return browser, handle


@pytest.mark.requirement("L-04", "L-05")
async def test_a_sid_ends_its_sessions_and_no_other(site: Site) -> None:
    """200, no-store; the session of that sign-in is over at once, alice's other one and bob's are not."""
    _, one = await person(site)
    _, same = await person(site)
    _, other = await person(site, sid="another-session")
    _, bob = await person(site, sub="bob", sid="bobs-session")
    with capture_logs() as logs:
        answer = await tell(site, logout_token(site))
    assert (200, b"", "no-store") == (answer.status_code, answer.content, answer.headers["cache-control"])
    told = ["provider_logout", "provider_logout", None, None]
    assert told == [await site.reason_of(handle) for handle in (one, same, other, bob)]
    (event,) = [line for line in logs if line["event"] == "provider_signed_out"]
    assert ("alice", 2) == (event["sub"], event["sessions"])


@pytest.mark.requirement("L-05")
async def test_a_sub_ends_all_of_a_user(site: Site) -> None:
    """Without a `sid` all of alice's sessions end, and none of bob's."""
    _, one = await person(site)
    _, other = await person(site, sid=None)
    _, bob = await person(site, sub="bob")
    assert 200 == (await tell(site, logout_token(site, sid=None))).status_code
    assert ["provider_logout", "provider_logout", None] == [
        await site.reason_of(handle) for handle in (one, other, bob)
    ]


@pytest.mark.requirement("L-05")
async def test_a_session_without_a_sid_ends_by_its_sub(site: Site) -> None:
    """A token names `sub` and `sid`, the ID token had no `sid`: that session could be of this sign-in."""
    _, nameless = await person(site, sid=None)
    _, other = await person(site, sid="another-session")
    _, bob = await person(site, sub="bob", sid=None)
    assert 200 == (await tell(site, logout_token(site))).status_code
    assert ["provider_logout", None, None] == [
        await site.reason_of(handle) for handle in (nameless, other, bob)
    ]


@pytest.mark.requirement("T-15")
async def test_a_sign_in_without_a_sid_hears_of_the_end(site: Site) -> None:
    """The session is written after the end was noted: it is seen by `ended_since`, and another one is not."""
    _, nameless = await person(site, sid=None)
    _, other = await person(site, sid="another-session")
    found = [await site.sessions.open(handle) for handle in (nameless, other)]
    began = site.clock() - 1
    reason = EndReason.PROVIDER_LOGOUT
    await site.sessions.bulk.end_all("main", sub="alice", sid="provider-session", reason=reason)
    sessions = [each.session for each in found if isinstance(each, Found)]
    reasons = [await site.sessions.bulk.ended_since(each, began) for each in sessions]
    assert [EndReason.PROVIDER_LOGOUT, None] == reasons


@pytest.mark.requirement("L-05")
@pytest.mark.parametrize("first", ["provider-session", None])
async def test_a_sid_that_a_refresh_changed_ends_its_session(site: Site, first: str | None) -> None:
    """The index follows: the new name ends it, and the former names nobody."""
    _, handle = await person(site, sid=first)
    found = await site.sessions.open(handle)
    assert isinstance(found, Found)
    prepared = site.sessions.prepare(
        found, found.session.tokens, claims={"sub": "alice", "sid": "a-newer-session"}
    )
    assert Write.REPLACED == await site.sessions.save(prepared)
    for sid, jti, reason in (("provider-session", "1", None), ("a-newer-session", "2", "provider_logout")):
        assert 200 == (await tell(site, logout_token(site, sid=sid, jti=jti))).status_code
        assert reason == await site.reason_of(handle)


async def test_a_thin_refreshed_id_token_keeps_claims(site: Site) -> None:
    """What it does not mention stays, what it contradicts changes; a `sid` that it leaves out stays too."""
    _, handle = await person(site, email="alice@example.com", name="Alice")
    found = await site.sessions.open(handle)
    assert isinstance(found, Found)
    prepared = site.sessions.prepare(found, found.session.tokens, claims={"sub": "alice", "name": "Alicia"})
    assert Write.REPLACED == await site.sessions.save(prepared)
    again = await site.sessions.open(handle)
    assert isinstance(again, Found)
    assert ("alice@example.com", "Alicia", "provider-session") == (
        again.session.claims["email"],
        again.session.claims["name"],
        again.session.sid,
    )


async def test_a_sid_with_another_sub_ends_nobody(site: Site) -> None:
    """A token that names alice's sign-in and bob is about nobody; one about nobody who is here is done."""
    _, one = await person(site)
    assert 200 == (await tell(site, logout_token(site, sub="bob"))).status_code
    assert 200 == (await tell(site, logout_token(site, sub="carol", sid=None, jti="2"))).status_code
    assert await site.reason_of(one) is None


@pytest.mark.requirement("L-04")
async def test_a_token_works_once(site: Site) -> None:
    """The same `jti` again is 400 for as long as the token could be taken, and ends nobody's new session."""
    await person(site)
    token = logout_token(site, sid=None)
    assert 200 == (await tell(site, token)).status_code
    _, again = await person(site)
    answer = await tell(site, token)
    assert (400, "no-store") == (answer.status_code, answer.headers["cache-control"])
    assert await site.reason_of(again) is None
    name = hashlib.sha256(b"main the-jti").hexdigest()
    left = int(site.redis.cli("PTTL", f"bff:jti:logout_token:{name}"))
    assert MAX_AGE * 1000 < left <= (MAX_AGE + 60) * 1000


@pytest.mark.requirement("L-04", "L-05")
@pytest.mark.parametrize(
    "changes",
    [{"nonce": "n"}, {"aud": "another"}, {"iss": "https://evil.example"}, {"events": None}, {"jti": None}],
)
async def test_a_bad_token_is_400_and_ends_nobody(site: Site, changes: dict[str, Any]) -> None:
    """Told apart in the audit log by a word of ours; nothing of the token is written."""
    _, one = await person(site)
    with capture_logs() as logs:
        answer = await tell(site, logout_token(site, **changes))
    assert (400, "bad_request") == (answer.status_code, answer.json()["code"])
    assert await site.reason_of(one) is None
    assert ["logout_token_rejected"] == [line["event"] for line in logs if "logout" in line["event"]]
    assert logout_token(site)[:20] not in str(logs)


@pytest.mark.requirement("L-04")
@pytest.mark.parametrize(
    "request_",
    [
        {"data": {}},
        {"data": {"logout_token": ["a", "b"]}},
        {"json": {"logout_token": "x"}},
        {"content": b"logout_token=x"},
        {"content": b"logout_token=\xff", "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
        {"data": {"logout_token": "x" * 200_000}},
        {"data": {"logout_token": "x", **{f"f{number}": "" for number in range(20)}}},
    ],
)
async def test_what_is_no_such_form_is_400(site: Site, request_: dict[str, Any]) -> None:
    """One field, form-encoded, of a bounded size (Back-Channel Logout 1.0, 2.5)."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(site.app), base_url=site.base) as client:
        assert 400 == (await client.post(PATH, **request_)).status_code
        assert 405 == (await client.get(PATH)).status_code


@pytest.mark.requirement("L-05", "T-10")
async def test_without_redis_the_provider_may_try_again(site: Site) -> None:
    """503, and the very same token works when Redis is back."""
    _, one = await person(site)
    token = logout_token(site)
    site.redis.stop()
    assert 503 == (await tell(site, token)).status_code
    site.redis.start()
    assert 200 == (await tell(site, token)).status_code
    assert isinstance(await site.sessions.open(one), NoSession)


@pytest.mark.requirement("T-15")
async def test_the_end_is_noted_for_sign_ins_under_way(site: Site) -> None:
    """What began before it is told so, by `sid` and by `sub`; what begins later, or is of others, is not."""
    began = site.clock() - 1
    _, one = await person(site)
    found = await site.sessions.open(one)
    assert isinstance(found, Found)
    assert not await site.sessions.bulk.ended_since(found.session, began)
    assert 200 == (await tell(site, logout_token(site))).status_code
    assert await site.sessions.bulk.ended_since(found.session, began)
    assert not await site.sessions.bulk.ended_since(found.session, site.clock() + 1)
    assert 0 < int(site.redis.cli("TTL", "bff:ended:main:provider-session")) <= 300
    _, other = await person(site, sid="another")
    found = await site.sessions.open(other)
    assert isinstance(found, Found)
    assert not await site.sessions.bulk.ended_since(found.session, began)
    assert 200 == (await tell(site, logout_token(site, sid=None, jti="2"))).status_code
    assert await site.sessions.bulk.ended_since(found.session, began)


@pytest.mark.requirement("L-05")
async def test_a_provider_that_was_never_reached_is_no_refusal(
    redis_server: RedisServer, provider: ServedProvider
) -> None:
    """Without keys nothing can be said of a token: 503."""
    async with running_site(redis_server, provider) as site:
        token = logout_token(site)
        provider.stop()
        assert 503 == (await tell(site, token)).status_code
        provider.start()
