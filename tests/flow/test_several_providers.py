"""Several providers for one page: each signs in, rotates, revokes and ends its own sessions."""

from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from structlog.testing import capture_logs

from bff.app import App
from bff.embedded import free_port
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import Browser, World, running_world, serving
from tests.support.providers.issuer import read_form
from tests.support.wait import until

pytestmark = pytest.mark.requirement("P-01")
NAVIGATION = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}


@pytest.fixture(name="world")
async def _world(redis_server: RedisServer) -> AsyncIterator[World]:
    async with running_world(
        redis_server, told_of_logouts=True, provider={"par": "never"}, others={"partners": {}}
    ) as world:
        yield world


def record(world: World, browser: Browser) -> dict[str, str]:
    with world.redis.client() as client:
        return dict(client.hgetall(browser.session_key))


def query(answer: httpx.Response) -> dict[str, str]:
    pairs = parse_qs(urlsplit(answer.headers["location"]).query)
    return {name: values[0] for name, values in pairs.items()}


@pytest.mark.usefixtures("both_fronts")
async def test_each_session_keeps_to_its_provider(world: World) -> None:
    """Choice at login, rotation, outage, revocation and sign-out: nothing of one touches the other."""
    partners, main = world.others["partners"], world.issuer
    staff, guest = await world.browser(), await world.browser()
    refused = await staff.client.get("/bff/login?provider=unknown", headers=NAVIGATION)
    assert (400, True) == (refused.status_code, "main, partners" in refused.text)
    twice = await staff.client.get("/bff/login?provider=main&provider=partners", headers=NAVIGATION)
    assert 400 == twice.status_code
    login = await staff.client.get("/bff/login", headers=NAVIGATION)
    assert login.headers["location"].startswith(main.url)
    assert f"{world.url}/bff/callback/main" == query(login)["redirect_uri"]
    await staff.sign_in()
    await guest.sign_in(provider="partners")
    assert ("main", "partners") == (record(world, staff)["provider"], record(world, guest)["provider"])

    world.clock.ahead = 400  # both tokens are over, and the first provider is away
    main.stop()
    with capture_logs() as lines:
        assert (503, 200) == (
            (await staff.call("/api/orders")).status_code,
            (await guest.call("/api/orders")).status_code,
        )
    assert ["main"] == [line["provider"] for line in lines if line["event"] == "provider_left_alone"]
    assert (0, 1) == (main.seen.token_calls["refresh_token"], partners.seen.token_calls["refresh_token"])
    main.start()
    world.clock.ahead = 500
    assert 200 == (await staff.call("/bff/refresh", "POST")).status_code

    left = (await guest.call("/bff/logout", "POST")).json()
    assert (True, True) == (left["provider_revoked"], left["provider_sign_out"])
    away = await guest.client.get(left["redirect"], headers=NAVIGATION)
    assert away.headers["location"].startswith(partners.url)
    assert 200 == (await staff.user()).status_code


async def test_a_code_of_another_provider_is_refused(world: World) -> None:
    """Mix-up: an answer that comes to the other's callback, or names the other, is spent nowhere."""
    browser = await world.browser()
    for path, iss in (("partners", world.issuer.url), ("main", world.others["partners"].url), ("", "")):
        login = await browser.client.get("/bff/login", headers=NAVIGATION)
        answer = {"code": "another-provider's", "state": query(login)["state"], "iss": iss}
        callback = f"/bff/callback/{path}".rstrip("/")
        landed = await browser.client.get(callback, params=answer, headers=NAVIGATION)
        finished = await browser.client.get("/bff/callback/finish", headers=NAVIGATION)
        assert (200, "/?bff_error=login_failed") == (landed.status_code, finished.headers["location"])
    calls = world.issuer.seen.token_calls + world.others["partners"].seen.token_calls
    assert 0 == calls["authorization_code"]
    assert browser.handle is None


async def test_a_sign_out_at_one_provider_is_none_at_the_other(world: World) -> None:
    """The same `sub` at both, and a logout token of one: the other's session goes on."""
    staff, guest = await world.browser(), await world.browser()
    await staff.sign_in()
    await guest.sign_in(provider="partners")
    key = guest.session_key
    page = await guest.client.get(f"{world.others['partners'].url}/end-session")
    action, csrf = read_form(page)
    assert "Signed out" in (await guest.client.post(action, data={"csrf": csrf})).text
    with world.redis.client() as client:
        await until(lambda: not client.exists(key))
    over = await guest.user()
    assert ("session_ended", "provider_logout") == (over.json()["code"], over.json()["reason"])
    assert 200 == (await staff.user()).status_code


async def test_a_session_of_a_removed_provider_is_over(world: World) -> None:
    """After a restart without its provider it ends, with a reason of its own; the others' go on."""
    staff, guest = await world.browser(), await world.browser()
    await staff.sign_in()
    await guest.sign_in(provider="partners")
    fewer = App(world.app.settings.model_copy(update={"more_providers": ()}), clock=world.clock)
    port = free_port()
    async with serving(fewer, port):
        for browser, told in (
            (guest, (401, "session_ended", "provider_removed")),
            (staff, (200, None, None)),
        ):
            cookie = {"Cookie": f"bff={browser.handle}", "Host": f"localhost:{world.port}"}
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                answer = await client.get("/api/orders", headers={**cookie, "X-CSRF": "1"})
            body = answer.json()
            assert told == (answer.status_code, body.get("code"), body.get("reason"))


async def test_a_page_lets_a_person_choose(redis_server: RedisServer) -> None:
    """No script, a title for each, and the rest of the query in each link; a named one needs no page."""
    async with running_world(
        redis_server, server={"choose_provider": True}, others={"partners": {"title": "Partners & <friends>"}}
    ) as world:
        browser = await world.browser()
        page = await browser.client.get("/bff/login?return_to=/orders%3Fa=1", headers=NAVIGATION)
        assert (200, "no-store") == (page.status_code, page.headers["cache-control"])
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "Partners &amp; &lt;friends&gt;" in page.text
        assert '"/bff/login?return_to=%2Forders%3Fa%3D1&amp;provider=partners"' in page.text
        assert "<script" not in page.text
        chosen = await browser.client.get("/bff/login?provider=partners", headers=NAVIGATION)
        assert chosen.headers["location"].startswith(world.others["partners"].url)
