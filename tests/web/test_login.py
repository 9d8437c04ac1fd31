"""Sign-in: login, callback, finish, and all that can go wrong between them."""

import asyncio
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from structlog.testing import capture_logs

from bff.errors import StoreUnavailableError
from bff.session.sessions import Found, NoSession
from tests.oidc.test_id_token import raw
from tests.support.provider import KEY, ServedProvider
from tests.support.redis import RedisServer
from tests.web.site import Browser, Site, running_site

OTHER = RSAKey.generate_key(2048, {"kid": "one"})


def keys_in(redis: RedisServer, pattern: str = "*") -> list[str]:
    with redis.client() as client:
        return [str(key) for key in client.keys(pattern)]


def query(location: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


# The main way


@pytest.mark.requirement("O-01", "O-03", "B-02", "B-03", "B-04", "B-07", "B-25")
async def test_a_sign_in_ends_at_the_page_with_a_session(site: Site, browser: Browser) -> None:
    """302 to the provider, 200 with a Refresh, 303 to return_to; a Strict cookie; nothing is cached."""
    answer = await site.sign_in(browser, "/bff/login?return_to=/orders%3Fx%3D1%23top")
    assert (303, "/orders?x=1#top") == (answer.status_code, answer.headers["location"])
    found = await site.signed_in(browser)
    assert isinstance(found, Found)
    assert ("alice", "Alice", "provider-session") == (
        found.session.sub,
        found.session.name,
        found.session.sid,
    )
    assert browser.cookies["__Host-Http-bff"][1] == "Strict"
    assert {"no-store"} == {each.headers["cache-control"] for each in browser.answers}


@pytest.mark.requirement("O-01")
async def test_each_login_is_a_request_of_its_own(site: Site, browser: Browser) -> None:
    """State, nonce and challenge are fresh, long, and the challenge is S256 of the verifier that is sent."""
    first, second = query(await site.login(browser)), query(await site.login(browser))
    for name in ("state", "nonce", "code_challenge"):
        assert len(first[name]) >= 43
        assert first[name] != second[name]
    assert first["code_challenge_method"] == "S256"
    assert first["redirect_uri"] == "https://app.example/bff/callback"


@pytest.mark.requirement("O-16", "O-07", "B-08")
async def test_the_code_is_out_of_sight_before_any_page(site: Site, browser: Browser) -> None:
    """The hop has no referrer, no content and no code; its cookie is sealed, and finish has no query."""
    path = site.provider.answer_to(await site.login(browser))
    code = query(path)["code"]
    hop = await browser.get(path, origin="cross-site")
    assert hop.headers["refresh"] == "0; url=/bff/callback/finish"
    assert hop.headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in hop.headers["content-security-policy"]
    assert code not in hop.text + str(hop.headers)
    assert site.provider.codes == []


@pytest.mark.requirement("B-08")
async def test_no_answer_of_a_sign_in_holds_a_secret(site: Site, browser: Browser) -> None:
    """No token, code, verifier or client secret in any header or body."""
    await site.sign_in(browser)
    verifier = site.provider.codes[0]["code_verifier"]
    said = "".join(answer.text + str(answer.headers.raw) for answer in browser.answers)
    for secret in ("access-of", "refresh-of", "code-1", verifier, "a-client-secret", "eyJ"):
        assert secret not in said


@pytest.mark.requirement("B-30")
async def test_logins_leave_nothing_in_redis(site: Site, browser: Browser, redis_server: RedisServer) -> None:
    """Not before somebody has come back from the provider."""
    for _ in range(20):
        await site.login(browser)
    assert [] == keys_in(redis_server)
    assert len(browser.transactions()) == 4


@pytest.mark.requirement("B-30")
async def test_logins_are_rate_limited(redis_server: RedisServer, provider: ServedProvider) -> None:
    """429 with a time to wait, for one address; the callback has a limit of its own."""
    async with running_site(redis_server, provider, per_minute=2) as site:
        browser = site.browser()
        await site.login(browser)
        await site.login(browser)
        answer = await browser.get("/bff/login")
        assert (429, "rate_limited") == (answer.status_code, answer.json()["code"])
        assert 1 <= int(answer.headers["retry-after"]) <= 30
        assert [200, 200, 429] == [(await browser.get("/bff/callback")).status_code for _ in range(3)]


# What login takes


@pytest.mark.requirement("O-04")
@pytest.mark.parametrize(
    "return_to",
    [
        "//evil.example",
        "/%5Cevil",
        "https:evil",
        "/api/orders",
        "/bff/user",
        "%09//evil",
        "",
        "/a&return_to=/b",
    ],
)
async def test_a_return_to_that_leads_elsewhere_is_refused(browser: Browser, return_to: str) -> None:
    """400 `bad_return_to`, and no transaction."""
    answer = await browser.get(f"/bff/login?return_to={return_to}")
    assert (400, "bad_return_to") == (answer.status_code, answer.json()["code"])
    assert [] == browser.transactions()


async def test_known_parameters_go_on_to_the_provider(site: Site, browser: Browser) -> None:
    """Those listed, and no others; a malformed one is refused."""
    asked = query(await site.login(browser, "/bff/login?prompt=login&login_hint=a%40b&scope=admin&x=1"))
    assert ("login", "a@b", "openid profile offline_access") == (
        asked["prompt"],
        asked["login_hint"],
        asked["scope"],
    )
    assert "x" not in asked
    answer = await browser.get("/bff/login?max_age=soon")
    assert (400, "bad_request") == (answer.status_code, answer.json()["code"])


async def test_parameters_that_cannot_be_kept_are_refused(
    redis_server: RedisServer, provider: ServedProvider
) -> None:
    """A transaction that no browser would keep is not begun."""
    async with running_site(
        redis_server, provider, extra_params={"acr_values": " ".join(["urn:level"] * 400)}
    ) as site:
        answer = await site.browser().get("/bff/login")
        assert (400, "bad_request") == (answer.status_code, answer.json()["code"])


@pytest.mark.requirement("B-09")
@pytest.mark.parametrize("path", ["/bff/login", "/bff/callback", "/bff/callback/finish"])
async def test_only_navigations_sign_in(browser: Browser, path: str) -> None:
    """An image or a script of a foreign page begins nothing."""
    answer = await browser.get(path, origin="cross-site", headers={"sec-fetch-mode": "no-cors"})
    assert (403, "csrf_rejected") == (answer.status_code, answer.json()["code"])
    assert {} == browser.cookies


@pytest.mark.requirement("T-08")
async def test_a_provider_that_is_down_is_said(site: Site, browser: Browser) -> None:
    """503 with a time to wait, at login and after it; the state is not used up by that."""
    path = site.provider.answer_to(await site.login(browser))
    await browser.get(path, origin="cross-site")
    site.provider.stop()
    answer = await browser.get("/bff/callback/finish")
    assert (503, "provider_unavailable") == (answer.status_code, answer.json()["code"])
    assert int(answer.headers["retry-after"]) >= 1
    site.provider.start()


async def test_a_login_without_a_provider_is_said(site: Site, browser: Browser) -> None:
    """503, and no transaction."""
    site.provider.stop()
    answer = await browser.get("/bff/login")
    assert (503, "provider_unavailable") == (answer.status_code, answer.json()["code"])
    assert {} == browser.cookies
    site.provider.start()


@pytest.mark.requirement("T-10")
async def test_a_store_that_is_down_is_said(site: Site, browser: Browser, redis_server: RedisServer) -> None:
    """503 `store_unavailable`; no code is spent for nothing, and the sign-in goes on when it is back."""
    path = site.provider.answer_to(await site.login(browser))
    await browser.get(path, origin="cross-site")
    redis_server.stop()
    answer = await browser.get("/bff/callback/finish")
    assert (503, "store_unavailable") == (answer.status_code, answer.json()["code"])
    assert site.provider.codes == []
    redis_server.start()
    assert (await browser.get("/bff/callback/finish")).headers["location"] == "/"
    assert isinstance(await site.signed_in(browser), Found)


# State, iss, and errors


@pytest.mark.requirement("O-02")
async def test_a_state_is_used_once(site: Site, browser: Browser) -> None:
    """A copy of all cookies cannot finish the same sign-in again, and no second code is spent."""
    path = site.provider.answer_to(await site.login(browser))
    await browser.get(path, origin="cross-site")
    thief = site.browser()
    thief.cookies = dict(browser.cookies)
    await browser.get("/bff/callback/finish")
    await thief.get("/bff/callback/finish")
    assert isinstance(await site.signed_in(browser), Found)
    assert isinstance(await site.signed_in(thief), NoSession)
    assert len(site.provider.codes) == 1


@pytest.mark.requirement("O-02", "O-10")
async def test_another_browsers_callback_signs_nobody_in(site: Site, browser: Browser) -> None:
    """An attacker's own code, opened in a victim's browser, starts the victim's own sign-in instead."""
    attacker = site.browser()
    path = site.provider.answer_to(await site.login(attacker))
    hop = await browser.get(path, origin="cross-site")
    answer = await browser.follow(hop)
    assert answer.status_code == 302
    assert answer.headers["location"].startswith(f"{site.provider.base}/authorize?")
    assert browser.session() is None
    assert site.provider.codes == []


@pytest.mark.requirement("O-02")
async def test_a_transaction_cookie_is_tamper_proof(site: Site, browser: Browser) -> None:
    """One changed character, another's name, or a double: there is no such transaction."""
    path = site.provider.answer_to(await site.login(browser))
    name = browser.transactions()[0]
    value = browser.cookies[name][0]
    changed = value[:-1] + ("A" if value[-1] != "A" else "B")
    for cookies in (
        {name: (changed, "Lax")},
        {name[:-1] + ("0" if name[-1] != "0" else "1"): (value, "Lax")},
        {name: (f"{value}; {name}={value}", "Lax")},
        {name: ("", "Lax")},
    ):
        browser.cookies = dict(cookies)
        assert "set-cookie" not in (await browser.get(path, origin="cross-site")).headers
    assert site.provider.codes == []


@pytest.mark.requirement("O-05")
@pytest.mark.parametrize("iss", ["https://evil.example", None, ""])
@pytest.mark.parametrize("error", [None, "access_denied"])
async def test_an_answer_of_another_issuer_is_refused(
    site: Site, browser: Browser, iss: str | None, error: str | None
) -> None:
    """Wrong or, where it is promised, missing; on error answers as well; its code is not spent."""
    location = await site.login(browser, "/bff/login?return_to=/orders")
    answer = await site.come_back(browser, location, iss=iss, error=error)
    assert answer.headers["location"] == "/orders?bff_error=login_failed"
    assert browser.session() is None
    assert site.provider.codes == []


@pytest.mark.requirement("O-05")
async def test_a_provider_without_the_iss_parameter(
    redis_server: RedisServer, provider: ServedProvider
) -> None:
    """Where it is not promised it may be missing, but not be wrong."""
    provider.iss_parameter = False
    async with running_site(redis_server, provider) as site:
        browser = site.browser()
        assert (await site.sign_in(browser)).headers["location"] == "/"
        assert isinstance(await site.signed_in(browser), Found)
        location = await site.login(browser)
        answer = await site.come_back(browser, location, iss="https://evil.example")
        assert answer.headers["location"] == "/?bff_error=login_failed"


@pytest.mark.requirement("O-12", "O-10")
@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("access_denied", "access_denied"),
        ("login_required", "login_required"),
        ("server_error", "<script>alert(1)</script>"),
    ],
)
async def test_an_error_reaches_the_page_as_a_code(
    site: Site, browser: Browser, code: str, error: str
) -> None:
    """On return_to, with nothing of the provider's text, and without another try."""
    location = await site.login(browser, "/bff/login?return_to=/orders%23x")
    answer = await site.come_back(browser, location, error=error, code=None, error_description="secret")
    assert (303, f"/orders?bff_error={code}#x") == (answer.status_code, answer.headers["location"])
    assert site.provider.codes == []


