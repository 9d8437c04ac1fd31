"""Rotation, where a flow over HTTP cannot say who comes when."""

import pytest
from pydantic import SecretStr

from bff.observe.metrics import Metrics
from bff.oidc.client import OidcClient
from bff.refresh import RefreshCoordinator, Rotated
from bff.session.sessions import Found
from bff.settings.model import ProviderSettings, RefreshSettings
from bff.tasks import Tasks
from tests.support.processes.redis import RedisServer
from tests.support.providers.provider import running_provider
from tests.web.site import running_site


@pytest.mark.requirement("T-05", "T-01")
async def test_who_comes_late_gets_what_the_first_has_fetched(redis_server: RedisServer) -> None:
    """A rotation asked for with a session as it was before the last one spends no refresh token."""
    with running_provider() as provider:
        async with running_site(redis_server, provider) as site:
            browser = site.browser()
            await site.sign_in(browser)
            found = await site.signed_in(browser)
            assert isinstance(found, Found)
            tasks = Tasks()
            settings = ProviderSettings(
                issuer=provider.base, client_id="spa-bff", client_secret=SecretStr("a-client-secret")
            )
            client = OidcClient(settings, clock=site.clock, tasks=tasks)
            refresher = RefreshCoordinator(
                sessions=site.sessions,
                client=client,
                tasks=tasks,
                settings=RefreshSettings(),
                metrics=Metrics(),
                clock=site.clock,
            )
            fresh = {
                "access_token": "fresh",
                "token_type": "Bearer",
                "expires_in": 60,
                "refresh_token": "next",
            }
            provider.token_answer = (200, fresh)
            first = await refresher.rotate(found, "expiry")
            late = await refresher.rotate(found, "expiry")
            await client.aclose()
            assert isinstance(first, Rotated)
            assert isinstance(late, Rotated)
            assert ("fresh", 2) == (late.found.session.tokens.access_token, late.found.session.version)
            spent = [form["refresh_token"] for form in provider.codes if "refresh_token" in form]
            assert ["refresh-of-code-1"] == spent
