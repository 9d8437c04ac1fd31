"""`bff serve --workers 2` as a real process: its workers' lives, and its stop."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import httpx
import pytest

from bff.embedded import free_port
from bff.serve import supervisor
from bff.serve.ipc import Question, SupervisorSide, WorkerSide
from bff.serve.worker_process import WorkerProcess
from bff.settings.model import Settings
from tests.serve.service import Service, executed_service, is_gone, service
from tests.serve.test_settings_file_watch import SETTINGS
from tests.support.network.backend import Received, Reply, backend
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import Browser
from tests.support.providers.issuer import running_issuer
from tests.support.tasks import background
from tests.support.wait import until, until_async

HOST = {"Host": "app.localhost"}


class Gate:
    """A backend that holds answers to `/slow` back until it is told to let them go."""

    def __init__(self) -> None:
        self.waiting = 0
        self.open = asyncio.Event()
        self.url = ""

    async def answer(self, request: Received) -> Reply:
        if request.target.startswith(b"/slow"):
            self.waiting += 1
            await self.open.wait()
        return Reply(body=b"done")


@pytest.fixture
async def gate() -> AsyncIterator[Gate]:
    gate = Gate()
    async with backend(gate.answer) as upstream:
        gate.url = upstream.url
        yield gate
        gate.open.set()


@asynccontextmanager
async def held(running: Service, gate: Gate, count: int) -> AsyncIterator[list[asyncio.Task[int]]]:
    """So many requests, each on a connection of its own, that wait at the gate: status, or 0 if it broke."""

    async def one() -> int:
        async with httpx.AsyncClient(base_url=running.url, headers=HOST, timeout=60) as client:
            try:
                return (await client.get("/api/0/slow")).status_code
            except httpx.TransportError:
                return 0

    async with asyncio.TaskGroup() as group:
        before = gate.waiting
        tasks = [group.create_task(one()) for _ in range(count)]
        await until(lambda: gate.waiting == before + count)
        yield tasks


async def called(running: Service, path: str = "/api/0/quick") -> int:
    async with httpx.AsyncClient(base_url=running.url, headers=HOST, timeout=60) as client:
        return (await client.get(path)).status_code


async def test_workers_answer(tmp_path: Path, gate: Gate) -> None:
    """All workers take connections on one port; one ops port tells of all; no secret is seen from outside."""
    with executed_service(tmp_path, gate.url, redis="embedded") as running:
        await running.up()
        assert [200] * 24 == await asyncio.gather(*(called(running) for _ in range(24)))
        first = await running.calls(1)
        second = await running.calls(2)
        assert 24 == first + second
        assert first
        assert second
        said = await running.readiness()
        assert ("2 of 2 serve", "writable") == (said["workers"], said["redis"])
        assert "ready" == said["status"]  # though there is no provider
        assert "bff_workers 2\n" in (await running.ops("/metrics"))[1]
        assert all("hunter2" not in running.command_line(worker) for worker in (1, 2))


async def test_sign_in_spans_workers(tmp_path: Path, redis_server: RedisServer) -> None:
    """Sign-in, session and sign-out are one, whichever worker each request comes to."""
    port = free_port()
    url = f"http://localhost:{port}"
    with running_issuer(redis_server.url, [f"{url}/bff/callback"]) as issuer:
        more = {
            "BFF_SERVER__PUBLIC_URL": url,
            "BFF_SERVER__PORT": str(port),
            "BFF_PROVIDER__CLIENT_ID": issuer.client_id,
            "BFF_PROVIDER__SCOPES": "openid,profile,offline_access",
            "BFF_PROVIDER__CLIENT_SECRET": issuer.client_secret,
        }
        with service(tmp_path, redis=redis_server.url, issuer=issuer.url, **more) as running:
            await running.up()
            assert "ready" == (await running.readiness())["status"]
            browser = Browser(url)
            browser.client.headers["Connection"] = "close"  # each request on a connection of its own
            async with browser.client:
                await browser.sign_in()
                assert [200] * 20 == [(await browser.user()).status_code for _ in range(20)]
                handle = browser.handle
                assert 200 == (await browser.call("/bff/logout", "POST")).status_code
                browser.client.cookies.set("bff", str(handle))
                assert [401] * 20 == [(await browser.user()).status_code for _ in range(20)]


@pytest.mark.parametrize("stopped", [False, True])
async def test_nothing_outlives_kill_9(tmp_path: Path, stopped: bool) -> None:
    """After kill -9 of the supervisor its workers and its Redis are gone, one stopped by SIGSTOP included."""
    start = executed_service if stopped else service
    with start(tmp_path, redis="embedded") as running:
        await running.up()
        pids = [running.pid(1), running.pid(2)]
        port = (await running.said("embedded_redis"))["port"]
        if stopped:
            os.kill(pids[0], signal.SIGSTOP)
        running.signal(signal.SIGKILL)
        await until(lambda: all(is_gone(pid) for pid in pids))
        await until(lambda: not listens(port))


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=60).close()
    except ConnectionError:
        return False
    return True


async def test_dead_worker_is_replaced(tmp_path: Path, gate: Gate) -> None:
    """A killed worker takes no requests but its own with it; it is replaced, at once at first, then later."""
    with service(tmp_path, gate.url) as running:
        await running.up()
        async with held(running, gate, 16) as requests:
            os.kill(running.pid(1), signal.SIGKILL)
            died = await running.said("worker_died")
            assert (1, "SIGKILL", 0.0) == (died["worker"], died["signal"], died["replaced_in"])
            await running.said("worker_serving", 2, worker=1)
            gate.open.set()
        statuses = [request.result() for request in requests]
        assert {0, 200} == set(statuses)
        assert statuses.count(200) == await running.calls(2)
        assert "2 of 2 serve" == (await running.readiness())["workers"]
        assert "bff_worker_deaths_total 1\n" in (await running.ops("/metrics"))[1]
        assert [200] * 8 == await asyncio.gather(*(called(running) for _ in range(8)))

        os.kill(running.pid(1), signal.SIGKILL)
        assert 0.5 == (await running.said("worker_died", 2))["replaced_in"]
        assert [200] * 8 == await asyncio.gather(*(called(running) for _ in range(8)))  # by the other one
        await running.said("worker_serving", 3, worker=1)


async def test_worker_told_to_stop(tmp_path: Path, gate: Gate) -> None:
    """SIGTERM to one worker: its requests finish, another takes its place, and nothing is called a death."""
    with service(tmp_path, gate.url) as running:
        await running.up()
        async with held(running, gate, 8) as requests:
            os.kill(running.pid(2), signal.SIGTERM)
            os.kill(running.pid(2), signal.SIGTERM)  # a second one changes nothing
            gate.open.set()
        assert [200] * 8 == [request.result() for request in requests]
        await running.said("worker_left", worker=2)
        await running.said("worker_serving", 2, worker=2)
        assert "bff_worker_deaths_total 0\n" in (await running.ops("/metrics"))[1]


@pytest.mark.requirement("H-09")
async def test_stop(tmp_path: Path, gate: Gate) -> None:
    """After SIGTERM readiness is off first; then new connections are refused; requests in flight finish."""
    with service(tmp_path, gate.url, BFF_SERVER__SHUTDOWN_DELAY="3s") as running:
        await running.up()
        async with held(running, gate, 8) as requests:
            running.signal(signal.SIGTERM)
            await running.said("stopping")
            assert 200 == await called(running)  # first: the delay is short
            assert (503, "stopping") == (
                (await running.ops("/readyz"))[0],
                (await running.readiness())["status"],
            )
            port = int(running.url.rpartition(":")[2])
            await until(lambda: not listens(port))
            assert 200 == (await running.ops("/livez"))[0]
            assert None is running.child.poll()
            gate.open.set()
        assert [200] * 8 == [request.result() for request in requests]
        assert 0 == await running.ends()
        assert [False] * 3 == [line["forced"] for line in running.lines("stopped")]


@pytest.mark.requirement("H-09")
async def test_stop_during_the_start(tmp_path: Path) -> None:
    """A signal that comes while the workers start is a clean stop as well."""
    with service(tmp_path, BFF_LOG__LEVEL="debug") as running:
        await running.said("worker_started")
        running.signal(signal.SIGTERM)
        assert 0 == await running.ends()
        assert not running.lines("task_failed")
        assert "Traceback" not in running.log()


@pytest.mark.requirement("H-09")
async def test_stop_has_a_limit(tmp_path: Path, gate: Gate) -> None:
    """Requests that do not end are cut off after `shutdown_timeout`."""
    with service(tmp_path, gate.url, BFF_SERVER__SHUTDOWN_TIMEOUT="1s") as running:
        await running.up()
        async with held(running, gate, 4) as requests:
            running.signal(signal.SIGTERM)
            assert 0 == await running.ends()
        assert 200 not in [request.result() for request in requests]


@pytest.mark.requirement("H-09")
async def test_silent_worker(tmp_path: Path) -> None:
    """A stopped worker is not killed but not ready; a second signal ends everything, that one included."""
    with service(tmp_path) as running:
        await running.up()
        pids = [running.pid(1), running.pid(2)]
        os.kill(pids[0], signal.SIGSTOP)

        async def silent() -> bool:
            """The word of one worker; where the ops port's own time was over before, there is none."""
            said = await running.readiness()
            assert "not ready" == said["status"]
            return said.get("worker 1") == "does not answer"

        await until_async(silent)
        assert "readiness" == (await running.said("worker_silent", worker=1, pid=pids[0]))["asked"]
        assert not running.lines("worker_died")
        running.signal(signal.SIGTERM)
        await running.said("stopped", worker=2)
        assert None is running.child.poll()
        running.signal(signal.SIGINT)
        assert 1 == await running.ends()
        assert {1} == {line["worker"] for line in running.lines("worker_killed")}
        assert all(is_gone(pid) for pid in pids)


