"""What comes back from the provider: state, `iss`, errors, ID tokens."""

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwt
from structlog.testing import capture_logs

from bff.session.sessions import Found, NoSession
from tests.oidc.test_id_token import raw
from tests.support.keys import rsa_key
from tests.support.processes.redis import RedisServer
from tests.support.providers.provider import KEY, ServedProvider
from tests.support.wait import until
from tests.web.site import Browser, Site, running_site

OTHER = rsa_key({"kid": "one"}, number=1)


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
    page = await browser.get(path, origin="cross-site")
    answer = await browser.follow(page)
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
    await until(lambda: site.provider.revoked == ["refresh-of-code-1"])


async def test_without_a_refresh_token_the_access_token_of_a_failed_sign_in_is_revoked(
    site: Site, browser: Browser
) -> None:
    """It is good, and nobody will use it; the page does not wait for the provider's answer."""
    site.provider.without_refresh, site.provider.claims = True, {"nonce": "another"}
    site.provider.revocation_held = True
    assert (await site.sign_in(browser)).headers["location"] == "/?bff_error=login_failed"
    assert [] == site.provider.revoked
    site.provider.revocation_held = False
    await until(lambda: site.provider.revoked == ["access-of-code-1"])


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
    await until(lambda: site.provider.revoked == ["a"])


@pytest.mark.requirement("O-17")
async def test_a_sign_in_older_than_max_age_is_refused(site: Site, browser: Browser) -> None:
    """`max_age` alone: without `auth_time`, and with one too long ago, nobody is signed in."""
    for claims in ({}, {"auth_time": int(site.clock()) - 100}):
        site.provider.claims = claims
        answer = await site.sign_in(browser, "/bff/login?max_age=60")
        assert answer.headers["location"] == "/?bff_error=login_failed"
    site.provider.claims = {"auth_time": int(site.clock())}
    assert (await site.sign_in(browser, "/bff/login?max_age=60")).headers["location"] == "/"


@pytest.mark.requirement("O-17")
async def test_an_authentication_that_was_asked_for_is_checked(site: Site, browser: Browser) -> None:
    """`max_age` is compared with what comes back; `acr_values` is a wish, which may stay unfulfilled."""
    path = "/bff/login?max_age=60&acr_values=high"
    assert (await site.sign_in(browser, path)).headers["location"] == "/?bff_error=login_failed"
    for acr in ("low", None):
        site.provider.claims = {"auth_time": int(site.clock()), "acr": acr}
        assert (await site.sign_in(browser, path)).headers["location"] == "/"


@pytest.mark.requirement("O-17")
async def test_an_acr_that_is_required_is_enforced(
    redis_server: RedisServer, provider: ServedProvider
) -> None:
    """Whatever the page asks for; it is asked for where the page asks for nothing."""
    async with running_site(redis_server, provider, acr_required=("high", "higher")) as site:
        browser = site.browser()
        asked = await browser.get("/bff/login")
        assert ["high higher"] == parse_qs(urlsplit(asked.headers["location"]).query)["acr_values"]
        for acr in (None, "low"):
            provider.claims = {"acr": acr}
            answer = await site.sign_in(browser, "/bff/login?acr_values=low")
            assert "/?bff_error=login_failed" == answer.headers["location"]
        provider.claims = {"acr": "higher"}
        assert (await site.sign_in(browser, "/bff/login?acr_values=low")).headers["location"] == "/"


def test_the_key_of_the_stub_is_an_honest_one() -> None:
    """The forged tokens above differ in the signature, and not in the kid."""
    assert KEY.kid == OTHER.kid
    assert re.fullmatch("one", KEY.kid or "")
