"""SIGUSR2 replaces the workers one after the other, and nobody outside notices (S-11)."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from bff.embedded import free_port
from bff.observe.metrics import Metrics
from bff.session.model import Tokens
from bff.session.session_builder import Identity
from bff.session.store import SessionStore
from tests.serve.service import Service, is_gone, service
from tests.serve.small_service import Process
from tests.support.network.backend import Received, Reply, backend
from tests.support.network.nginx import listens, running_nginx
from tests.support.network.sockets import socket_backend
from tests.support.processes.fleet import CSRF, PUBLIC_URL, seeding
from tests.support.processes.redis import RedisServer
from tests.support.settings import redis_settings
from tests.support.wait import PATIENCE, until

CALLERS, SOCKETS = 8, 3

CONFIGURATION = """
events { worker_connections 256; }
http {
    access_log off;
    map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
    upstream bff { server 127.0.0.1:%d; keepalive 16; }
    server {
        listen 127.0.0.1:%d;
        location / {
            proxy_pass http://bff;
            proxy_http_version 1.1;
            proxy_set_header Host app.localhost;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header Upgrade $http_upgrade;
        }
    }
}
"""

pytestmark = pytest.mark.requirement("S-11")


async def echo(request: Received) -> Reply:
    return Reply(body=request.body or b"{}", headers=[(b"content-type", b"application/json")])


async def handle_in(redis: RedisServer, frontend: str = "") -> str:
    """The cookie of somebody who is signed in at a frontend."""
    store = SessionStore(redis_settings(redis.url), Metrics())
    try:
        tokens = Tokens(access_token="a", obtained_at=0.0, access_expires_at=4e9, refresh_token=None)
        identity = Identity("main", "alice", "sid", "Alice", {"sub": "alice"})
        sessions = seeding(store, frontend)
        found = await sessions.start(identity, tokens, user_agent="tests", address="127.0.0.1")
    finally:
        await store.aclose()
    return found.handle


@asynccontextmanager
async def front(running: Service, folder: Path) -> AsyncIterator[str]:
    """An nginx in front, that keeps connections; its URL."""
    folder.mkdir()  # noqa: ASYNC240 - nothing else runs yet
    port = free_port()
    own = int(running.url.rpartition(":")[2])
    with running_nginx(folder, CONFIGURATION % (own, port)) as process:
        await until(lambda: listens(port) or process.poll() is not None)
        yield f"http://127.0.0.1:{port}"


async def keeps_calling(url: str, handle: str, answers: Counter[str], done: asyncio.Event) -> None:
    """Calls one after the other on a kept connection, POSTs among them, until it is done."""
    headers = {"Cookie": f"bff={handle}", **CSRF}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=PATIENCE) as client:
        for number in itertools.count():
            body = f'{{"n":{number}}}' if number % 2 else ""
            try:
                answer = await client.request("POST" if body else "GET", "/api/0/x", content=body)
                answers[str(answer.status_code) if answer.text == (body or "{}") else answer.text] += 1
            except httpx.TransportError as error:
                answers[type(error).__name__] += 1
            if done.is_set():
                return


async def keeps_talking(url: str, handle: str, closes: list[int], done: asyncio.Event) -> None:
    """Holds a WebSocket open, opens the next when it is closed, and notes each close."""
    headers = {"Cookie": f"bff={handle}"}
    while not done.is_set():
        async with connect(
            url.replace("http", "ws") + "/api/1/ws",
            origin=PUBLIC_URL,  # type: ignore[arg-type] # a string of its own kind
            additional_headers=headers,
            compression=None,
            proxy=None,
        ) as socket:
            with contextlib.suppress(ConnectionClosed):
                while not done.is_set():
                    await socket.send("ping")
                    assert "ping" == await socket.recv()
                    await asyncio.sleep(0.02)
                return
        closes.append(socket.close_code or 0)


async def test_nobody_notices(tmp_path: Path, redis_server: RedisServer) -> None:
    """Behind nginx, under load: no failed call, no lost session, and each WebSocket is closed with 1012."""
    answers: Counter[str] = Counter()
    closes: list[int] = []
    done = asyncio.Event()
    async with backend(echo) as upstream, socket_backend() as sockets:
        routes = [
            {"path": "/api/0", "upstream": upstream.url},
            {"path": "/api/1", "upstream": sockets.url, "websocket": True},
        ]
        variables = {
            "BFF_ROUTE": json.dumps(routes),
            "BFF_PROVIDER__SCOPES": "openid",
            "redis": redis_server.url,
        }
        with service(tmp_path, **variables) as running:
            await running.up()
            handle = await handle_in(redis_server)
            former = {running.pid(1), running.pid(2)}
            async with front(running, tmp_path / "nginx") as url, asyncio.TaskGroup() as group:
                for _ in range(CALLERS):
                    group.create_task(keeps_calling(url, handle, answers, done))
                for _ in range(SOCKETS):
                    group.create_task(keeps_talking(url, handle, closes, done))
                try:
                    await until(lambda: answers["200"] > 50 and sockets.open == SOCKETS, PATIENCE)
                    running.signal(signal.SIGUSR2)
                    await running.said("rolled")
                    before = answers["200"]
                    await until(lambda: answers["200"] > before + 50, PATIENCE)
                finally:
                    done.set()  # a call that ends in the moment of a cancellation may take it for its own
            assert {"200"} == set(answers)
            assert closes
            assert {1012} == set(closes)
            assert former.isdisjoint({running.pid(1), running.pid(2)})
            assert {1, 2} == {line["worker"] for line in running.lines("worker_left")}
            assert [] == running.lines("requests_cut_off")
            assert "bff_worker_deaths_total 0\n" in (await running.ops("/metrics"))[1]
            running.signal(signal.SIGTERM)
            assert 0 == await running.ends()


async def test_a_refused_roll(tmp_path: Path) -> None:
    """Settings that cannot be used, or that only a restart puts in force, replace nobody."""
    settings = tmp_path / "bff.toml"
    async with backend(echo) as upstream:
        settings.write_text("[limits]\nlogin_per_minute = 5\n")
        with service(tmp_path, upstream.url, BFF_SERVER__WATCH_SETTINGS="false") as running:
            await running.up()
            former = [running.pid(1), running.pid(2)]
            settings.write_text("[limits]\nlogin_per_minute = -5\n")
            running.signal(signal.SIGUSR2)
            assert "the settings cannot be used" == (await running.said("roll_refused"))["detail"]
            assert "limits.login_per_minute" == (await running.said("settings_refused"))["setting"]
            settings.write_text("[server]\nops_host = '127.0.0.2'\n")
            running.signal(signal.SIGUSR2)
            assert ["server.ops_host"] == (await running.said("roll_refused", 2))["settings"]
            settings.write_text("[redis]\nmax_connections = 7\n")
            running.signal(signal.SIGHUP)
            assert ["redis.max_connections"] == (await running.said("settings_not_taken"))["needs_sigusr2"]
            assert former == [running.pid(1), running.pid(2)]
            assert [] == running.lines("worker_left")
            running.signal(signal.SIGUSR2)
            assert ["limits.login_per_minute", "redis.max_connections"] == sorted(
                (await running.said("rolling"))["changed"]
            )
            await running.said("rolled")
            os.kill(running.pid(1), signal.SIGKILL)  # the next one starts by the newer settings, too
            await running.said("worker_serving", 3, worker=1)
            running.signal(signal.SIGHUP)
            assert (await running.said("reloaded", 2))["settings_good"]


async def test_what_waits_in_a_socket_is_not_lost(tmp_path: Path) -> None:
    """The successor takes the connections that the former worker has not: it listens on the same socket."""
    async with backend(echo) as upstream:
        with service(tmp_path, upstream.url) as running:
            await running.up()
            former = running.pid(1)
            os.kill(former, signal.SIGSTOP)
            headers = {"Host": "app.localhost", "Connection": "close"}
            async with httpx.AsyncClient(base_url=running.url, headers=headers, timeout=PATIENCE) as client:
                async with asyncio.TaskGroup() as group:
                    calls = [group.create_task(client.get("/api/0/x")) for _ in range(24)]
                    running.signal(signal.SIGUSR2)
                assert [200] * 24 == [call.result().status_code for call in calls]
            assert not is_gone(former)
            assert [] == running.lines("worker_left")
            os.kill(former, signal.SIGCONT)
            await running.said("rolled")


async def test_a_former_worker_that_does_not_end(tmp_path: Path) -> None:
    """One that is stopped is killed behind its time; the roll and the reloads behind it go on."""
    with service(tmp_path, BFF_SERVER__SHUTDOWN_TIMEOUT="100ms") as running:
        await running.up()
        former = running.pid(1)
        os.kill(former, signal.SIGSTOP)
        running.signal(signal.SIGUSR2)
        await running.said("rolling")
        running.signal(signal.SIGHUP)
        await running.said("rolled")
        assert is_gone(former)
        assert [former] == [line["pid"] for line in running.lines("worker_killed")]
        await running.said("reloaded")


async def test_a_successor_that_does_not_come_up(tmp_path: Path) -> None:
    """It stops the roll, and whoever serves goes on; a roll with better settings goes through."""
    process = Process(tmp_path / "log", workers=2)
    try:
        await until(lambda: len(process.lines("worker_serving")) == 2, PATIENCE)
        former = {line["pid"] for line in process.lines("worker_serving")}
        process.settings["provider"]["client_id"] = "fail-at-start"
        process.write()
        process.child.send_signal(signal.SIGUSR2)
        await until(lambda: bool(process.lines("roll_stopped")), PATIENCE)
        (stopped,) = process.lines("roll_stopped")
        assert ([], [1, 2]) == (stopped["replaced"], stopped["serve_on"])
        assert not any(is_gone(pid) for pid in former)
        with process.answered():
            pass
        assert [] == process.lines("worker_died")
        process.settings["provider"]["client_id"] = "y"
        process.write()
        process.child.send_signal(signal.SIGUSR2)
        await until(lambda: bool(process.lines("rolled")), PATIENCE)
        assert all(is_gone(pid) for pid in former)
        with process.answered():
            pass
        process.child.send_signal(signal.SIGTERM)
        await until(lambda: process.child.poll() is not None, PATIENCE)
        assert 0 == process.child.returncode
    finally:
        process.child.kill()
        process.child.wait()


async def test_a_stop_during_a_roll(tmp_path: Path) -> None:
    """Everybody stops, the successors too, and cleanly."""
    process = Process(tmp_path / "log", workers=2)
    try:
        await until(lambda: len(process.lines("worker_serving")) == 2, PATIENCE)
        process.child.send_signal(signal.SIGUSR2)
        await until(lambda: bool(process.lines("rolling")), PATIENCE)
        process.child.send_signal(signal.SIGTERM)
        await until(lambda: process.child.poll() is not None, PATIENCE)
        assert 0 == process.child.returncode, process.log()
        assert [] == process.lines("task_failed")
        assert [] == process.lines("worker_killed")
    finally:
        process.child.kill()
        process.child.wait()