async def test_a_worker_that_builds_for_too_long() -> None:
    """Newer settings are refused once the time of a start is over, and the refusal says which."""

    async def never(question: Question, newer: Settings) -> str:
        assert ("prepare", newer.server.start_timeout) == (question, 0.01)
        await asyncio.Event().wait()
        return ""

    link = SimpleNamespace(ask=never)
    worker = cast("WorkerProcess", SimpleNamespace(link=link, pid=7, has_ended=False))
    server = {"public_url": "http://localhost", "start_timeout": 0.01}
    newer = Settings.model_validate({**SETTINGS, "server": server})
    told = await supervisor._can_take(worker, newer)
    assert ("the process 7 has not built them within 0.01 s (server.start_timeout)", True) == told


async def test_messages_that_waited_keep_their_order() -> None:
    """A worker that was stopped finds settings to build and the order to drop them: nothing stays of them."""
    done: list[str] = []

    async def prepare(_: Settings | None) -> None:
        done.append("prepare")

    ours, theirs = socket.socketpair()
    link = await SupervisorSide.opened(ours)
    asking = asyncio.create_task(link.ask("prepare"))  # noqa: TID251 - awaited below
    await asyncio.sleep(0)
    link.order("drop")
    worker = WorkerSide(
        theirs,
        answers={"prepare": prepare},
        orders={"drop": lambda: done.append("drop")},
        reload=lambda _: None,
    )
    await worker.open()
    await until(lambda: len(done) == 2)
    assert ["prepare", "drop"] == done
    await worker.close()
    await link.listen()
    assert await asking is None


