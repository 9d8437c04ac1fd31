"""Real Sentinels over a real master and its replica."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from bff.child import Child
from bff.embedded import find_redis, free_port
from tests.support.processes.redis import RedisServer
from tests.support.processes.redis import redis_server as running_server
from tests.support.wait import until

MASTER = "mymaster"
_CONFIGURATION = """
port {port}
bind 127.0.0.1
dir {folder}
sentinel monitor {master} 127.0.0.1 {redis} 2
sentinel down-after-milliseconds {master} 2000
sentinel failover-timeout {master} 10000
"""


@dataclass
class SentinelGroup:
    """Three Sentinels, and the two servers that they watch; the first is the master at the beginning."""

    first: RedisServer
    second: RedisServer
    ports: list[int] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The setting `redis.url`."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return f"redis+sentinel://{hosts}/{MASTER}/0"

    def sentinels(self) -> Iterator[Any]:
        """A client for each Sentinel that answers."""
        for port in self.ports:
            with redis.Redis(port=port, decode_responses=True, socket_timeout=5) as client:
                yield client

    def told(self) -> list[int | None]:
        """The master's port, as each Sentinel knows it."""
        return [int(client.sentinel_master(MASTER)["port"]) for client in self.sentinels()]

    async def follow(self, server: RedisServer) -> None:
        """Waits until every Sentinel names this server, and it is a master."""

        def follows() -> bool:
            with suppress(redis.RedisError, OSError), server.client() as client:
                return {server.port} == set(self.told()) and client.info("replication")["role"] == "master"
            return False

        await until(follows)

    async def replicated(self) -> None:
        """Waits until the second server has everything that the first has."""

        def same() -> bool:
            with self.first.client() as master, self.second.client() as replica:
                there, here = master.info("replication"), replica.info("replication")
            linked = here.get("master_link_status") == "up"
            return bool(linked and here["slave_repl_offset"] >= there["master_repl_offset"])

        await until(same)

    async def ready(self) -> None:
        """Waits until the Sentinels know the replica and each other, so that they could fail over."""

        def know() -> bool:
            states = [client.sentinel_master(MASTER) for client in self.sentinels()]
            return all(state["num-slaves"] == 1 and state["num-other-sentinels"] == 2 for state in states)

        await self.replicated()
        await until(know)


@contextmanager
def sentinel_group() -> Iterator[SentinelGroup]:
    """Runs them; the test is skipped where there is no server, as by `redis_server`."""
    with ExitStack() as stack:
        first, second = (stack.enter_context(running_server()) for _ in range(2))
        first.cli("CONFIG", "SET", "repl-diskless-sync-delay", "0")
        with second.client() as replica:
            replica.replicaof("127.0.0.1", str(first.port))
        group = SentinelGroup(first, second)
        for _ in range(3):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bff-test-sentinel-")))
            port = free_port()
            text = _CONFIGURATION.format(port=port, folder=folder, master=MASTER, redis=first.port)
            (folder / "sentinel.conf").write_text(text)
            command = [*find_redis().command, str(folder / "sentinel.conf"), "--sentinel"]
            stack.callback(Child(command, log=folder / "log").kill)
            group.ports.append(port)
        yield group
