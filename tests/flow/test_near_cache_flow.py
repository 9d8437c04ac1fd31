"""The near cache in the proxy: what it spares and what it must not hide, in one process or in four."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import pytest

from bff.crypto import Keyring
from bff.observe.metrics import Metrics
from bff.session.invalidation_feed import LEASE, steady_now
from bff.session.model import Tokens
from bff.session.session_builder import Identity
from bff.session.session_cookie import SessionCookie
from bff.session.sessions import Found, Sessions
from bff.session.store import SessionStore
from bff.settings.model import ServerSettings, SessionSettings
from bff.web.readiness import Check
from tests.serve.service import Service
from tests.support.network.backend import Received, Reply, backend
from tests.support.network.relay import TRACKING, relay_to
from tests.support.processes.command import variables_for
from tests.support.processes.forked import BARE, Forked
from tests.support.processes.redis import ON_BOTH_SERVERS, RedisServer
from tests.support.processes.world import CSRF, Browser, World, running_world
from tests.support.settings import KEY, redis_settings
from tests.support.wait import until

HOST = "app.localhost"


def hits(app_metrics: Metrics) -> int:
    return app_metrics.near_cache.hits


def reads(redis: RedisServer) -> int:
    """How often a session has been read in Redis."""
    with redis.client() as client:
        return int(client.info("commandstats").get("cmdstat_hmget", {}).get("calls", 0))


async def warm(world: World, browser: Browser) -> None:
    """Calls until an answer came from the near cache: the feed's word for the sign-in may come late."""
    before = hits(world.app.metrics)
    while hits(world.app.metrics) == before:
        assert 200 == (await browser.call("/api/orders")).status_code


async def feed_check(world: World) -> Check:
    return next(check for check in await world.app.readiness() if check.name == "changes")


@ON_BOTH_SERVERS
async def test_calls_do_not_ask_redis(world: World) -> None:
    """Once a session is near, calls are answered without a read; `/readyz` says that the feed is followed."""
    browser = await world.signed_in()
    await warm(world, browser)
    before = reads(world.redis)
    assert {200} == {(await browser.call("/api/orders")).status_code for _ in range(20)}
    assert before == reads(world.redis)
    assert Check("changes", ok=True, detail="followed", needed=False) == await feed_check(world)
    assert b"bff_change_feed_trusted 1.0" in world.app.metrics.render()[0]


@pytest.mark.requirement("B-22", "B-33")
async def test_an_end_here_is_an_end_at_once(world: World) -> None:
    """The call after a sign-out finds nobody, though the session was near a moment ago."""
    browser = await world.signed_in()
    cookie = {"Cookie": f"bff={browser.handle}"}
    await warm(world, browser)
    assert 200 == (await browser.call("/bff/logout", "POST")).status_code
    after = await browser.call("/api/orders", headers=cookie)
    assert (401, "session_ended") == (after.status_code, after.json()["code"])


@pytest.mark.requirement("T-10")
async def test_redis_silent(redis_server: RedisServer) -> None:
    """With Redis frozen the cache helps for the lease at most; then 503, the cookie untouched."""
    async with running_world(redis_server, redis={"timeout": 1}) as world:
        await _redis_silent(world)


async def _redis_silent(world: World) -> None:
    browser = await world.signed_in()
    await warm(world, browser)
    world.redis.pause()
    frozen = time.monotonic()
    answers = [await browser.call("/api/orders")]
    while answers[-1].status_code == 200:
        answers.append(await browser.call("/api/orders"))
    assert time.monotonic() - frozen < LEASE + 60
    assert (503, "store_unavailable") == (answers[-1].status_code, answers[-1].json()["code"])
    assert [None] * len(answers) == [answer.headers.get("set-cookie") for answer in answers]
    check = await feed_check(world)
    assert (True, True) == (check.ok, check.detail.startswith("not followed"))
    world.redis.resume()
    await until(lambda: world.app.shared.feed.trusted)
    assert 200 == (await browser.call("/api/orders")).status_code


