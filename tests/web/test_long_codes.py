"""Authorization codes of any length that a request line can bring, between callback and finish."""

import secrets

import pytest

from bff.session.sessions import Found
from bff.web import stored_codes
from tests.support.processes.redis import RedisServer
from tests.support.providers.provider import ServedProvider
from tests.web.site import Browser, Site, running_site

LONGEST = 8192
RETURN_TO = "/orders?" + "q" * 900 + "#here"
LOGIN = f"/bff/login?return_to=/orders?{'q' * 900}%23here"

pytestmark = pytest.mark.requirement("O-10", "O-16")


def a_code(length: int) -> str:
    return secrets.token_urlsafe(length)[:length]


def spent(provider: ServedProvider) -> list[str]:
    """The codes that were sent to the token endpoint."""
    return [form["code"] for form in provider.codes]


def places(redis: RedisServer) -> list[str]:
    return redis.cli("--scan", "--pattern", "bff:jti:code:*").split()


@pytest.mark.parametrize("length", [40, 1200, 2000, 2600, 3000, 3300, 4200, 6000, LONGEST])
async def test_a_long_code_is_spent_and_the_page_found(site: Site, browser: Browser, length: int) -> None:
    """The code reaches the provider to the letter, return_to is kept, and no answer's head exceeds 4 KiB."""
    location = await site.login(browser, LOGIN)
    code = a_code(length)
    site.provider.expect(code, location)
    answer = await site.come_back(browser, location, code=code)
    assert (303, RETURN_TO) == (answer.status_code, answer.headers["location"])
    assert [code] == spent(site.provider)
    assert isinstance(await site.signed_in(browser), Found)
    for each in browser.answers[1:]:
        head = sum(len(name) + len(value) + 4 for name, value in each.headers.raw)
        assert head < 4096 - 200  # the rest for the server's own lines: status, date


@pytest.mark.parametrize("character", ["%", "~", '"', "+", " ", "é", "\N{GRINNING FACE}"])
async def test_a_code_of_any_characters(site: Site, browser: Browser, character: str) -> None:
    """A code is opaque: what JSON or a URL would write longer is carried like all others, 8 KiB of it.

    So is one outside of ASCII, which RFC 6749 A.11 does not allow; its UTF-8 bytes are what counts.
    """
    location = await site.login(browser)
    code = character * (LONGEST // len(character.encode()))
    site.provider.expect(code, location)
    assert "/" == (await site.come_back(browser, location, code=code)).headers["location"]
    assert [code] == spent(site.provider)


@pytest.mark.parametrize("code", [a_code(LONGEST + 1), "é" * (LONGEST // 2 + 1)], ids=["ascii", "utf-8"])
async def test_a_code_that_is_too_long_lands_on_the_page(site: Site, browser: Browser, code: str) -> None:
    """More than 8 KiB: `server_error`, at the page that was asked for; nothing is kept."""
    location = await site.login(browser, "/bff/login?return_to=/orders")
    answer = await site.come_back(browser, location, code=code)
    assert "/orders?bff_error=server_error" == answer.headers["location"]
    assert [] == places(site.redis)
    assert [] == spent(site.provider)


@pytest.mark.requirement("B-08")
async def test_what_is_kept_is_sealed_and_ends_soon(site: Site, browser: Browser) -> None:
    """Whoever reads Redis reads no code, and after a minute there is none."""
    location = await site.login(browser)
    code = a_code(4200)
    await browser.get(site.provider.answer_to(location, code=code), origin="cross-site")
    (name,) = places(site.redis)
    assert code[:100] not in site.redis.cli("GET", name)
    assert 0 < int(site.redis.cli("PTTL", name)) <= 60_000


@pytest.mark.requirement("B-30")
async def test_nobody_fills_redis_by_calling_the_callback(
    site: Site, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many long codes come, there are so many places and no more; without a transaction none."""
    monkeypatch.setattr(stored_codes, "_SLOTS", 2)
    location = ""
    for _ in range(12):
        location = await site.login(browser)
        await browser.get(site.provider.answer_to(location, code=a_code(5000)), origin="cross-site")
    assert 1 <= len(places(site.redis)) <= 2
    site.redis.cli("FLUSHALL")
    other = site.browser()
    await other.get(site.provider.answer_to(location, code=a_code(5000)), origin="cross-site")
    assert [] == places(site.redis)


async def test_a_code_whose_place_was_taken_is_a_stale_sign_in(
    site: Site, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other's code is never spent for this one: the sign-in is begun again, once; the other one works."""
    monkeypatch.setattr(stored_codes, "_SLOTS", 1)
    other = site.browser()
    location, others = await site.login(browser, "/bff/login?return_to=/a"), await site.login(other)
    first, second = a_code(5000), a_code(5000)
    site.provider.expect(second, others)
    page = await browser.get(site.provider.answer_to(location, code=first), origin="cross-site")
    others_page = await other.get(site.provider.answer_to(others, code=second), origin="cross-site")
    assert 303 == (await other.follow(others_page)).status_code
    assert isinstance(await site.signed_in(other), Found)
    again = await browser.follow(page)
    assert 302 == again.status_code
    assert [second] == spent(site.provider)
    assert "/a" == (await site.come_back(browser, again.headers["location"])).headers["location"]


async def test_redis_that_is_away_is_no_lost_sign_in(
    redis_server: RedisServer, provider: ServedProvider
) -> None:
    """The callback says 503, and works when it is repeated."""
    async with running_site(redis_server, provider) as site:
        browser = site.browser()
        location = await site.login(browser)
        code = a_code(4200)
        provider.expect(code, location)
        back = provider.answer_to(location, code=code)
        redis_server.cli("CONFIG", "SET", "min-replicas-to-write", "1")
        try:
            answer = await browser.get(back, origin="cross-site")
            assert (503, "store_unavailable") == (answer.status_code, answer.json()["code"])
        finally:
            redis_server.cli("CONFIG", "SET", "min-replicas-to-write", "0")
        page = await browser.get(back, origin="cross-site")
        assert "/" == (await browser.follow(page)).headers["location"]
        assert [code] == spent(provider)