@pytest.mark.requirement("P-02")
@pytest.mark.parametrize("heard", ["the end", "nothing more"])
async def test_nobody_waits_for_a_worker_that_has_ended(heard: str) -> None:
    """A question under way then, and one that comes before its process is reaped, fail at once."""
    ours, theirs = socket.socketpair()
    link = await SupervisorSide.opened(ours)
    async with background(link.listen()) as listening, background(link.ask("prepare")) as asking:
        await asyncio.sleep(0)
        if heard == "the end":
            theirs.close()
            await listening
        else:
            listening.cancel()
        with pytest.raises(ConnectionResetError):
            await asking
    with pytest.raises(ConnectionResetError):
        await link.ask("prepare")
    theirs.close()


@pytest.mark.parametrize("setting", ["port", "ops_port"])
async def test_port_in_use(tmp_path: Path, setting: str) -> None:
    """A port in use is said with the setting's name and the way out, and no worker is started."""
    variable = f"BFF_SERVER__{setting.upper()}"
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        with service(tmp_path, **{variable: port}) as running:
            assert 1 == await running.ends()
    detail = (await running.said("cannot_start"))["detail"]
    assert f"port {port} on 127.0.0.1 is in use" in detail
    assert f"server.{setting} ({variable})" in detail


async def test_two_proxies_share_no_port(tmp_path: Path) -> None:
    """A second proxy on the same port is refused, though the workers of one proxy share theirs."""
    with service(tmp_path) as running:
        await running.up()
        with service(tmp_path, BFF_SERVER__PORT=running.url.rpartition(":")[2]) as second:
            assert 1 == await second.ends()
            assert "is in use" in (await second.said("cannot_start"))["detail"]
