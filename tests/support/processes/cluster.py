"""A real Redis Cluster: three masters, or these, a replica of each, and a master that has no slots yet."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Any

import redis
from redis.crc import key_slot

from bff.embedded import RedisBinary, free_port
from tests.structure.source import ROOT
from tests.support.processes.redis import RedisServer, found_redis
from tests.support.processes.redis import redis_server as running_server
from tests.support.wait import until

SLOTS = 16384
_PATIENT, _HASTY = 15_000, 500  # `cluster-node-timeout`: a slow machine is no failure where none is wanted

_ACCOUNTS = (ROOT / "config" / "users.acl").read_text()
_USER = next(line for line in _ACCOUNTS.splitlines() if line.startswith("user bff "))

_MAY_LEAD = ("CONFIG SET", "cluster-replica-no-failover")


@dataclass(eq=False)
class Node:
    """One server of a cluster."""

    server: RedisServer
    bus: int
    id: str = ""
    tls_port: int | None = None

    @property
    def port(self) -> int:
        """The port that other servers and the proxy know."""
        return self.tls_port or self.server.port

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def ask(self, *words: Any) -> Any:
        """The answer to one command."""
        with self.server.client() as client:
            return client.execute_command(*words)

    def answers(self) -> bool:
        """True unless it is gone, or hangs."""
        if self.server.frozen:
            return False
        with self.server.client(retry=None) as client:
            return bool(client.ping())

    def calls(self, command: str) -> int:
        """Returns the number of times that a command was run here."""
        with self.server.client() as client:
            return int(client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])

    def refusals(self) -> list[Any]:
        """The commands and keys that an account was refused."""
        with self.server.client() as client:
            return [entry["object"] for entry in client.acl_log() if entry["reason"] != "auth"]

    def ask_there(self, *words: Any) -> Any:
        """Returns the answer to a command on a key whose slot is on its way here (ASKING)."""
        with self.server.client() as client, client.pipeline(transaction=False) as pipe:
            pipe.execute_command("ASKING")
            pipe.execute_command(*words)
            return pipe.execute()[1]

    def meet(self, other: "Node") -> None:
        self.ask("CLUSTER MEET", "127.0.0.1", other.port, other.bus)

    def knows(self) -> dict[str, str]:
        """The lines of CLUSTER NODES, by the node's name."""
        with self.server.client() as client:
            client.response_callbacks.clear()
            text: Any = client.execute_command("CLUSTER NODES")
        return {line.split()[0]: line for line in str(text).splitlines()}


