"""Plain calls, and who makes them: each with its own session's token, for as long as there is one."""

import asyncio
import gc

import pytest
from structlog.testing import capture_logs

from tests.support.load.warm import (
    GET,
    Caller,
    Plain,
    warm_caller,
)
from tests.support.network.backend import Received, Reply
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import World, running_world
from tests.support.wait import until


@pytest.mark.requirement("B-32", "B-33")
async def test_one_connection_for_several_users(world: World, plain: Plain) -> None:
    """As behind a reverse proxy: each call goes and is logged as its own cookie's session."""
    browsers = [await world.signed_in() for _ in range(2)]
    cookies = [f"bff={browser.handle}" for browser in browsers]
    ids = [browser.session_key.rpartition(":")[2][:12] for browser in browsers]
    caller = await Caller.connected(world, None)
    bearers = []
    with capture_logs() as lines:
        for cookie in cookies:
            for _ in range(4):
                assert 200 == (await caller.call(cookie=cookie)).status
            bearers.append(world.backend.requests[-1].values(b"authorization"))
        assert plain.sent >= 2
        for cookie in cookies * 4:
            assert 200 == (await caller.call(cookie=cookie)).status
        for cookie in cookies * 2:
            caller.writer.write(caller.head(cookie=cookie))
        for _ in cookies * 2:
            assert 200 == (await caller.answer()).status
    assert bearers[0] != bearers[1]
    sent = [request.values(b"authorization") for request in world.backend.requests]
    expected = [bearers[0]] * 4 + [bearers[1]] * 4 + bearers * 6
    assert expected == sent
    told = [line["session"] for line in lines if line["event"] == "request"]
    assert [ids[0]] * 4 + [ids[1]] * 4 + ids * 6 == told


@pytest.mark.requirement("B-09", "B-32")
async def test_other_fields_are_another_request(world: World, plain: Plain) -> None:
    """The same line, the same connection, other fields: judged anew, and never the former session's."""
    browser = await world.signed_in()
    other = await world.signed_in()
    caller = await Caller.connected(world, browser)
    await caller.warm()
    bad = str(browser.handle)[:-1] + "!"
    cases: list[tuple[bytes, tuple[int, str | None]]] = [
        (caller.head(csrf=False), (403, "csrf_rejected")),
        (caller.head(cookie="other=1"), (401, "session_missing")),
        (caller.head(cookie=f"bff={bad}"), (401, "session_missing")),
        (caller.head(cookie=f"{caller.cookie}; bff={other.handle}"), (401, "session_missing")),
        (caller.head(GET, f"Cookie: bff={other.handle}"), (401, "session_missing")),
        (caller.head(GET, "Origin: https://evil.example"), (403, "csrf_rejected")),
        (caller.head(GET, "Sec-Fetch-Site: cross-site"), (403, "csrf_rejected")),
        (caller.head("GET /api/../admin HTTP/1.1"), (400, "bad_request")),
        (caller.head("GET /api/%2e%2e/admin HTTP/1.1"), (400, "bad_request")),
        (caller.head("PROPFIND /api/orders HTTP/1.1"), (405, "method_not_allowed")),
        (caller.head("GET /other HTTP/1.1"), (404, "no_route")),
    ]
    for request, expected in cases:
        await caller.plain(plain)
        before = len(world.backend.requests)
        caller.writer.write(request)
        assert expected == (await caller.answer()).code
        assert before == len(world.backend.requests)
        assert 200 == (await caller.call()).status
    for refused in (
        caller.head("GET /api/orders HTTP/1.2"),
        caller.head("GET  /api/orders HTTP/1.1"),
        caller.head("get /api/orders HTTP/1.1"),
        caller.head("oGET /api/orders HTTP/1.1"),
        caller.head(GET).replace(b"\r\n", b"\n"),
        caller.head(GET, "Host: evil.example"),
        caller.head(GET, "Content-Length: 0", "Transfer-Encoding: chunked"),
        caller.head(GET, " folded: 1"),
    ):
        caller = await Caller.connected(world, browser)
        await caller.plain(plain)
        caller.writer.write(refused)
        answer = await caller.answer()
        assert (400, ["close"]) == (answer.status, answer.values("connection"))
        assert b"" == await caller.rest()