async def test_turned_off(redis_server: RedisServer) -> None:
    """`near_cache = false`: every call reads, and the feed is followed all the same."""
    async with running_world(redis_server, session={"near_cache": False}) as world:
        browser = await world.signed_in()
        before = reads(world.redis)
        for _ in range(5):
            assert 200 == (await browser.call("/api/orders")).status_code
        assert before + 5 == reads(world.redis)
        await until(lambda: world.app.shared.feed.trusted)
        assert b'bff_near_cache_lookups_total{outcome="hit"} 0.0' in world.app.metrics.render()[0]


# Processes of their own


@contextmanager
def proxy(folder: Path, name: str, redis_url: str, upstream: str) -> Iterator[Service]:
    """`bff serve` with one worker; `/api/0` leads to the upstream."""
    environ = variables_for(
        "http://localhost:1",
        redis_url,
        upstream,
        BFF_SERVER__PUBLIC_URL=f"http://{HOST}",
        BFF_SERVER__PORT="0",
        BFF_SERVER__OPS_PORT="0",
        BFF_LOG__FORMAT="json",
    )
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        child: Forked[bytes] = Forked(["bff", "serve"], env=BARE | environ, stderr=output)
    try:
        yield Service(child, log)
    finally:
        child.kill()
        child.wait()


@asynccontextmanager
async def one_session(redis_url: str) -> AsyncIterator[Found]:
    """A session that every such proxy accepts."""
    store = SessionStore(redis_settings(redis_url), Metrics())
    settings = SessionSettings()
    sessions = Sessions(
        store=store,
        keyring=Keyring([KEY]),
        cookie=SessionCookie.configured(ServerSettings(public_url=f"http://{HOST}"), settings),
        settings=settings,
        metrics=Metrics(),
        clock=time.time,
    )
    tokens = Tokens(access_token="access", obtained_at=time.time(), access_expires_at=time.time() + 3600)
    alice = Identity(provider="main", sub="alice", sid=None, name="Alice", claims={})
    try:
        yield await sessions.start(alice, tokens, user_agent="", address="")
    finally:
        await store.aclose()


def headers(found: Found) -> dict[str, str]:
    return {**CSRF, "Host": HOST, "Cookie": f"bff={found.handle}"}


async def up(service: Service, client: httpx.AsyncClient, found: Found) -> str:
    """The URL of a proxy that serves this session from its near cache."""
    listening = await service.said("listening")
    service.ops_url, url = listening["ops"], f"{listening['address']}/api/0"
    while 'lookups_total{outcome="hit"} 0.0' in (await service.ops("/metrics"))[1]:
        assert 200 == (await client.get(url, headers=headers(found))).status_code
    return url


async def fine(_: Received) -> Reply:
    return Reply(body=b"fine")


@pytest.mark.requirement("B-22")
async def test_four_processes_see_a_deletion(redis_server: RedisServer, tmp_path: Path) -> None:
    """`redis-cli DEL` ends the session in every process, each of which had it in its near cache."""
    async with (
        backend(fine) as upstream,
        one_session(redis_server.url) as found,
        httpx.AsyncClient(timeout=60) as client,
    ):
        with ExitStack() as stack:
            four = [
                stack.enter_context(proxy(tmp_path, str(number), redis_server.url, upstream.url))
                for number in range(4)
            ]
            urls = [await up(service, client, found) for service in four]
            assert "1" == redis_server.cli("DEL", f"bff:session:{found.session.key}")

            async def refused(url: str) -> str:
                while (answer := await client.get(url, headers=headers(found))).status_code == 200:
                    pass
                return str(answer.json()["code"])

            async with asyncio.timeout(60):
                assert ["session_ended"] * 4 == await asyncio.gather(*(refused(url) for url in urls))


def delete(redis: RedisServer, found: Found, *, told: bool) -> None:
    """Deletes a session; where processes are not told, their connections were ended before."""
    if not told:
        with redis.client() as client:
            client.client_kill_filter(skipme=True, _type="normal")
    assert "1" == redis.cli("DEL", f"bff:session:{found.session.key}")


TOLD = pytest.mark.parametrize("told", [True, False])


