"""Sessions bound to a device, through the whole proxy, with the requests that Chromium makes."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.support.device import REFRESH, REGISTER, Device, bound, challenge_in, new_key, public, signed
from tests.support.network.backend import Received, Reply
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import Browser, World, running_world
from tests.support.wait import until_async

pytestmark = pytest.mark.requirement("P-12")
OVER = 331.0  # seconds after which a proof of five minutes is over
BOUND_ROUTE = {"path": "/api/payments", "bound": True}


@pytest.fixture(name="world")
async def _world(redis_server: RedisServer) -> AsyncIterator[World]:
    offered = {"device_binding": "offered"}
    async with running_world(redis_server, routes=[BOUND_ROUTE], session=offered) as world:
        yield world


def refusal(answer: httpx.Response) -> tuple[int, str, str]:
    return answer.status_code, answer.json()["code"], answer.json().get("reason")


UNPROVED = (401, "binding_required", "not_proved")
UNBOUND = (401, "binding_required", "not_bound")


async def thief_of(world: World, browser: Browser) -> Browser:
    """Another browser, with all cookies of this one."""
    thief = await world.browser()
    for cookie in browser.client.cookies.jar:
        thief.client.cookies.jar.set_cookie(cookie)
    return thief


@pytest.mark.usefixtures("both_fronts")
async def test_copied_cookies_die_with_the_proof(world: World) -> None:
    """Whoever has all cookies has them for the bound time; the browser goes on, through a rotation too."""
    browser = await world.signed_in()
    device = await bound(browser)
    thief = await thief_of(world, browser)
    assert [200, 200] == [(await each.call("/api/orders")).status_code for each in (thief, browser)]
    before = len(world.backend.requests)
    world.clock.ahead = OVER
    for path in ("/api/orders", "/api/payments", "/bff/user", "/bff/user?anonymous=ok", "/bff/events"):
        assert UNPROVED == refusal(await thief.call(path)), path
    assert UNPROVED == refusal(await thief.call("/bff/refresh", "POST"))
    assert (before, 0) == (len(world.backend.requests), world.refreshes)
    assert 200 == (await device.refresh()).status_code
    for path in ("/api/orders", "/api/payments", "/bff/user"):
        assert 200 == (await browser.call(path)).status_code, path
        assert UNPROVED == refusal(await thief.call(path)), path
    assert 1 == world.refreshes
    world.clock.ahead = 2 * OVER
    assert 200 == (await device.refresh()).status_code
    assert 200 == (await browser.call("/api/orders")).status_code


@pytest.mark.usefixtures("both_fronts")
async def test_an_unbound_session_is_as_ever_where_binding_is_offered(world: World) -> None:
    """A browser that does not know the offer notices nothing, but on a route for bound sessions."""
    browser = await world.signed_in()
    assert UNBOUND == refusal(await browser.call("/api/payments"))
    world.clock.ahead = OVER
    browser.client.cookies.delete("bff-bound")
    assert 200 == (await browser.call("/api/orders")).status_code
    assert UNBOUND == refusal(await browser.call("/api/payments"))
    world.clock.ahead = 0.0
    await bound(browser)
    assert 200 == (await browser.call("/api/payments")).status_code
    assert b"/payments" not in b"".join(each.target for each in world.backend.requests[:1])


@pytest.mark.usefixtures("both_fronts")
async def test_where_binding_is_required_the_sign_in_lasts_until_the_first_proof_is_over(
    redis_server: RedisServer,
) -> None:
    """A browser has that long to register; without it the session opens to nothing."""
    async with running_world(redis_server, session={"device_binding": "required"}) as world:
        browser, other = await world.signed_in(), await world.signed_in()
        device = await bound(browser)
        assert [200, 200] == [(await each.call("/api/orders")).status_code for each in (browser, other)]
        world.clock.ahead = OVER
        assert UNBOUND == refusal(await other.call("/api/orders"))
        assert UNPROVED == refusal(await browser.call("/api/orders"))
        assert 200 == (await device.refresh()).status_code
        assert 200 == (await browser.call("/api/orders")).status_code


async def test_a_registration_is_refused_unless_it_is_the_one(world: World) -> None:
    """A replayed, foreign, late or ill-signed one binds nothing, and unbinds nothing."""
    browser, other = await world.signed_in(), await world.signed_in()
    device, stranger = Device(browser), Device(other)
    key, mine, theirs = device.key, device.invitation, stranger.invitation
    jwk = {"jwk": public(key)}
    wrong = [
        signed(key, mine),  # no key
        signed(key, mine, header={"jwk": public(new_key())}),  # another one's
        signed(key, mine, header=jwk, aud="https://evil.example/bff/dbsc/register"),
        signed(key, mine[:-1] + ("A" if mine[-1] != "A" else "B"), header=jwk),
        signed(key, "x", header=jwk),
        signed(key, mine, header=jwk, pad="x" * 5000),
        "not a token",
        "",
    ]
    for proof in wrong:
        assert (400, "bad_request") == refusal(await device.post(REGISTER, proof))[:2], proof[:40]
    assert (400, "bad_request") == refusal(await device.post(REGISTER, None))[:2]
    world.clock.ahead = 700.0  # the session lives, the challenge does not
    late = await device.post(REGISTER, signed(key, mine, header=jwk))
    assert (400, "bad_request") == refusal(late)[:2]
    assert 200 == (await browser.call("/bff/user?slide=false")).status_code
    world.clock.ahead = 0.0
    good = signed(key, mine, header=jwk, aud=f"{world.url}{REGISTER}")
    foreign = await device.post(REGISTER, good, Origin="https://evil.example")
    assert (403, "csrf_rejected") == refusal(foreign)[:2]
    cross = await device.post(REGISTER, good, **{"Sec-Fetch-Site": "cross-site"})
    assert (403, "csrf_rejected") == refusal(cross)[:2]
    assert UNBOUND == refusal(await browser.call("/api/payments"))
    assert 200 == (await device.register()).status_code
    again = await device.register()
    assert 403 == again.status_code  # its answer may have been lost: the same key may sign once more
    renewed = await device.post(REGISTER, signed(key, challenge_in(again), header=jwk))
    assert (200, True) == (renewed.status_code, "set-cookie" in renewed.headers)
    for another in (signed(new := new_key(), mine, header={"jwk": public(new)}), good):
        answer = await device.post(REGISTER, another)
        assert "set-cookie" not in answer.headers
        assert answer.status_code in {400, 403}
    # A challenge binds the session that it was made for, whoever brings it.
    assert 200 == (await stranger.post(REGISTER, signed(key, theirs, header=jwk))).status_code
    assert 200 == (await browser.call("/api/payments")).status_code


async def test_a_renewal_is_refused_unless_its_key_signs_a_challenge_of_its_own(world: World) -> None:
    """The wrong key gets nothing; the right one with a wrong challenge gets the next challenge, no cookie."""
    browser, other = await world.signed_in(), await world.signed_in()
    device, stranger = await bound(browser), await bound(other)
    challenge = challenge_in(await device.ask())
    stolen = signed(device.key, challenge)
    for proof in (signed(new_key(), challenge), signed(device.key, challenge, aud="https://x")):
        assert (400, "bad_request") == refusal(await device.prove(proof))[:2]
    for cut in ("nonsense", stolen[:200]):
        answer = await device.prove(cut)  # at 400 the browser would forget its key for what another has cut
        assert (403, False) == (answer.status_code, "set-cookie" in answer.headers), cut
        assert challenge_in(answer)
    assert 200 == (await device.prove(stolen)).status_code
    asked_again = [
        stolen,
        signed(device.key, challenge_in(await stranger.ask())),
        signed(device.key, device.invitation),
        signed(device.key, "x"),
    ]
    for proof in asked_again:
        answer = await device.prove(proof)
        assert (403, False) == (answer.status_code, "set-cookie" in answer.headers)
        assert challenge_in(answer)
    stale = challenge_in(await device.ask())
    world.clock.ahead = 700.0
    assert 403 == (late := await device.prove(signed(device.key, stale))).status_code
    assert 200 == (await device.prove(signed(device.key, challenge_in(late)))).status_code
    for session in ("", "x", stranger.session[:-1], stranger.session.upper() + "A"):
        headers = {"Sec-Secure-Session-Id": session}
        assert (400, "bad_request") == refusal(await device.post(REFRESH, None, **headers))[:2]
    unknown = await device.post(REFRESH, None, **{"Sec-Secure-Session-Id": "0" * 64})
    assert {"session_identifier": "0" * 64, "continue": False} == unknown.json()
    wrong = await browser.call(REFRESH)
    assert (405, "POST") == (wrong.status_code, wrong.headers["allow"])


async def test_renewals_at_once_all_lead_to_a_proof(world: World) -> None:
    """Tabs that renew at once, by one challenge or by several, are renewed or asked once more."""
    browser = await world.signed_in()
    device = await bound(browser)
    challenges = [challenge_in(answer) for answer in await asyncio.gather(*(device.ask() for _ in range(8)))]
    answers = await asyncio.gather(*(device.prove(signed(device.key, each)) for each in challenges))
    assert {200} == {each.status_code for each in answers}
    one = signed(device.key, challenge_in(await device.ask()))
    answers = await asyncio.gather(*(device.prove(one) for _ in range(8)))
    assert [200, *[403] * 7] == sorted(each.status_code for each in answers)
    again = [challenge_in(each) for each in answers if each.status_code == 403]
    answers = await asyncio.gather(*(device.prove(signed(device.key, each)) for each in again))
    assert {200} == {each.status_code for each in answers}
    world.clock.ahead = OVER - 5
    assert 200 == (await browser.call("/api/orders")).status_code


async def test_an_address_proves_devices_so_often(redis_server: RedisServer) -> None:
    """Registrations and renewals count together, good or not; beyond them nothing is read of a proof."""
    offered, limits = {"device_binding": "offered"}, {"device_per_minute": 3, "timeout": 20}
    async with running_world(redis_server, session=offered, limits=limits) as world:
        browser = await world.signed_in()
        device = await bound(browser)
        assert 403 == (await device.prove("nonsense")).status_code
        proof = signed(device.key, challenge_in(await device.ask()))
        for refused in (await device.prove(proof), await device.post(REGISTER, "nonsense")):
            assert (503, b"") == (refused.status_code, refused.content)  # a 429 would end the browser's key
            assert 0 < int(refused.headers["retry-after"]) <= 20
            assert "set-cookie" not in refused.headers
        assert 200 == (await browser.call("/api/orders")).status_code
        world.redis.cli("DEL", *world.redis.cli("--scan", "--pattern", "bff:rate:*").split())
        assert 'bff_rate_limited_total{limit="device"} 2.0' in world.app.metrics.render()[0].decode()


async def test_a_failing_redis_puts_a_renewal_off(redis_server: RedisServer) -> None:
    """503 while Redis is away, for the renewal and for calls; afterwards all goes on where it was."""
    binding = {"device_binding": "offered"}
    async with running_world(redis_server, session=binding) as world:
        browser, late = await world.signed_in(), await world.signed_in()
        device, waiting = await bound(browser), Device(late)
        proof = signed(device.key, device.next)
        world.clock.ahead = OVER
        redis_server.stop()
        assert (503, "store_unavailable") == refusal(await device.prove(proof))[:2]
        assert (503, "store_unavailable") == refusal(await waiting.register())[:2]
        assert (503, "store_unavailable") == refusal(await browser.call("/api/orders"))[:2]
        redis_server.start()
        await until_async(partial(_taken, device, proof))
        assert 200 == (await browser.call("/api/orders")).status_code
        assert 200 == (await waiting.register()).status_code


async def _taken(device: Device, proof: str) -> bool:
    answer = await device.prove(proof)
    assert answer.status_code in {200, 503}
    return answer.status_code == 200


async def test_a_sign_out_ends_the_binding(world: World) -> None:
    """The proof is cleared with the session, and the browser is told to forget its key."""
    browser = await world.signed_in()
    device = await bound(browser)
    world.clock.ahead = OVER  # also by a browser that could not renew its proof
    assert 200 == (await browser.call("/bff/logout", "POST")).status_code
    assert [] == [cookie.name for cookie in browser.client.cookies.jar if cookie.name.startswith("bff-bound")]
    assert {"session_identifier": device.session, "continue": False} == (await device.ask()).json()
    assert 400 == (await device.register()).status_code


@pytest.mark.requirement("B-08", "L-01")
async def test_a_sign_out_without_a_proof_tells_nobody_who_it_was(world: World) -> None:
    """Copied cookies whose proof is over may end the session, and get no ID token and no `sub` for it."""
    for proved in (True, False):
        browser = await world.signed_in()
        await bound(browser)
        asks = browser if proved else await thief_of(world, browser)
        world.clock.ahead += 0.0 if proved else OVER
        assert True is (await asks.call("/bff/logout", "POST")).json()["provider_sign_out"]
        left = await asks.client.get("/bff/logout/continue")
        told = {"client_id", "post_logout_redirect_uri", *(["id_token_hint"] if proved else [])}
        assert told == set(parse_qs(urlsplit(left.headers["location"]).query))


async def test_a_sign_in_in_the_same_browser_binds_anew(world: World) -> None:
    """A step-up goes on under a new id: the browser is invited again, and its former key is over."""
    browser = await world.signed_in()
    former = await bound(browser)
    await browser.follow(await browser.client.get("/bff/login?step_up=1&max_age=60"))
    assert {"session_identifier": former.session, "continue": False} == (await former.ask()).json()
    assert 200 == (await browser.call("/api/orders")).status_code
    assert UNBOUND == refusal(await browser.call("/api/payments"))
    await bound(browser)
    assert 200 == (await browser.call("/api/payments")).status_code


async def test_what_others_do_in_redis(world: World, capfd: pytest.CaptureFixture[str]) -> None:
    """Another device written into a record opens nothing; one that was lost ends the binding alone."""
    browser = await world.signed_in()
    device = await bound(browser)
    listed = (await browser.call("/bff/sessions")).json()["sessions"]
    assert [True] == [each["bound"] for each in listed]
    world.redis.cli("HDEL", browser.session_key, "device")
    assert {"session_identifier": device.session, "continue": False} == (await device.ask()).json()
    assert 200 == (await browser.call("/api/orders")).status_code
    world.redis.cli("HSET", browser.session_key, "device", '{"kty":"EC"} x')
    assert {"session_identifier": device.session, "continue": False} == (await device.ask()).json()
    assert (401, "session_ended", "tampered") == refusal(await browser.call("/bff/user"))
    told = capfd.readouterr().out
    assert [1, 1] == [told.count(event) for event in ("session_bound", "binding_lost")]
    assert "record_tampered" in told


async def test_no_token_goes_to_a_route_that_is_not_proved(world: World) -> None:
    """Neither to a backend, nor by a repeat after its 401."""

    async def answer(_: Received) -> Reply:
        return Reply(status=401)

    browser = await world.signed_in()
    await bound(browser)
    world.reply, world.clock.ahead = answer, OVER
    assert UNPROVED == refusal(await browser.call("/api/orders"))
    assert [] == world.backend.requests