@pytest.mark.requirement("B-22", "B-33", "B-35")
async def test_sessions_that_end_between_calls(world: World, plain: Plain) -> None:
    """By redis-cli, by a logout elsewhere: the next call is refused; a new sign-in is another's."""
    caller = await warm_caller(world)
    browser = world.browsers[-1]
    await caller.plain(plain)
    sent = world.backend.requests[-1].values(b"authorization")
    before, heard = len(world.backend.requests), world.app.metrics.near_cache.invalidations
    world.redis.cli("DEL", browser.session_key)
    await until(lambda: world.app.metrics.near_cache.invalidations > heard)  # half a millisecond
    answer = await caller.call()
    assert ((401, "session_ended"), []) == (answer.code, answer.values("set-cookie"))
    assert before == len(world.backend.requests)

    again = await world.signed_in()
    caller = await Caller.connected(world, again)
    await caller.plain(plain)
    assert sent != world.backend.requests[-1].values(b"authorization")
    assert 200 == (await again.call("/bff/logout", "POST")).status_code
    before = len(world.backend.requests)
    assert (401, "session_ended") == (await caller.call()).code
    assert before == len(world.backend.requests)


async def test_a_rotation_and_a_slide_that_are_due(redis_server: RedisServer, plain: Plain) -> None:
    """A token near its end is renewed by the call that finds it so; use is noted beside a plain call."""
    async with running_world(redis_server, session={"idle_timeout": 600}) as world:
        caller = await warm_caller(world)
        key = world.browsers[-1].session_key
        await caller.plain(plain)
        seen = float(world.redis.cli("HGET", key, "seen"))
        world.clock.ahead = 61
        assert 200 == (await caller.plain(plain)).status
        await until(lambda: float(world.redis.cli("HGET", key, "seen")) >= seen + 60)
        await until(lambda: len(world.app.tasks) == 0)
        assert 200 == (await caller.plain(plain)).status
        old = world.backend.requests[-1].values(b"authorization")
        world.clock.ahead = 295
        assert 200 == (await caller.call()).status
        await until(lambda: world.refreshes == 1 and len(world.app.tasks) == 0)
        assert 200 == (await caller.plain(plain)).status
        assert old != world.backend.requests[-1].values(b"authorization")
        assert 1 == world.refreshes
        world.clock.ahead = 5000
        assert (401, "session_expired") == (await caller.call()).code


@pytest.mark.requirement("B-17", "B-34")
@pytest.mark.parametrize("auth", ["none", "optional"])
async def test_routes_without_a_session(redis_server: RedisServer, plain: Plain, auth: str) -> None:
    """Nobody signed in, nobody's token: `none` never asks; `optional` does where the CSRF header is there."""

    async def caching(_: Received) -> Reply:
        return Reply(headers=[(b"cache-control", b"max-age=60")], body=b"ok")

    server = {"trusted_proxies": ["127.0.0.1"]}
    async with running_world(redis_server, route={"auth": auth, "allow_cache": True}, server=server) as world:
        world.reply = caching
        browser = await world.signed_in()
        nobody = await Caller.connected(world, None)
        with capture_logs() as lines:
            await nobody.plain(plain, GET, "X-Forwarded-For: 192.0.2.7", csrf=False)
        assert {None} == {line["session"] for line in lines if line["event"] == "request"}
        last = world.backend.requests[-1]
        assert ([], [b"192.0.2.7"]) == (last.values(b"authorization"), last.values(b"x-forwarded-for"))
        caller = await Caller.connected(world, browser)
        answer = await caller.plain(plain)
        assert ["max-age=60"] == answer.values("cache-control")
        with_token = world.backend.requests[-1].values(b"authorization")
        assert (auth == "optional") == bool(with_token)
        await caller.plain(plain, GET, csrf=False)
        assert [] == world.backend.requests[-1].values(b"authorization")
        if auth == "optional":
            assert 200 == (await browser.call("/bff/logout", "POST")).status_code
            assert 200 == (await caller.call()).status
            assert [] == world.backend.requests[-1].values(b"authorization")


