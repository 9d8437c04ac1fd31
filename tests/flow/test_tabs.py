"""Several sign-ins of one browser at once."""

import asyncio
import re
from urllib.parse import urlsplit

import pytest

from tests.support.processes.world import Browser, World
from tests.support.providers.issuer import ALICE, BOB, async_sign_in_at

FINISH = "/bff/callback/finish"


async def up_to_the_callback_page(browser: Browser, who: tuple[str, str]) -> None:
    """Signs in as far as the callback, whose cookie now holds the provider's answer."""
    page = await browser.follow(await browser.client.get("/bff/login?prompt=login"))
    answer = await async_sign_in_at(page, browser.client, who)
    while not urlsplit(answer.headers["location"]).path.startswith("/bff/callback"):
        answer = await browser.client.get(answer.headers["location"])
    page = await browser.client.get(answer.headers["location"])
    assert re.match(r"0; url=/bff/callback/finish", page.headers["refresh"])


@pytest.mark.requirement("B-19", "O-11")
async def test_two_tabs_that_finish_at_the_same_moment_leave_one_session(world: World) -> None:
    """Neither has the other's cookie yet; of the two sessions one is ended at once."""
    browser = await world.browser()
    await up_to_the_callback_page(browser, ALICE)
    await up_to_the_callback_page(browser, BOB)
    await asyncio.gather(browser.client.get(FINISH), browser.client.get(FINISH))
    keys = world.redis.cli("--scan", "--pattern", "bff:session:*").split()
    assert 1 == len(keys)
    assert 2 == world.issuer.seen.token_calls["authorization_code"]
    reasons = world.redis.cli("--scan", "--pattern", "bff:ended:*").split()
    assert ["signed_in_again"] == [world.redis.cli("GET", key) for key in reasons]


@pytest.mark.requirement("B-19", "O-11")
async def test_two_tabs_one_after_the_other(world: World) -> None:
    """Both sign-ins were under way; the later one to finish is who is signed in."""
    browser = await world.browser()
    await up_to_the_callback_page(browser, ALICE)
    await up_to_the_callback_page(browser, BOB)
    await browser.client.get(FINISH)
    first = (await browser.user()).json()["sub"]
    await browser.client.get(FINISH)
    second = (await browser.user()).json()["sub"]
    assert {"alice", "bob"} == {first, second}
    assert 1 == len(world.redis.cli("--scan", "--pattern", "bff:session:*").split())


@pytest.mark.requirement("B-30")
async def test_many_tabs_do_not_outgrow_a_requests_head(world: World) -> None:
    """However long the addresses to come back to: what the browser has to send stays below 9 kB."""
    browser = await world.browser()
    for number in range(6):
        answer = await browser.client.get(
            "/bff/login", params={"return_to": f"/{number}/" + "x" * 1000, "acr_values": "y" * 500}
        )
        assert 302 == answer.status_code
    sent = "; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.client.cookies.jar)
    assert len(sent) < 9000


async def test_an_index_that_was_replaced_does_not_stand_in_the_way(world: World) -> None:
    """Somebody wrote a string where a user's sessions are listed: sign-in and rotation go on."""
    world.redis.cli("SET", "bff:user:main:alice", "x")
    browser = await world.signed_in()
    world.redis.cli("SET", "bff:user:main:alice", "x")
    assert 200 == (await browser.call("/bff/refresh", "POST")).status_code
    world.redis.cli("DEL", browser.session_key)
    world.redis.cli("RPUSH", browser.session_key.replace(":session:", ":ended:"), "x")
    answer = await browser.call("/api/orders")
    assert (401, "unknown") == (answer.status_code, answer.json()["reason"])


@pytest.mark.requirement("B-12")
async def test_our_endpoints_have_one_spelling(world: World) -> None:
    """An encoded letter in the path is no way around what is counted and guarded by the raw path."""
    browser = await world.signed_in()
    for path in ("/%62ff/user", "/b%66f/logout", "/bff;x/user"):
        answer = await browser.call(path)
        assert (400, "bad_request") == (answer.status_code, answer.json()["code"])
    refused = await browser.call("/bff/logout", "PUT")
    assert {"GET", "HEAD", "POST"} == set(refused.headers["allow"].replace(" ", "").split(","))
