"""Real clusters of three masters: the names of servers, TLS between all, and endings where slots move."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bff.embedded import EmbeddedRedisError
from bff.observe.metrics import Metrics
from bff.session.invalidation_feed import InvalidationFeed
from bff.session.model import EndReason, Session
from bff.session.store import SessionStore, Write
from bff.settings.model import RedisSettings
from tests.session.sample import NOW, sample_session
from tests.support.network.tls import self_signed
from tests.support.processes.cluster import Cluster, Node, cluster_of_three
from tests.support.wait import until

pytestmark = pytest.mark.requirement("S-13")


class Told:
    """A listener of the feed that keeps what it hears."""

    def __init__(self) -> None:
        self.keys: list[str | None] = []

    def changed(self, key: str | None) -> None:
        self.keys.append(key)


@asynccontextmanager
async def store_at(url: str) -> AsyncIterator[tuple[SessionStore, list[str | None]]]:
    """A store that waits for a replica, but a moment, and what its feed has told of."""
    settings = RedisSettings.model_validate(
        {"url": url, "timeout": 20, "wait_for_replicas": 1, "wait_timeout": 0.05}
    )
    store, told = SessionStore(settings, Metrics()), Told()
    feed = InvalidationFeed(
        settings, prefix=store.watched, notes=store.watched_notes, topology=store.topology
    )
    feed.subscribe(store.renewal)
    feed.subscribe(told)
    await feed.start()
    await until(lambda: feed.trusted)
    try:
        yield store, told.keys
    finally:
        await feed.aclose()
        await store.aclose()


async def sign_in(store: SessionStore, cluster: Cluster) -> dict[Node, Session]:
    """Makes a session on each master."""
    made: dict[Node, Session] = {}
    for number in range(1000):
        session = sample_session(key=f"{number:016x}{0:048x}")
        if (node := cluster.master_of(name_of(session))) not in made:
            record = {"version": "1", "sub": session.sub, "tokens": f"sealed for {session.key}"}
            assert Write.REPLACED == await store.create(session, record, now=NOW, idle_timeout=1800)
            made[node] = session
        if len(made) == len(cluster.masters):
            break
    return made


def name_of(session: Session) -> str:
    return f"bff:session:{session.key}"


def moved(cluster: Cluster, session: Session, target: Node) -> None:
    """Moves the session's slot; whoever knew where it was is told by MOVED."""
    cluster.begin_to_move(name_of(session), target)
    cluster.end_to_move(name_of(session), target)


async def works(store: SessionStore, changes: list[str | None], cluster: Cluster) -> None:
    """Sessions on all masters begin, are found after their slot has moved, and end; a DEL is told of."""
    made = await sign_in(store, cluster)
    first, second, third = cluster.masters
    moved(cluster, made[first], second)
    for session in made.values():
        assert await store.load(session.key) is not None
    assert 1 == second.ask("DEL", name_of(made[first]))
    await until(lambda: made[first].key in changes)
    assert None is await store.load(made[first].key)
    moved(cluster, made[second], third)
    waits = {node: node.calls("wait") for node in cluster.masters}
    with capture_logs() as logs:
        assert await store.end(made[second], EndReason.LOGOUT)
    assert ["logout"] == [line["reason"] for line in logs if line["event"] == "ending_not_replicated"]
    waited = {node: node.calls("wait") - waits[node] for node in cluster.masters}
    assert {first: 0, second: 0, third: 1} == waited, "only where the session was"
    assert await store.end(made[third], EndReason.LOGOUT)


async def test_servers_are_reached_by_the_names_that_they_give() -> None:
    """Addresses, host names or none at all, as a service with one endpoint may give them."""
    hosts = {"ip": {"127.0.0.1"}, "hostname": {"localhost"}, "unknown-endpoint": {"127.0.0.1"}}
    with cluster_of_three("--cluster-announce-hostname", "localhost") as cluster:
        await cluster.create()
        for kind, named in hosts.items():
            for node in cluster.masters:
                node.ask("CONFIG SET", "cluster-preferred-endpoint-type", kind)
            async with store_at(f"redis+cluster://{cluster.masters[0].address}") as (store, changes):
                assert store.topology is not None
                assert named == {host for host, _ in (await store.topology.known()).masters}
                await works(store, changes, cluster)


@pytest.fixture
def tls_cluster(tmp_path: Path) -> Iterator[tuple[Cluster, str]]:
    """A cluster of servers that ask everybody for a certificate, and the query of its URL."""
    own, server = self_signed(tmp_path, "proxy"), self_signed(tmp_path)
    both = tmp_path / "both.pem"
    both.write_bytes(own.cert.read_bytes() + server.cert.read_bytes())
    options = (
        *("--tls-auth-clients", "yes", "--tls-ca-cert-file", str(both)),
        *("--tls-cert-file", str(server.cert), "--tls-key-file", str(server.key)),
    )
    query = f"ssl_ca_certs={server.cert}&ssl_certfile={own.cert}&ssl_keyfile={own.key}"
    try:
        with cluster_of_three(*options, tls=True) as cluster:
            yield cluster, query
    except EmbeddedRedisError as failure:
        if "tls-" in str(failure):
            pytest.skip("this server was built without TLS")
        raise


async def test_tls_to_every_server(tls_cluster: tuple[Cluster, str]) -> None:
    """The servers that are asked for are spoken to as the one that is named, with the same files."""
    cluster, query = tls_cluster
    await cluster.create()
    async with store_at(f"rediss+cluster://{cluster.masters[0].address}?{query}") as (store, changes):
        assert store.topology is not None
        ports = {port for _, port in (await store.topology.known()).masters}
        assert {node.tls_port for node in cluster.masters} == ports
        await works(store, changes, cluster)