async def test_a_callback_with_neither_code_nor_error(site: Site, browser: Browser) -> None:
    """It is no answer: login failed."""
    answer = await site.come_back(browser, await site.login(browser), code=None)
    assert answer.headers["location"] == "/?bff_error=login_failed"


@pytest.mark.requirement("O-10")
async def test_a_parameter_that_is_repeated_has_no_value(site: Site, browser: Browser) -> None:
    """Two codes, and no guess which one is meant."""
    path = site.provider.answer_to(await site.login(browser)) + "&code=evil"
    answer = await browser.follow(await browser.get(path, origin="cross-site"))
    assert answer.headers["location"] == "/?bff_error=login_failed"
    assert site.provider.codes == []


@pytest.mark.parametrize("suffix", ["&x=\xe4", "&" + "&".join(f"a{n}=1" for n in range(60))])
async def test_a_query_that_cannot_be_read_is_nobodys(site: Site, browser: Browser, suffix: str) -> None:
    """Bytes that are no ASCII, or a flood of fields: as if there were no query."""
    scope_query = (urlsplit(site.provider.answer_to(await site.login(browser))).query + suffix).encode(
        "latin-1"
    )
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": "/bff/callback",
        "query_string": scope_query,
        "headers": [],
        "client": None,
        "app": site.app,
    }
    await site.app(scope, receive, send)
    assert sent[0]["status"] == 200
    assert b"set-cookie" not in dict(sent[0]["headers"])


