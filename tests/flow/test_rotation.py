"""Rotation under everything that can come between: on real sockets, with a real provider."""

import asyncio
import contextlib
import json

import pytest
from joserfc import jwt

from bff.issuer.keys.keys import SigningKey
from tests.support.network.backend import Received, Reply
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import Browser, World, running_world
from tests.support.tasks import background
from tests.support.wait import until, until_async

pytestmark = pytest.mark.usefixtures("both_fronts")

EXPIRED = 400  # seconds: the tokens of these tests live 300
NEARLY = 290


async def code_of(browser: Browser) -> tuple[int, str, str | None]:
    """Status, code and reason of a call."""
    answer = await browser.call("/api/orders")
    document = answer.json()
    return answer.status_code, document.get("code"), document.get("reason")


@pytest.mark.requirement("T-02")
async def test_a_client_that_leaves_does_not_cancel_a_rotation(world: World) -> None:
    """The client goes away while the provider is asked: the new tokens are saved all the same."""
    browser = await world.signed_in()
    world.clock.ahead = EXPIRED
    world.issuer.seen.delay = 0.3
    async with background(browser.call("/api/orders")) as call:
        await until(lambda: world.refreshes == 1)
        call.cancel()
    await until(lambda: len(world.app.tasks) == 0)
    assert 1 == (await browser.user()).json()["session"]["rotations"]
    assert 200 == (await browser.call("/api/orders")).status_code
    assert 1 == world.refreshes


@pytest.mark.requirement("T-04")
@pytest.mark.parametrize("by", ["DEL", "logout"])
async def test_an_end_during_a_rotation_is_not_undone(world: World, by: str) -> None:
    """The session ends while the provider is asked: it stays ended, and the new tokens are revoked."""
    browser = await world.signed_in()
    key = browser.session_key
    world.clock.ahead = EXPIRED
    world.issuer.seen.held = True
    async with background(browser.call("/api/orders")) as call:
        await until(lambda: world.refreshes == 1)
        if by == "DEL":
            world.redis.cli("DEL", key)
        else:
            assert 200 == (await browser.call("/bff/logout", "POST")).status_code
        world.issuer.seen.held = False
        answer = await call
    assert (401, "session_ended") == (answer.status_code, answer.json()["code"])
    assert ("unknown" if by == "DEL" else "logout") == answer.json()["reason"]
    assert "0" == world.redis.cli("EXISTS", key)
    assert [] == world.backend.requests
    live = world.redis.cli("--scan", "--pattern", "issuer:family:*")
    assert "" == live, "a refresh token that came too late was not revoked"


@pytest.mark.requirement("T-05")
async def test_a_late_request_does_not_spend_the_former_token(world: World) -> None:
    """A 401 for the former token, heard after a rotation, is repeated with the newer one."""
    browser = await world.signed_in()
    late = asyncio.Event()

    async def handler(request: Received) -> Reply:
        if request.target == b"/late" and not late.is_set():
            await late.wait()
            return Reply(401)
        return Reply(body=b"ok")

    world.reply = handler
    async with background(browser.call("/api/late")) as call:
        await until(lambda: len(world.backend.requests) == 1)
        assert 200 == (await browser.call("/bff/refresh", "POST")).status_code
        late.set()
        assert 200 == (await call).status_code
    assert 1 == world.refreshes
    tokens = [request.values(b"authorization")[0] for request in world.backend.requests]
    assert tokens[0] != tokens[1]


@pytest.mark.requirement("T-06")
async def test_a_missing_refresh_token_keeps_the_old_one(world: World) -> None:
    """A provider that does not rotate leaves the token out; the next rotation uses the same."""
    browser = await world.signed_in()
    for number in (1, 2):
        fresh = {"access_token": f"opaque-{number}", "token_type": "Bearer", "expires_in": 300}
        world.issuer.seen.answer = (200, json.dumps(fresh).encode())
        world.clock.ahead += EXPIRED
        assert 200 == (await browser.call("/api/orders")).status_code
    sent = [form["refresh_token"] for _, _, form in world.issuer.seen.requests if "refresh_token" in form]
    assert (2, 1) == (len(sent), len(set(sent)))
    assert [b"Bearer opaque-2"] == world.backend.requests[-1].values(b"authorization")


@pytest.mark.requirement("T-07", "B-16")
async def test_only_invalid_grant_ends_the_session(world: World) -> None:
    """Errors of every other kind are 503 and leave the session alone; invalid_grant ends it."""
    browser = await world.signed_in()
    world.clock.ahead = EXPIRED
    for status, body in (
        (500, b"{}"),
        (429, b'{"error":"slow_down"}'),
        (401, b'{"error":"invalid_client"}'),
        (400, b'{"error":"invalid_request"}'),
        (200, b"no json"),
        (200, b'{"token_type":"Bearer"}'),
    ):
        world.issuer.seen.answer = (status, body)
        world.clock.ahead += 60  # past the back-off
        code = "provider_refused_client" if b"invalid_client" in body else "provider_unavailable"
        assert (503, code, None) == await code_of(browser)
    world.issuer.seen.answer = (400, b'{"error":"invalid_grant"}')
    world.clock.ahead += 60
    status, code, reason = await code_of(browser)
    assert (401, "session_ended") == (status, code)
    assert reason in {"invalid_grant", "refresh_lost"}
    assert "0" == world.redis.cli("EXISTS", browser.session_key)


