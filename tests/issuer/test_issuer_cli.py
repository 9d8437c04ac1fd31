"""`bff issuer`, as a process."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import httpx
import pytest
from pydantic import SecretStr

from bff.crypto import new_secret
from bff.embedded import free_port
from bff.issuer.keys.key_store import key_store
from bff.issuer.keys.keys import SigningKey
from bff.issuer.settings import IssuerSettings
from bff.issuer.store.redis import IssuerRedis
from tests.support.processes.forked import Forked, forked
from tests.support.processes.redis import RedisServer

EXECUTED = [sys.executable, "-c", "from bff.issuer.cli.main import app; app()"]


@pytest.mark.parametrize(
    ("start", "command"), [(subprocess.Popen, EXECUTED), (Forked, ["bff", "issuer", "serve"])]
)
def test_it_serves_and_stops_cleanly(
    redis_server: RedisServer, start: Callable[..., "subprocess.Popen[bytes]"], command: list[str]
) -> None:
    """With and without `serve` it runs from the environment, and SIGTERM ends it with 0."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "ISSUER_URL": url, "ISSUER_REDIS_URL": redis_server.url}
    with start([*command, "--port", str(port), "--demo-accounts"], env=environment) as process:
        try:
            _wait_for(url)
            assert url == httpx.get(f"{url}/.well-known/openid-configuration").json()["issuer"]
            assert "alice" == redis_server.cli("GET", "issuer:email:alice@example.com")
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) in (0, -signal.SIGTERM)


def test_bad_settings_are_all_said(redis_server: RedisServer) -> None:
    """Every problem is named in one run, without a traceback."""
    environment = {
        **os.environ,
        "ISSUER_URL": "http://id.example.com",
        "ISSUER_REDIS_URL": redis_server.url,
        "ISSUER_ACCESS_TOKEN_LIFETIME": "2h",
    }
    done = forked(["bff", "issuer"], env=environment)
    assert 2 == done.returncode
    assert "url must be https" in done.stderr
    assert "access_token_lifetime is out of bounds" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("wrong", ["redis", "key"])
def test_what_keeps_it_from_starting_is_a_sentence(redis_server: RedisServer, wrong: str) -> None:
    """Without Redis, or with keys that another server key sealed: exit code 1, and no traceback."""
    settings = IssuerSettings(
        url="http://localhost:9000",
        redis_url=SecretStr(redis_server.url),
        server_keys=SecretStr(new_secret()),
    )
    with redis_server.client() as client:
        key_store(settings, IssuerRedis(client, "issuer")).begin(SigningKey.generate, 0)
    environment = {
        **os.environ,
        "ISSUER_URL": settings.url,
        "ISSUER_REDIS_URL": "redis://127.0.0.1:1/0" if wrong == "redis" else redis_server.url,
        "ISSUER_SERVER_KEYS": new_secret(),
    }
    done = forked(["bff", "issuer"], env=environment)
    assert 1 == done.returncode
    assert ("Redis cannot be used" if wrong == "redis" else "does not open") in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_one_line(redis_server: RedisServer) -> None:
    """Exit code 1, with the address and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environment = {
            **os.environ,
            "ISSUER_URL": "http://127.0.0.1:9000",
            "ISSUER_REDIS_URL": redis_server.url,
        }
        done = forked(["bff", "issuer", "--port", str(port)], env=environment)
    assert (1, "") == (done.returncode, done.stdout)
    assert [f"127.0.0.1:{port}: Address already in use: choose another --port or --host"] == (
        done.stderr.splitlines()
    )


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            httpx.get(f"{url}/healthz").raise_for_status()
        except httpx.HTTPError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return