# ID tokens


@pytest.mark.requirement("O-03", "O-08", "B-27")
@pytest.mark.parametrize(
    ("reason", "claims"),
    [
        ("iss", {"iss": "https://evil.example"}),
        ("aud", {"aud": "other"}),
        ("azp", {"aud": ["spa-bff", "other"], "azp": "other"}),
        ("nonce", {"nonce": "other"}),
        ("nonce", {"nonce": None}),
        ("exp", {"exp": 1}),
        ("iat", {"iat": 9_999_999_999}),
        ("sub", {"sub": None}),
        ("at_hash", {"at_hash": "AAAA"}),
    ],
)
async def test_an_id_token_that_lies_signs_nobody_in(
    site: Site, browser: Browser, reason: str, claims: dict[str, Any]
) -> None:
    """No session; the page learns that it failed, the log learns why; the tokens are given back."""
    site.provider.claims = claims
    with capture_logs() as logs:
        answer = await site.sign_in(browser, "/bff/login?return_to=/orders")
    assert answer.headers["location"] == "/orders?bff_error=login_failed"
    assert browser.session() is None
    assert [f"id_token_{reason}"] == [each["reason"] for each in logs if each["event"] == "sign_in_failed"]
    assert ["refresh-of-code-1"] == site.provider.revoked


