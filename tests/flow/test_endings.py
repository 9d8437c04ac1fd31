"""How sign-ins and sessions end, as seen from outside."""

import re
import time

import pytest

from tests.support.processes.world import Browser, World


@pytest.mark.requirement("B-27")
async def test_a_failed_sign_in_is_counted(world: World) -> None:
    """An error of the provider's, a lost transaction, a provider that is down: each is a failed sign-in."""
    browser = await world.browser()
    await browser.client.get("/bff/login")
    answer = {"state": pushed_state(world), "error": "access_denied", "iss": world.issuer.url}
    await browser.follow(await browser.client.get("/bff/callback", params=answer))
    assert 1 == failed(world)
    await browser.client.get("/bff/callback/finish?retry=no")
    assert 2 == failed(world)

    await browser.client.get("/bff/login")
    answer = {"state": pushed_state(world), "code": "x", "iss": world.issuer.url}
    world.issuer.stop()
    last = await browser.follow(await browser.client.get("/bff/callback", params=answer))
    assert "provider_unavailable" == last.json()["code"]
    assert 3 == failed(world)


def pushed_state(world: World) -> str:
    """The `state` of the last sign-in: the request for it was pushed, so the browser does not see it."""
    return next(form["state"] for _, path, form in reversed(world.issuer.seen.requests) if path == "/par")


def failed(world: World) -> int:
    counted = re.search(r'bff_logins_total\{outcome="failed"\} (\d+)', world.app.metrics.render()[0].decode())
    assert counted is not None
    return int(counted[1])


def left(world: World, browser: Browser) -> float:
    """Seconds until the session's absolute end, by the real clock."""
    return float(world.redis.cli("HGET", browser.session_key, "ends")) - time.time()


@pytest.mark.requirement("B-21")
async def test_a_session_ends_at_its_absolute_timeout(world: World) -> None:
    """Use prolongs it no further: a record that is still there after `ends` is no session, on any path."""
    for path in ("/bff/user", "/api/orders"):
        browser = await world.signed_in()
        ttl = world.redis.cli("PTTL", browser.session_key)
        assert 0 < int(ttl) <= 30 * 60 * 1000
        world.clock.ahead = left(world, browser) + 1
        assert "1" == world.redis.cli("EXISTS", browser.session_key)
        answer = await browser.call(path)
        assert (401, "session_expired", "max_lifetime") == (
            answer.status_code,
            answer.json()["code"],
            answer.json()["reason"],
        )
        assert "0" == world.redis.cli("EXISTS", browser.session_key)
        world.clock.ahead = 0
    assert [] == world.backend.requests


@pytest.mark.requirement("B-21", "B-36")
async def test_use_slides_the_idle_timeout_never_past_the_end(world: World) -> None:
    """A call prolongs the record's life to the idle timeout, `slide=false` does not; none beyond `ends`."""
    browser = await world.signed_in()
    world.redis.cli("PEXPIRE", browser.session_key, "600000")
    world.clock.ahead = 120
    await browser.call("/bff/user?slide=false")
    assert 600_000 >= int(world.redis.cli("PTTL", browser.session_key))
    await browser.call("/bff/user")
    assert 600_000 < int(world.redis.cli("PTTL", browser.session_key)) <= 30 * 60 * 1000
    while world.clock.ahead < left(world, browser) - 100:
        world.clock.ahead = min(world.clock.ahead + 1700, left(world, browser) - 100)
        assert 200 == (await browser.call("/bff/user")).status_code
    assert 0 < int(world.redis.cli("PTTL", browser.session_key)) <= 100_000
