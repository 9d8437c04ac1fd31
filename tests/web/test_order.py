"""What comes first, and what is looked at once more: the order of a sign-out, the edges of a callback."""

import pytest

from bff.session.sessions import Found, NoSession
from bff.settings.model import ServerSettings, SessionSettings
from bff.web.login_transaction import TransactionCookies, begin
from tests.support.processes.redis import RedisServer
from tests.support.providers.provider import ServedProvider
from tests.support.tasks import background
from tests.support.wait import until
from tests.web.site import Browser, Site, running_site


@pytest.mark.requirement("L-01")
async def test_a_token_is_revoked_before_its_session_is_deleted(site: Site, browser: Browser) -> None:
    """While the provider is asked to revoke, the record is still there: nothing is lost if we die now."""
    await site.sign_in(browser)
    found = await site.signed_in(browser)
    assert isinstance(found, Found)
    site.provider.slow = 0.3
    async with background(browser.post("/bff/logout")) as logout:
        await until(lambda: "/revoke" in site.provider.paths)
        assert isinstance(await site.sessions.open(found.handle), Found)
        assert (await logout).json()["provider_revoked"] is True
    assert isinstance(await site.sessions.open(found.handle), NoSession)


@pytest.mark.requirement("O-05")
async def test_a_wrong_iss_beside_an_error_is_not_the_providers_word(
    redis_server: RedisServer, provider: ServedProvider
) -> None:
    """Also where `iss` is not promised: the page does not hear the code that came with it."""
    provider.iss_parameter = False
    async with running_site(redis_server, provider) as site:
        browser = site.browser()
        changes = {"iss": "https://evil.example", "error": "access_denied", "code": None}
        answer = await site.come_back(browser, await site.login(browser), **changes)
        assert "/?bff_error=login_failed" == answer.headers["location"]


@pytest.mark.requirement("O-04")
async def test_where_a_sign_in_leads_is_checked_once_more_at_its_end(site: Site, browser: Browser) -> None:
    """A path that became a route's since login, by a new configuration, is not gone to."""
    transaction = begin("/api/orders?delete=1", {}, site.clock())
    cookies = TransactionCookies(site.keyring, ServerSettings(public_url=site.base), SessionSettings())
    stored = cookies.store(transaction, site.clock())
    assert stored is not None
    browser._keep(stored)
    page = await browser.get(
        f"/bff/callback?state={transaction.state}&error=access_denied&iss={site.provider.base}"
    )
    answer = await browser.follow(page)
    assert "/?bff_error=access_denied" == answer.headers["location"]
