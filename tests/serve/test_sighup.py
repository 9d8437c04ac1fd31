"""SIGHUP ends nothing (S-10), wherever it comes: it reloads what can be reloaded, and says what cannot."""

import os
import signal
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from bff.embedded import free_port
from bff.sighup import reload_nothing
from tests.serve.service import service
from tests.serve.small_service import Process
from tests.support.network.backend import Received, Reply, backend
from tests.support.processes.command import started
from tests.support.processes.redis import RedisServer
from tests.support.settings import KEY, OTHER, secret
from tests.support.wait import PATIENCE, until

pytestmark = pytest.mark.requirement("S-10")


async def answer(_: Received) -> Reply:
    return Reply(body=b"done")


@pytest.mark.requirement("S-09")
async def test_what_is_reloaded_and_what_is_not(tmp_path: Path) -> None:
    """Supervisor and workers live on; one change that needs a restart, or a mistake, leaves all as it is."""
    keys = secret(str(tmp_path / "keys"), KEY)
    settings = tmp_path / "bff.toml"
    settings.write_text("")
    taken = '[log]\nlevel = "debug"\n[limits]\nlogin_per_minute = 5\n'
    async with backend(answer) as upstream:
        variables = {"BFF_SESSION__KEYS_FILE": str(keys), "BFF_SERVER__RELOAD_INTERVAL": "1h"}
        with service(tmp_path, upstream.url, BFF_SESSION__KEYS="", **variables) as running:
            await running.up()
            former = [running.pid(1), running.pid(2)]
            settings.write_text(f'{taken}[server]\nops_hosts = ["a"]\nbase_path = "/app"')
            running.signal(signal.SIGHUP)
            told = await running.said("settings_not_taken")
            assert ["server.base_path"] == told["needs_sigusr2"]
            assert ["server.ops_hosts"] == told["needs_restart"]
            assert [] == (await running.said("reloaded"))["changed"]
            assert "bff_settings_last_reload_successful 0" in (await running.ops("/metrics"))[1]
            keys.write_text(f"{OTHER}\n{KEY}\n")
            settings.write_text(taken)
            for pid in (running.child.pid, *former):  # as a service manager does that signals a whole group
                os.kill(pid, signal.SIGHUP)
            told = await running.said("reloaded", 2)
            assert ["limits.login_per_minute", "log.level", "session.keys_file"] == sorted(told["changed"])
            await running.said("server_keys_changed", 2)
            settings.write_text("[limits\n")
            running.signal(signal.SIGHUP)
            assert not (await running.said("reloaded", 3))["settings_good"]
            keys.write_text("")
            running.signal(signal.SIGHUP)
            assert ["session.keys_file"] == (await running.said("reloaded", 4))["refused"]
            await running.said("settings_file_refused", 2)
            page = (await running.ops("/metrics"))[1]
            assert "bff_settings_files_refused" in page
            assert "bff_settings_generation 2" in page
            assert former == [running.pid(1), running.pid(2)]
            assert None is running.child.poll()
            async with httpx.AsyncClient(base_url=running.url, headers={"Host": "app.localhost"}) as client:
                assert 200 == (await client.get("/api/0/x")).status_code
            running.signal(signal.SIGTERM)
            assert 0 == await running.ends()


async def test_one_process(tmp_path: Path) -> None:
    """It lives on at SIGHUP and at SIGUSR2, at its start already, and ends its requests."""
    process = Process(tmp_path / "log")
    try:
        process.said("listening")
        with process.begun("/1") as in_flight:
            process.child.send_signal(signal.SIGHUP)
            process.child.send_signal(signal.SIGUSR2)
            process.said("reloaded")
            assert "server.workers" in process.said("roll_refused")["detail"]
            assert b"ne" == in_flight.recv(1000)
        process.child.send_signal(signal.SIGTERM)
        assert 0 == process.ends()
    finally:
        process.child.kill()
        process.child.wait()


async def test_workers_that_start(tmp_path: Path) -> None:
    """The signals are harmless before a worker has its handlers: they are blocked from its first moment."""
    with service(tmp_path, BFF_LOG__LEVEL="debug") as running:
        for number in (1, 2):
            pid = (await running.said("worker_started", worker=number))["pid"]
            os.kill(pid, signal.SIGHUP)
            os.kill(pid, signal.SIGUSR2)
        running.signal(signal.SIGHUP)
        running.signal(signal.SIGUSR2)
        await running.up()
        assert [] == running.lines("worker_died")


@pytest.mark.requirement("S-09")
async def test_the_issuer(tmp_path: Path, redis_server: RedisServer) -> None:
    """It reads its server keys again, says so, and serves on."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    keys = secret(str(tmp_path / "keys"), KEY)
    environ = {
        "ISSUER_URL": url,
        "ISSUER_REDIS_URL": redis_server.url,
        "ISSUER_SERVER_KEYS_FILE": str(keys),
    }
    log = tmp_path / "log"
    with log.open("wb") as output:
        command = ("issuer", "--port", str(port))
        with started(*command, environ=environ, out=output.fileno()) as child:
            await until(lambda: "issuer_started" in log.read_text() or child.poll() is not None, PATIENCE)

            def serves() -> bool:
                try:
                    return httpx.get(f"{url}/healthz", timeout=PATIENCE).status_code == 200
                except httpx.TransportError:
                    return False

            await until(serves, PATIENCE)
            keys.write_text(f"{OTHER}\n{KEY}\n")
            child.send_signal(signal.SIGHUP)
            await until(lambda: '"reloaded"' in log.read_text() or child.poll() is not None, PATIENCE)
            assert '"changed": ["server_keys_file"]' in log.read_text()
            assert serves()
            child.send_signal(signal.SIGTERM)
            await until(lambda: child.poll() is not None, PATIENCE)
            assert "Traceback" not in log.read_text()


async def test_a_program_with_nothing_to_reload_says_so() -> None:
    """The sample API, and an issuer whose server keys come from no file."""
    with capture_logs() as lines:
        await reload_nothing()
    assert ["nothing_reloaded"] == [line["event"] for line in lines]