@pytest.mark.requirement("O-08")
@pytest.mark.parametrize(
    "header", [{"alg": "none"}, {"alg": "HS256", "kid": "one"}, {"alg": "RS256", "kid": "one"}]
)
async def test_an_id_token_that_is_not_the_providers_signs_nobody_in(
    site: Site, browser: Browser, header: dict[str, str]
) -> None:
    """`alg: none`, HMAC, another's key under the same kid."""

    def forge(claims: dict[str, Any]) -> str:
        return (
            jwt.encode(header, claims, OTHER) if header["alg"] == "RS256" else raw(header, claims, b"x" * 32)
        )

    site.provider.signer = forge
    answer = await site.sign_in(browser)
    assert answer.headers["location"] == "/?bff_error=login_failed"
    assert browser.session() is None


async def test_an_answer_without_an_id_token_signs_nobody_in(site: Site, browser: Browser) -> None:
    """OAuth alone says nothing about who is there."""
    site.provider.token_answer = (200, {"access_token": "a", "token_type": "Bearer"})
    assert (await site.sign_in(browser)).headers["location"] == "/?bff_error=login_failed"
    assert [] == site.provider.revoked


@pytest.mark.requirement("O-17")
async def test_an_authentication_that_was_asked_for_is_checked(site: Site, browser: Browser) -> None:
    """`max_age` and `acr_values` that a page sends are compared with what comes back."""
    path = "/bff/login?max_age=60&acr_values=high"
    assert (await site.sign_in(browser, path)).headers["location"] == "/?bff_error=login_failed"
    site.provider.claims = {"auth_time": int(site.clock()), "acr": "low"}
    assert (await site.sign_in(browser, path)).headers["location"] == "/?bff_error=login_failed"
    site.provider.claims["acr"] = "high"
    assert (await site.sign_in(browser, path)).headers["location"] == "/"


# Once more, too late, twice


@pytest.mark.requirement("B-19")
async def test_a_new_sign_in_ends_the_browsers_former_session(site: Site, browser: Browser) -> None:
    """Also when it begins on another site, where the Strict cookie does not come along."""
    await site.sign_in(browser)
    former = browser.session()
    answer = await browser.get("/bff/login", origin="cross-site")
    await site.come_back(browser, answer.headers["location"])
    assert browser.session() != former
    assert isinstance(await site.signed_in(browser), Found)
    gone = await site.sessions.find([f"__Host-Http-bff={former}".encode()])
    assert isinstance(gone, NoSession)
    assert gone.reason == "signed_in_again"