@pytest.mark.requirement("B-33")
async def test_what_one_connection_knows_is_no_other_users(world: World, plain: Plain) -> None:
    """Two users on many connections from one address, all at once: each answer is to its own cookie."""

    async def echo(request: Received) -> Reply:
        return Reply(body=request.values(b"authorization")[0])

    world.reply = echo
    browsers = [await world.signed_in() for _ in range(2)]
    mine = [(await browser.call("/api/orders")).content for browser in browsers]
    assert mine[0] != mine[1]

    async def calls(who: int) -> None:
        for _ in range(3):
            caller = await Caller.connected(world, browsers[who])
            for _ in range(6):
                assert mine[who] == (await caller.call()).content

    await asyncio.gather(*(calls(number % 2) for number in range(10)))
    assert plain.sent > 100
    fresh = await Caller.connected(world, browsers[0])
    before = plain.ended_plain
    assert mine[0] == (await fresh.call()).content
    assert before + 1 == plain.ended_plain, "the first call on a connection was not plain"
    former, other = [await Caller.connected(world, browser) for browser in browsers]
    assert 200 == (await browsers[0].call("/bff/logout", "POST")).status_code
    assert (401, "session_ended") == (await former.call()).code
    assert mine[1] == (await other.call()).content


@pytest.mark.requirement("B-22", "T-10")
async def test_without_a_near_cache(
    redis_server: RedisServer, plain: Plain, caplog: pytest.LogCaptureFixture
) -> None:
    """Redis is asked each time: a DEL counts at once, clients leave meanwhile, an outage is a 503."""
    async with running_world(redis_server, redis={"timeout": 1}, session={"near_cache": False}) as world:
        caller = await warm_caller(world)
        await caller.plain(plain)
        key = world.browsers[-1].session_key
        world.redis.pause()
        leaving = await Caller.connected(world, world.browsers[-1])
        before = len(world.backend.requests)
        for client in (leaving, caller):
            client.writer.write(client.head())
        await asyncio.sleep(0.05)
        leaving.leave()
        assert (503, "store_unavailable") == (await caller.answer()).code
        assert before == len(world.backend.requests)
        world.redis.resume()
        await until(lambda: len(world.app.tasks) == 0)
        assert 200 == (await caller.plain(plain)).status
        caller.writer.write(caller.head() * 3 + caller.head("POST /api/x HTTP/1.1", "Content-Length: 0"))
        assert [200] * 4 == [(await caller.answer()).status for _ in range(4)]
        await caller.plain(plain)
        before = len(world.backend.requests)
        world.redis.cli("DEL", key)
        assert (401, "session_ended") == (await caller.call()).code
        assert before == len(world.backend.requests)
        gc.collect()
        await asyncio.sleep(0)
    assert [] == [record.getMessage() for record in caplog.records if record.name == "asyncio"]


@pytest.mark.requirement("B-32", "B-33")
@pytest.mark.parametrize("near_cache", [True, False], ids=["near", "far"])
async def test_two_session_cookies_are_none_however_warm(
    redis_server: RedisServer, plain: Plain, near_cache: bool
) -> None:
    """The head of a doubled cookie comes again and again: it is prepared, and never takes either session."""
    async with running_world(redis_server, session={"near_cache": near_cache}) as world:
        browser, other = await world.signed_in(), await world.signed_in()
        mine, theirs = f"bff={browser.handle}", f"bff={other.handle}"
        caller = await Caller.connected(world, None)
        for cookie in (mine, theirs):
            assert 200 == (await caller.plain(plain, cookie=cookie)).status
        before, sent = len(world.backend.requests), plain.sent
        for doubled in (f"{mine}; {theirs}", f"{mine}; bff=tossed", f"bff=tossed; {mine}", f"{mine}; {mine}"):
            for _ in range(6):
                assert (401, "session_missing") == (await caller.call(cookie=doubled)).code
        for _ in range(6):
            assert (401, "session_missing") == (await caller.call(GET, f"Cookie: {theirs}", cookie=mine)).code
        assert (before, sent) == (len(world.backend.requests), plain.sent)
