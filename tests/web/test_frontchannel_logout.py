"""GET /bff/frontchannel-logout: a frame of the provider's page signs a user out, by the `sid` alone."""

from collections.abc import AsyncIterator
from urllib.parse import urlencode

import httpx
import pytest

from tests.support.processes.redis import RedisServer
from tests.support.providers.provider import ServedProvider
from tests.web.site import Site, running_site

PATH = "/bff/frontchannel-logout"
FRAME = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}


@pytest.fixture
async def site(redis_server: RedisServer, provider: ServedProvider) -> AsyncIterator[Site]:
    async with running_site(redis_server, provider, frontchannel_logout=True) as site:
        yield site


async def framed(site: Site, method: str = "GET", **asked: str) -> httpx.Response:
    """Asks as a frame of another site does: without a cookie."""
    query = urlencode({"iss": site.provider.base, "sid": "provider-session"} | asked)
    headers = FRAME | ({"sec-purpose": "prefetch"} if method == "PREFETCH" else {})
    headers |= {"sec-fetch-mode": "cors"} if method == "FETCH" else {}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(site.app), base_url=site.base) as client:
        return await client.request("HEAD" if method == "HEAD" else "GET", f"{PATH}?{query}", headers=headers)


async def person(site: Site, sid: str = "provider-session") -> str:
    site.provider.claims = {"sid": sid}
    browser = site.browser()
    await site.sign_in(browser)
    handle = browser.session()
    assert handle is not None
    return handle


@pytest.mark.requirement("L-03", "L-05")
async def test_a_frame_ends_the_sessions_of_its_sid(site: Site) -> None:
    """200 and nothing in it; another sign-in of the user's goes on. An unknown `sid` is answered alike."""
    one, other = await person(site), await person(site, "another-session")
    answers = [await framed(site), await framed(site, sid="nobody's")]
    assert [(200, b"", "no-store")] * 2 == [
        (answer.status_code, answer.content, answer.headers["cache-control"]) for answer in answers
    ]
    assert ["provider_logout", None] == [await site.reason_of(handle) for handle in (one, other)]


@pytest.mark.requirement("L-03", "B-37")
async def test_nothing_else_ends_a_session(site: Site) -> None:
    """No other provider's word, nothing said twice or not at all, no prefetch, HEAD or script."""
    handle = await person(site)
    for asked in ({"iss": "https://another.example"}, {"sid": ""}, {"sid": "x" * 256}, {"sid": "a\nb"}):
        assert 400 == (await framed(site, **asked)).status_code
    base = f"{PATH}?{urlencode({'iss': site.provider.base})}&sid=provider-session"
    async with httpx.AsyncClient(transport=httpx.ASGITransport(site.app), base_url=site.base) as client:
        for path in (PATH, f"{base}&sid=provider-session", f"{PATH}?sid=provider-session"):
            assert 400 == (await client.get(path, headers=FRAME)).status_code
        assert 405 == (await client.post(base, headers=FRAME)).status_code
    refused = {"HEAD": 405, "PREFETCH": 503, "FETCH": 403}
    assert refused == {method: (await framed(site, method)).status_code for method in refused}
    assert await site.reason_of(handle) is None
    site.redis.stop()
    assert (503, "store_unavailable") == (
        (failed := await framed(site)).status_code,
        failed.json()["code"],
    )
    site.redis.start()


@pytest.mark.requirement("B-30")
async def test_guessing_has_a_limit(redis_server: RedisServer, provider: ServedProvider) -> None:
    """As often a minute as callbacks from one address."""
    async with running_site(redis_server, provider, per_minute=5, frontchannel_logout=True) as site:
        statuses = [(await framed(site, sid=f"guess-{number}")).status_code for number in range(7)]
    assert [200] * 5 + [429] * 2 == statuses


async def test_it_is_off_by_default(redis_server: RedisServer, provider: ServedProvider) -> None:
    """Without the setting there is no such endpoint."""
    async with running_site(redis_server, provider) as site:
        assert 404 == (await framed(site)).status_code