@pytest.mark.requirement("T-08")
async def test_the_old_token_serves_while_the_provider_is_down(world: World) -> None:
    """Provider gone: 200 with the old token until its end, then 503; back again: 200, nobody signed out."""
    browser = await world.signed_in()
    world.issuer.stop()
    world.clock.ahead = NEARLY
    assert 200 == (await browser.call("/api/orders")).status_code
    world.clock.ahead = EXPIRED
    assert (503, "provider_unavailable", None) == await code_of(browser)
    world.issuer.start()
    world.clock.ahead += 60
    assert 200 == (await browser.call("/api/orders")).status_code
    assert 1 == (await browser.user()).json()["session"]["rotations"]


async def test_a_provider_that_fails_is_not_asked_by_every_request(world: World) -> None:
    """After a failure the provider rests: twenty calls ask it once, and once more for the lost answer."""
    browser = await world.signed_in()
    world.issuer.seen.answer = (500, b"{}")
    world.clock.ahead = EXPIRED
    world.clock.stop()
    for _ in range(20):
        answer = await browser.call("/api/orders")
        assert 503 == answer.status_code
        assert int(answer.headers["retry-after"]) >= 1
    assert 2 == world.refreshes


@pytest.mark.requirement("T-09")
async def test_an_answer_that_was_lost_is_diagnosed(world: World) -> None:
    """The provider rotated, and no answer ever came: tried again, then the session says why it ends."""
    browser = await world.signed_in()
    world.clock.ahead = EXPIRED
    world.issuer.seen.drop_answers = True
    assert (503, "provider_unavailable", None) == await code_of(browser)
    world.issuer.seen.drop_answers = False
    world.clock.ahead += 60
    assert (401, "session_ended", "refresh_lost") == await code_of(browser)
    assert (401, "session_ended", "refresh_lost") == await code_of(browser)
    assert 3 == world.refreshes


@pytest.mark.requirement("T-09")
async def test_a_process_that_died_before_it_asked_costs_nothing(world: World) -> None:
    """A marker left behind by a process that never sent the token: the next one simply rotates."""
    browser = await world.signed_in()
    world.redis.cli("HSET", browser.session_key, "refreshing", "1800000000.000 4711")
    world.clock.ahead = EXPIRED
    assert 200 == (await browser.call("/api/orders")).status_code
    assert "" == world.redis.cli("HGET", browser.session_key, "refreshing")


@pytest.mark.requirement("T-10")
async def test_redis_gone_in_the_middle_of_a_rotation(redis_server: RedisServer) -> None:
    """The provider has rotated and the store is down: the tokens are kept until it is back."""
    async with running_world(redis_server, refresh={"timeout": 0.5}) as world:
        browser = await world.signed_in()
        key, seen = browser.session_key, world.issuer.seen
        world.clock.ahead = EXPIRED
        fresh = {"access_token": "opaque", "token_type": "Bearer", "expires_in": 300, "refresh_token": "next"}
        seen.answer, seen.delay = (200, json.dumps(fresh).encode()), 0.4
        async with background(browser.call("/api/orders")) as call:
            await until(lambda: world.refreshes == 1)
            world.redis.stop()
            assert 503 == (await call).status_code
        world.redis.start()
        await until(lambda: world.redis.cli("HGET", key, "version") == "2")
        assert 200 == (await browser.call("/api/orders")).status_code
        assert [b"Bearer opaque"] == world.backend.requests[-1].values(b"authorization")
        assert 1 == world.refreshes


@pytest.mark.requirement("T-03")
async def test_shutdown_waits_for_a_rotation(redis_server: RedisServer) -> None:
    """The server stops while the provider is asked: the new tokens are in the store when it has stopped."""
    async with running_world(redis_server) as world:
        browser = await world.signed_in()
        key = browser.session_key
        world.clock.ahead = EXPIRED
        world.issuer.seen.delay = 0.5
        async with background(browser.call("/api/orders")) as call:
            await until(lambda: world.refreshes == 1)
            await world.stop_proxy()
            with contextlib.suppress(Exception):
                await call
        assert "2" == world.redis.cli("HGET", key, "version")


@pytest.mark.requirement("T-11")
async def test_a_young_token_is_not_rotated_for_a_401(redis_server: RedisServer) -> None:
    """An endpoint that says 401 for reasons of its own rotates nothing."""
    async with running_world(redis_server, refresh={"min_age_for_401": 30}) as world:

        async def handler(_: Received) -> Reply:
            return Reply(401, body=b"wrong password")

        world.reply = handler
        browser = await world.signed_in()
        for _ in range(5):
            answer = await browser.call("/api/password", "POST")
            assert (401, "1") == (answer.status_code, answer.headers["bff-upstream"])
        assert 0 == world.refreshes


