"""Sign-in: the main way, what login takes, and what is said while provider or store are down."""

import pytest
from structlog.testing import capture_logs

from bff.session.sessions import Found
from bff.web import responses as answers
from tests.support.processes.redis import RedisServer
from tests.support.providers.provider import ServedProvider
from tests.web.site import Browser, Site, query, running_site


def keys_in(redis: RedisServer, pattern: str = "*") -> list[str]:
    with redis.client() as client:
        return [str(key) for key in client.keys(pattern)]


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
    """The page has no referrer, no content and no code; its cookie is sealed, and finish has no query."""
    path = site.provider.answer_to(await site.login(browser))
    code = query(path)["code"]
    page = await browser.get(path, origin="cross-site")
    assert page.headers["refresh"] == "0; url=/bff/callback/finish"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert code not in page.text + str(page.headers)
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
    """Not before somebody has come back from the provider, but for the limits' counts, which go soon."""
    for _ in range(20):
        await site.login(browser)
    keys = keys_in(redis_server)
    assert {"bff:rate:login", "bff:rate:address"} >= {key[: key.index(":", 9)] for key in keys}
    with redis_server.client() as client:
        assert all(0 <= client.pttl(key) <= 60_000 or not client.exists(key) for key in keys)
    assert len(browser.transactions()) == 4


@pytest.mark.requirement("B-30")
async def test_logins_are_rate_limited(redis_server: RedisServer, provider: ServedProvider) -> None:
    """429 with a time to wait, for one address; the callback has a limit of its own."""
    async with running_site(redis_server, provider, per_minute=2) as site:
        browser = site.browser()
        for _ in range(3):  # the first one counts for the address, the others for this browser
            await site.login(browser)
        answer = await browser.get("/bff/login")
        assert (429, "rate_limited") == (answer.status_code, answer.json()["code"])
        assert 1 <= int(answer.headers["retry-after"]) <= 30
        assert [200, 200, 429] == [(await browser.get("/bff/callback")).status_code for _ in range(3)]


async def test_browsers_at_one_address_do_not_hold_each_other_up(
    redis_server: RedisServer, provider: ServedProvider
) -> None:
    """Whoever has a sign-in under way counts by themselves; who has none, by the address."""
    async with running_site(redis_server, provider, per_minute=2) as site:
        one, other = site.browser(), site.browser()
        await site.login(one)
        await site.login(other)
        assert 429 == (await site.browser().get("/bff/login")).status_code
        for browser in (one, other):
            await site.login(browser)


async def test_an_unnamed_proxy_is_told_once(browser: Browser) -> None:
    """`X-Forwarded-For` of a peer that the settings do not name: all behind it share one address."""
    answers._tell_unnamed.cache_clear()
    with capture_logs() as lines:
        for _ in range(2):
            await browser.get("/bff/login", headers={"x-forwarded-for": "203.0.113.7"})
    (line,) = [line for line in lines if line["event"] == "forwarded_for_ignored"]
    assert "127.0.0.1" == line["peer"]
    assert "trusted_proxies" in line["problem"]


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
    assert ("login", "a@b", "openid profile email") == (
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


async def test_a_refused_client_has_words_of_its_own(site: Site, browser: Browser) -> None:
    """A wrong secret is not "out of reach": nobody but the operator can mend it."""
    site.provider.token_answer = (401, {"error": "invalid_client"})
    answer = await site.sign_in(browser)
    assert (503, "provider_refused_client") == (answer.status_code, answer.json()["code"])


async def test_the_absence_of_a_refresh_token_is_said_once(site: Site, browser: Browser) -> None:
    """After the first sign-in, with the scope that may help."""
    site.provider.without_refresh = True
    with capture_logs() as lines:
        for _ in range(2):
            await site.sign_in(browser)
    (line,) = [line for line in lines if line["event"] == "no_refresh_token"]
    assert 'may give one for the scope "offline_access"' in line["problem"]


async def test_a_scope_that_brought_no_refresh_token(
    redis_server: RedisServer, provider: ServedProvider
) -> None:
    """Where it is asked for already the advice is another: many take it with a consent alone."""
    provider.without_refresh = True
    async with running_site(redis_server, provider, scopes=("openid", "offline_access")) as site:
        with capture_logs() as lines:
            await site.sign_in(site.browser())
    (line,) = [line for line in lines if line["event"] == "no_refresh_token"]
    assert 'extra_params = { prompt = "consent" }' in line["problem"]


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