@TOLD
@pytest.mark.requirement("B-22")
async def test_a_call_behind_a_deletion(redis_server: RedisServer, tmp_path: Path, *, told: bool) -> None:
    """A process that finds the word of the end and later calls together, as a busy one does, refuses them.

    So does one that finds that it can be told no more.
    """
    async with (
        backend(fine) as upstream,
        one_session(redis_server.url) as found,
        httpx.AsyncClient(timeout=60) as client,
    ):
        with proxy(tmp_path, "busy", redis_server.url, upstream.url) as service:
            url = await up(service, client, found)
            connections = [await asyncio.open_connection("127.0.0.1", httpx.URL(url).port) for _ in range(8)]
            call = "GET /api/0 HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers(found).items())
            for reader, writer in connections:
                writer.write(f"{call}\r\n".encode())
                assert (await reader.readuntil(b"fine")).startswith(b"HTTP/1.1 200")
            service.signal(signal.SIGSTOP)
            delete(redis_server, found, told=told)
            for _, writer in connections:
                writer.write(f"{call}\r\n".encode())
            service.signal(signal.SIGCONT)
            answers = [await reader.readline() for reader, _ in connections]
            assert [b"HTTP/1.1 401 Unauthorized\r\n"] * len(connections) == answers
            for _, writer in connections:
                writer.close()


@TOLD
@pytest.mark.requirement("B-22")
async def test_a_call_in_a_long_turn(redis_server: RedisServer, tmp_path: Path, *, told: bool) -> None:
    """A process that has just read a client's connection finds the word of the end first all the same.

    The kernel names that connection before the one to Redis, though its next call came later.
    """
    async with (
        backend(fine) as upstream,
        one_session(redis_server.url) as found,
        httpx.AsyncClient(timeout=60) as client,
    ):
        with proxy(tmp_path, "long", redis_server.url, upstream.url) as service:
            port = httpx.URL(await up(service, client, found)).port
            connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(300)]
            call = "GET /api/0 HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers(found).items())
            service.signal(signal.SIGSTOP)
            for _, writer in connections:  # all in one turn, and each is refused as it is read
                writer.write(b"GET /api/0 HTTP/1.1\r\nHost: app.localhost\r\n\r\n")
            service.signal(signal.SIGCONT)
            reader, writer = connections[0]
            assert b"HTTP/1.1 403 Forbidden\r\n" == await reader.readline()
            service.signal(signal.SIGSTOP)
            delete(redis_server, found, told=told)
            writer.write(f"{call}\r\n".encode())
            service.signal(signal.SIGCONT)
            await reader.readuntil(b"HTTP/1.1 ")
            assert b"401 Unauthorized\r\n" == await reader.readline()
            for _, writer in connections:
                writer.close()


@pytest.mark.requirement("B-22", "T-10")
async def test_a_process_that_was_stopped(redis_server: RedisServer, tmp_path: Path) -> None:
    """Woken from SIGSTOP, a process serves no session that ended meanwhile: not even in its first moment.

    The word of the end never reaches it: its tracking connection is silent, and stays open.
    """
    async with (
        backend(fine) as upstream,
        one_session(redis_server.url) as found,
        relay_to(redis_server.port) as relay,
        httpx.AsyncClient(timeout=60) as client,
    ):
        with proxy(tmp_path, "stopped", f"redis://127.0.0.1:{relay.port}/0", upstream.url) as service:
            url = await up(service, client, found)
            port = httpx.URL(url).port
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            call = "GET /api/0 HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers(found).items())
            writer.write(f"{call}\r\n".encode())
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            service.signal(signal.SIGSTOP)
            stopped = steady_now()
            relay.silence(TRACKING)
            assert "1" == redis_server.cli("DEL", f"bff:session:{found.session.key}")
            writer.write(f"{call}\r\n".encode())  # it lies there when the process wakes
            await until(lambda: steady_now() > stopped + LEASE)
            service.signal(signal.SIGCONT)
            assert (await reader.readuntil(b"HTTP/1.1 ")).endswith(b"fineHTTP/1.1 ")
            assert (await reader.readline()).startswith(b"401")
            writer.close()