async def test_a_page_can_ask_for_rotation(redis_server: RedisServer) -> None:
    """POST /bff/refresh rotates and answers as /bff/user does, within its limit."""
    async with running_world(redis_server, limits={"refresh_per_minute": 1}) as world:
        browser = await world.signed_in()
        answer = await browser.call("/bff/refresh", "POST")
        assert (200, 1) == (answer.status_code, answer.json()["session"]["rotations"])
        answer = await browser.call("/bff/refresh", "POST")
        assert (429, "rate_limited") == (answer.status_code, answer.json()["code"])
        assert '"refresh";q=1;w=60' == answer.headers["ratelimit-policy"]


@pytest.mark.requirement("B-36", "B-21")
async def test_watching_does_not_keep_a_session_alive(redis_server: RedisServer) -> None:
    """`slide=false` leaves the idle timeout alone; a call slides it; at its end the session is over."""
    async with running_world(redis_server, session={"idle_timeout": 100}) as world:
        browser = await world.signed_in()
        world.clock.ahead = 60
        watched = (await browser.user()).json()["session"]["idle_expires_in"]
        assert watched <= 40
        assert 200 == (await browser.call("/api/orders")).status_code

        async def is_noted() -> bool:
            left: int = (await browser.user()).json()["session"]["idle_expires_in"]
            return left > 90

        await until_async(is_noted)
        assert 200 == (await browser.call("/bff/user")).status_code
        assert int(world.redis.cli("TTL", browser.session_key)) > 90
        world.redis.cli("PEXPIRE", browser.session_key, "1")
        await until(lambda: world.redis.cli("EXISTS", browser.session_key) == "0")
        assert 401 == (await browser.call("/api/orders")).status_code


@pytest.mark.requirement("B-36", "B-21")
async def test_a_page_is_told_of_the_use_that_was_just_made(redis_server: RedisServer) -> None:
    """/bff/user right behind a call, whose note may wait for others: the idle time is whole again."""
    async with running_world(redis_server, session={"idle_timeout": 100}) as world:
        browser = await world.signed_in()
        world.clock.ahead = 60
        assert 200 == (await browser.call("/api/orders")).status_code
        told = (await browser.call("/bff/user")).json()["session"]
        assert told["idle_expires_in"] > 90
        assert int(world.redis.cli("TTL", browser.session_key)) > 90


@pytest.mark.requirement("B-21")
async def test_the_absolute_lifetime_ends_a_session(redis_server: RedisServer) -> None:
    """However busy, a session ends at its end."""
    async with running_world(redis_server, session={"max_lifetime": 3600}) as world:
        browser = await world.signed_in()
        world.clock.ahead = 3601
        assert (401, "session_expired", "max_lifetime") == await code_of(browser)
        assert (401, "session_expired", "max_lifetime") == await code_of(browser)


@pytest.mark.requirement("T-13")
@pytest.mark.parametrize(("claim", "value"), [("sub", "mallory"), ("iss", "https://evil.example")])
async def test_a_refreshed_identity_that_is_another_ends_the_session(
    redis_server: RedisServer, claim: str, value: str
) -> None:
    """A validly signed ID token that names somebody or somewhere else: the session ends."""
    key = SigningKey.generate()
    async with running_world(redis_server, issuer_key=key) as world:
        browser = await world.signed_in()
        sub = (await browser.user()).json()["sub"]
        world.clock.ahead = EXPIRED
        now = world.clock()
        claims = {"iss": world.issuer.url, "sub": sub, "aud": world.issuer.client_id}
        claims |= {"iat": now, "exp": now + 300, claim: value}
        id_token = jwt.encode(key.header("JWT"), claims, key.private)
        fresh = {"access_token": "opaque", "token_type": "Bearer", "expires_in": 300, "id_token": id_token}
        world.issuer.seen.answer = (200, json.dumps(fresh).encode())
        assert (401, "session_ended", "identity_changed") == await code_of(browser)
        assert [] == world.backend.requests


async def test_a_refreshed_id_token_that_cannot_be_checked_costs_no_session(world: World) -> None:
    """Tokens that came beside an ID token with a bad signature are kept, and so are the former claims."""
    browser = await world.signed_in()
    before = (await browser.user()).json()["claims"]
    fresh = {"access_token": "opaque", "token_type": "Bearer", "expires_in": 300, "id_token": "a.b.c"}
    world.issuer.seen.answer = (200, json.dumps(fresh).encode())
    world.clock.ahead = EXPIRED
    assert 200 == (await browser.call("/api/orders")).status_code
    assert [b"Bearer opaque"] == world.backend.requests[-1].values(b"authorization")
    assert before == (await browser.user()).json()["claims"]
