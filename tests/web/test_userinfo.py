"""Claims that only the userinfo endpoint has, at a sign-in."""

import math
from typing import Any

import pytest

from bff.session.sessions import Found
from tests.support.processes.redis import RedisServer
from tests.support.providers.provider import ServedProvider
from tests.web.site import running_site

HERS = {"sub": "alice", "name": "Alicia", "email": "a@example.com", "sid": "evil", "acr": "high"}


async def shown(redis: RedisServer, provider: ServedProvider, **settings: Any) -> tuple[dict[str, Any], int]:
    """The claims after a sign-in, and how often the endpoint was asked."""
    async with running_site(redis, provider, **settings) as site:
        browser = site.browser()
        assert "/" == (await site.sign_in(browser)).headers["location"]
        handle = browser.session()
        assert handle is not None
        found = await site.sessions.open(handle)
        assert isinstance(found, Found)
        assert "provider-session" == found.session.sid
        return dict(found.session.claims), provider.paths.count("/userinfo")


@pytest.mark.requirement("P-08")
@pytest.mark.parametrize(
    ("settings", "email", "calls"),
    [
        ({}, "a@example.com", 1),
        ({"claims": ("name",)}, "a@example.com", 0),
        ({"claims": ("name", "email")}, "a@example.com", 1),
        ({"userinfo": "always", "claims": ("name",)}, "a@example.com", 1),
        ({"userinfo": "never"}, None, 0),
    ],
)
async def test_it_is_asked_for_what_is_wanted_and_missing(
    redis_server: RedisServer,
    provider: ServedProvider,
    settings: dict[str, Any],
    email: str | None,
    calls: int,
) -> None:
    """Once, and what the ID token says stays as the ID token says it."""
    provider.userinfo_answer = (200, HERS)
    claims, asked = await shown(redis_server, provider, **settings)
    told = email if calls else None
    assert (told, "Alice", None, calls) == (claims.get("email"), claims["name"], claims.get("acr"), asked)


@pytest.mark.requirement("P-08")
@pytest.mark.parametrize(
    "answer",
    [
        (200, HERS | {"sub": "bob"}),
        (200, {"email": "x"}),
        (200, ["x"]),
        (401, {}),
        (500, HERS),
        (302, HERS),
        (200, HERS | {"x": math.nan}),
    ],
)
async def test_an_answer_that_is_no_good_fails_no_sign_in(
    redis_server: RedisServer, provider: ServedProvider, answer: tuple[int, Any]
) -> None:
    """Another person's, none, or a refusal: people sign in, without those claims."""
    provider.userinfo_answer = answer
    claims, asked = await shown(redis_server, provider)
    assert ("Alice", None, 1) == (claims["name"], claims.get("email"), asked)