@pytest.mark.requirement("O-11", "B-19")
async def test_two_tabs_sign_in_at_once(site: Site, browser: Browser) -> None:
    """Each ends at its own page; the later one's session is the one that stays."""
    first = await site.login(browser, "/bff/login?return_to=/one")
    second = await site.login(browser, "/bff/login?return_to=/two")
    assert (await site.come_back(browser, second)).headers["location"] == "/two"
    former = browser.session()
    assert (await site.come_back(browser, first)).headers["location"] == "/one"
    assert isinstance(await site.sessions.find([f"__Host-Http-bff={former}".encode()]), NoSession)
    assert isinstance(await site.signed_in(browser), Found)


@pytest.mark.requirement("O-11")
async def test_two_tabs_finish_at_the_same_moment(site: Site, browser: Browser) -> None:
    """Both callbacks are in before either finish: each finish takes one of them."""
    for page in ("/one", "/two"):
        path = site.provider.answer_to(await site.login(browser, f"/bff/login?return_to={page}"))
        await browser.get(path, origin="cross-site")
    both = await asyncio.gather(*(browser.get("/bff/callback/finish") for _ in range(2)))
    assert ["/one", "/two"] == sorted(answer.headers["location"] for answer in both)
    assert ["code-1", "code-2"] == sorted(form["code"] for form in site.provider.codes)


@pytest.mark.requirement("O-10")
async def test_a_repeated_callback_lands_where_the_first_did(site: Site, browser: Browser) -> None:
    """Back button, then forward through the provider: signed in, so no error and no second exchange."""
    location = await site.login(browser, "/bff/login?return_to=/orders")
    await site.come_back(browser, location)
    session = browser.session()
    for _ in range(2):
        answer = await site.come_back(browser, location)
        assert (303, "/orders") == (answer.status_code, answer.headers["location"])
    assert (await browser.get("/bff/callback/finish")).headers["location"] == "/"
    assert session == browser.session()
    assert len(site.provider.codes) == 1


@pytest.mark.requirement("O-10")
async def test_a_stale_callback_starts_anew_once(site: Site, browser: Browser) -> None:
    """A code that is too old: the sign-in is begun again by us, and a second failure ends at the page."""
    site.provider.token_answer = (400, {"error": "invalid_grant"})
    again = await site.sign_in(browser, "/bff/login?return_to=/orders&max_age=60&acr_values=a+b")
    assert again.status_code == 302
    asked = query(again.headers["location"])
    assert ("60", "a b") == (asked["max_age"], asked["acr_values"])
    assert len(browser.transactions()) == 1
    answer = await site.come_back(browser, again.headers["location"])
    assert (303, "/orders?bff_error=login_expired") == (answer.status_code, answer.headers["location"])


@pytest.mark.requirement("O-10")
async def test_a_restarted_sign_in_ends_at_the_page(site: Site, browser: Browser) -> None:
    """The second try counts in full."""
    site.provider.token_answer = (400, {"error": "invalid_grant"})
    again = await site.sign_in(browser, "/bff/login?return_to=/orders")
    site.provider.token_answer = None
    answer = await site.come_back(browser, again.headers["location"])
    assert (303, "/orders") == (answer.status_code, answer.headers["location"])
    assert isinstance(await site.signed_in(browser), Found)


@pytest.mark.requirement("O-10")
async def test_a_browser_without_cookies_is_not_sent_in_circles(site: Site, browser: Browser) -> None:
    """One restart, then a page that can say so."""
    browser.blocks_cookies = True
    again = await site.sign_in(browser)
    assert again.status_code == 302
    answer = await site.come_back(browser, again.headers["location"])
    assert (303, "/?bff_error=login_expired") == (answer.status_code, answer.headers["location"])


@pytest.mark.requirement("O-10")
async def test_an_oauth_error_is_never_followed_by_a_restart(site: Site, browser: Browser) -> None:
    """Not on a callback that nobody knows, nor on a repeated one."""
    location = await site.login(browser, "/bff/login?return_to=/orders")
    stranger = site.browser()
    answer = await site.come_back(stranger, location, error="access_denied")
    assert answer.headers["location"] == "/?bff_error=login_expired"
    for _ in range(2):
        answer = await site.come_back(browser, location, error="access_denied")
        assert answer.headers["location"] == "/orders?bff_error=access_denied"


