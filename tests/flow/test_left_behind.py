"""What clients leave behind: a rotation that nobody waits for, a long user agent, an edited record."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from bff.session.sessions import Found, Sessions
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import Browser, World, running_world
from tests.support.tasks import background
from tests.support.wait import until


@pytest.mark.requirement("T-03", "T-02")
async def test_shutdown_waits_for_a_rotation_that_no_request_waits_for(redis_server: RedisServer) -> None:
    """The client has left, nothing else is in flight, the server stops: the new tokens are saved first."""
    async with running_world(redis_server) as world:
        browser = await world.signed_in()
        key = browser.session_key
        world.clock.ahead = 400
        world.issuer.seen.delay = 0.7
        async with background(browser.call("/api/orders")) as call:
            await until(lambda: world.refreshes == 1)
            call.cancel()
        await world.stop_proxy()
        assert "2" == world.redis.cli("HGET", key, "version")


async def test_a_user_agent_is_kept_at_a_sane_length(world: World) -> None:
    """The operator sees its beginning; a client cannot fill Redis with it."""
    browser = await world.browser()
    browser.client.headers["User-Agent"] = "Browser/1.0 " + "x" * 10_000
    await browser.sign_in()
    kept = world.redis.cli("HGET", browser.session_key, "ua")
    assert kept.startswith("Browser/1.0 xxx")
    assert 256 == len(kept)


@pytest.mark.requirement("B-27", "B-31")
async def test_an_edited_record_is_an_audit_event(world: World) -> None:
    """It names the session and whom the record claims to be of."""
    browser = await world.signed_in()
    world.redis.cli("HSET", browser.session_key, "sub", "mallory")
    with capture_logs() as lines:
        await browser.call("/api/orders")
    (event,) = (line for line in lines if line["event"] == "record_tampered")
    name = browser.session_key.removeprefix("bff:session:")[:12]
    assert (True, "mallory", name) == (event["audit"], event["sub"], event["session"])


OF_THE_SIGN_IN = {"acr", "auth_time"}
"""Kept always: a backend may ask for a stronger or fresher sign-in."""


async def kept_claims(world: World, browser: Browser) -> Mapping[str, Any]:
    """What the session holds of them."""
    assert browser.handle is not None
    sessions: Sessions = world.app.frontend.sessions
    found = await sessions.open(browser.handle)
    assert isinstance(found, Found)
    return found.session.claims


@pytest.mark.requirement("B-08")
@pytest.mark.parametrize(
    ("chosen", "shown"),
    [(None, {"sub", "auth_time", "name"}), (["name", "nonce", "email"], {"name", "nonce"})],
)
async def test_a_page_sees_no_claims_of_the_protocols(
    redis_server: RedisServer, chosen: list[str] | None, shown: set[str]
) -> None:
    """By default all but those; with `provider.claims` exactly what is listed. No other is kept.

    But what tells how the user signed in is.
    """
    async with running_world(redis_server, provider={"claims": chosen}) as world:
        browser = await world.signed_in()
        claims = json.loads((await browser.user()).text)["claims"]
        kept = await kept_claims(world, browser)
        assert claims == {name: kept[name] for name in kept if chosen is None or name not in OF_THE_SIGN_IN}
        assert 200 == (await browser.call("/bff/refresh", "POST")).status_code
        kept = await kept_claims(world, browser)
        assert kept.keys() <= claims.keys() | OF_THE_SIGN_IN  # a later ID token may tell less
        assert shown <= claims.keys()
        hidden = {"iss", "aud", "azp", "exp", "iat", "nbf", "nonce", "jti", "sid", "at_hash"} - shown
        assert set() == hidden & claims.keys()
        if chosen is not None:
            assert shown == claims.keys()