@dataclass
class Cluster:
    """The servers: three masters, then the replica of each, then a master that has no slots."""

    nodes: list[Node]

    @property
    def masters(self) -> list[Node]:
        return self.nodes[:3]

    @property
    def replicas(self) -> list[Node]:
        return self.nodes[3:6]

    @property
    def spare(self) -> Node:
        return self.nodes[6]

    @property
    def url(self) -> str:
        """The setting `redis.url`, with the user of `config/users.acl`."""
        return f"redis+cluster://bff:change-me-bff@{','.join(node.address for node in self.masters)}"

    def master_of(self, key: str) -> Node:
        """The server that says that it has this key's slot."""
        slot = key_slot(key.encode())
        for node in self.nodes:
            with suppress(redis.RedisError, OSError):
                for first, last, (_, port, *_), *_ in _slots(node):
                    if first <= slot <= last and port == node.server.port:
                        return node
        raise AssertionError("no master of this slot")

    def replica_of(self, node: Node) -> Node:
        return self.replicas[self.masters.index(node)]

    def alive(self) -> Iterator[Node]:
        """The servers that answer."""
        for node in self.nodes:
            with suppress(redis.RedisError, OSError):
                if node.answers():
                    yield node

    async def create(self) -> None:
        """Makes one cluster of them, and waits until all know it."""
        self._timeout(_HASTY)  # servers hear of each other the sooner
        for number, node in enumerate(self.nodes):
            node.ask("CLUSTER SET-CONFIG-EPOCH", number + 1)
            node.id = str(node.ask("CLUSTER MYID"))
            node.ask("ACL SETUSER", *_USER.split()[1:])
        for number, node in enumerate(self.masters):
            node.ask("CLUSTER ADDSLOTSRANGE", number * SLOTS // 3, (number + 1) * SLOTS // 3 - 1)
        for node, other in permutations(self.nodes, 2):
            node.meet(other)
        ids = {node.id for node in self.nodes}  # one that is being met has a name for the moment
        await until(lambda: all(node.knows().keys() == ids for node in self.nodes))
        for master, replica in self._pairs():
            replica.ask("CLUSTER REPLICATE", master.id)
        await until(self._complete)
        await self.replicated()
        self._timeout(_PATIENT)

    async def replicated(self) -> None:
        """Waits until each replica has everything that its master has."""
        for master, replica in self._pairs():
            await until(lambda pair=(master, replica): _same(*pair))  # type: ignore[misc] # bound at once

    async def lose(self, node: Node) -> Node:
        """Kills a master, and returns its replica once that has been elected."""
        return await self._elected(node, lambda: os.kill(node.server.pid, signal.SIGKILL))

    async def hand_over(self, node: Node) -> Node:
        """Has a master's replica take its place, as an operator does; both live on."""
        successor = self.replica_of(node)
        successor.ask("CLUSTER FAILOVER")
        await until(lambda: self._leads(successor))
        return successor

    async def freeze(self, node: Node) -> Node:
        """Stops a master without a word, and returns its replica once that has been elected."""
        return await self._elected(node, node.server.pause)

    async def _elected(self, node: Node, leaves: Callable[[], None]) -> Node:
        """Has a master leave; its replica takes its place, and no other one that of a master that is slow."""
        successor = self.replica_of(node)
        successor.ask(*_MAY_LEAD, "no")
        self._timeout(_HASTY)
        leaves()
        await until(lambda: self._leads(successor))
        self._timeout(_PATIENT)
        return successor

    def _pairs(self) -> Iterator[tuple[Node, Node]]:
        """The masters and their replicas, where they have any."""
        yield from zip(self.masters, self.replicas, strict=bool(self.replicas))

    def _leads(self, node: Node) -> bool:
        """True once every server says so, and the cluster is whole."""
        return all(
            "master" in each.knows()[node.id].split()[2] and _state(each) == "ok" for each in self.alive()
        )

    def _timeout(self, milliseconds: int) -> None:
        for node in self.alive():
            node.ask("CONFIG SET", "cluster-node-timeout", milliseconds)

    def _complete(self) -> bool:
        whole = all(_state(node) == "ok" for node in self.nodes)
        return whole and all(
            sum(len(others) for _, _, _, *others in _slots(node)) == len(self.replicas) for node in self.nodes
        )

    def begin_to_move(self, key: str, target: Node) -> None:
        """Opens the slot of a key to another master, and moves the key: its slot is not the other's yet."""
        slot, source = key_slot(key.encode()), self.master_of(key)
        target.ask("CLUSTER SETSLOT", slot, "IMPORTING", source.id)
        source.ask("CLUSTER SETSLOT", slot, "MIGRATING", target.id)
        keys = source.ask("CLUSTER GETKEYSINSLOT", slot, 100)
        assert key in keys
        source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)

    def end_to_move(self, key: str, target: Node) -> None:
        """Gives the slot of a key to the other master, as every master is told."""
        slot = key_slot(key.encode())
        for node in [target, *self.masters]:
            with suppress(redis.ConnectionError):
                node.ask("CLUSTER SETSLOT", slot, "NODE", target.id)


def _state(node: Node) -> str:
    return str(node.ask("CLUSTER INFO")["cluster_state"])


def _slots(node: Node) -> list[Any]:
    with node.server.client(protocol=2) as client:
        client.response_callbacks.clear()
        answer: Any = client.execute_command("CLUSTER SLOTS")
    return list(answer)


def _same(master: Node, replica: Node) -> bool:
    with master.server.client() as there, replica.server.client() as here:
        written, read = there.info("replication"), here.info("replication")
    linked = read.get("master_link_status") == "up"
    return bool(linked and read["slave_repl_offset"] >= written["master_repl_offset"])


@contextmanager
def cluster_of_seven() -> Iterator[Cluster]:
    """Runs the servers; the test is skipped where there is no server, as by `redis_server`."""
    with ExitStack() as stack:
        yield Cluster([_started(stack) for _ in range(7)])


@contextmanager
def cluster_of_three(*options: str, tls: bool = False) -> Iterator[Cluster]:
    """Runs three masters alone, likewise, with more options; with `tls` on a port for it as well."""
    with ExitStack() as stack:
        yield Cluster([_started(stack, *options, tls_port=free_port() if tls else None) for _ in range(3)])


def _started(stack: ExitStack, *more: str, tls_port: int | None = None) -> Node:
    bus, found = free_port(), found_redis()
    options = (
        *("--cluster-enabled", "yes", "--cluster-port", str(bus)),
        *("--cluster-node-timeout", str(_PATIENT), "--cluster-replica-validity-factor", "0"),
        *("--cluster-replica-no-failover", "yes"),  # but when a test wants it
        *("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1", *more),
        *(("--tls-port", str(tls_port), "--tls-cluster", "yes") if tls_port else ()),
    )
    binary: RedisBinary = replace(found, command=(*found.command, *options))
    return Node(stack.enter_context(running_server(binary=binary)), bus, tls_port=tls_port)