@pytest.mark.requirement("O-10")
async def test_a_transaction_that_took_too_long_is_begun_again(site: Site, browser: Browser) -> None:
    """After its lifetime the cookie counts for nothing, even if a browser still sends it."""
    location = await site.login(browser, "/bff/login?return_to=/orders")
    site.clock.ahead = 601
    answer = await site.come_back(browser, location)
    assert answer.status_code == 302
    assert site.provider.codes == []


@pytest.mark.requirement("O-10")
async def test_a_restart_whose_answer_the_browser_did_not_keep_is_the_last(browser: Browser) -> None:
    """A callback's cookie that was refused leaves the restarted transaction as it was: no more of it."""
    again = await browser.get("/bff/callback/finish")
    assert again.status_code == 302
    answer = await browser.get("/bff/callback/finish")
    assert answer.headers["location"] == "/?bff_error=login_expired"


@pytest.mark.requirement("B-30")
async def test_restarts_are_rate_limited_as_logins_are(
    redis_server: RedisServer, provider: ServedProvider
) -> None:
    """Finish without anything to finish is no way around the limit."""
    async with running_site(redis_server, provider, per_minute=1) as site:
        browser = site.browser()
        browser.blocks_cookies = True
        assert [302, 429] == [(await browser.get("/bff/callback/finish")).status_code for _ in range(2)]


@pytest.mark.parametrize(
    ("length", "lands"), [(1500, "/orders" + "x" * 1000), (2600, "/"), (4000, "/?bff_error=server_error")]
)
async def test_a_long_code_finds_room(site: Site, browser: Browser, length: int, lands: str) -> None:
    """A cookie holds 4,096 bytes: the page gives way first, and what fits nowhere is an error."""
    location = await site.login(browser, "/bff/login?return_to=/orders" + "x" * 1000)
    code = "c" * length
    site.provider.nonces[code] = query(location)["nonce"]
    answer = await site.come_back(browser, location, code=code)
    assert lands == answer.headers["location"]


@pytest.mark.requirement("O-10")
async def test_an_answer_that_no_cookie_can_hold_is_begun_again(site: Site, browser: Browser) -> None:
    """Once; what comes back the second time as it was ends at the page."""
    again = await site.come_back(browser, await site.login(browser), iss="x" * 5000)
    assert again.status_code == 302
    answer = await site.come_back(browser, again.headers["location"], iss="x" * 5000)
    assert answer.headers["location"] == "/?bff_error=login_expired"


async def test_the_oldest_transaction_makes_room(site: Site, browser: Browser) -> None:
    """Five tabs: the first is begun anew, the others end where they were to; those done go before all."""
    await site.sign_in(browser, "/bff/login?return_to=/done")
    pages = [f"/{number}" for number in range(5)]
    locations = []
    for page in pages:
        locations.append(await site.login(browser, f"/bff/login?return_to={page}"))
        site.clock.ahead += 1
    assert len(browser.transactions()) == 4
    answers = [await site.come_back(browser, location) for location in reversed(locations[1:])]
    assert ["/4", "/3", "/2", "/1"] == [answer.headers["location"] for answer in answers]


async def test_a_session_that_cannot_be_written_gives_its_tokens_back(
    site: Site, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They exist nowhere else, and nobody would ever end them."""

    async def fail(*_: Any, **__: Any) -> None:
        raise StoreUnavailableError

    monkeypatch.setattr(site.sessions, "start", fail)
    answer = await site.sign_in(browser)
    assert (503, "store_unavailable") == (answer.status_code, answer.json()["code"])
    assert ["refresh-of-code-1"] == site.provider.revoked


@pytest.mark.requirement("B-27", "B-24")
async def test_a_sign_in_is_an_audit_event_without_secrets(site: Site, browser: Browser) -> None:
    """Who, from where, which session; and no handle, code or token."""
    with capture_logs() as logs:
        await site.sign_in(browser)
    written = str(logs)
    (event,) = [each for each in logs if each["event"] == "signed_in"]
    assert ("alice", "127.0.0.1", 12) == (event["sub"], event["address"], len(event["session"]))
    for secret in ("access-of", "refresh-of", "code-1", browser.session() or "", "eyJ"):
        assert secret not in written


def test_the_key_of_the_stub_is_an_honest_one() -> None:
    """The forged tokens above differ in the signature, and not in the kid."""
    assert KEY.kid == OTHER.kid
    assert re.fullmatch("one", KEY.kid or "")
