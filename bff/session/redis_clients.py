"""The clients of the Redis that `redis.url` names: one server, or the servers of a cluster."""

from collections.abc import Callable

from redis.asyncio import Redis

from bff.session.batch_reader import BatchReader
from bff.session.batches import Batches
from bff.session.cluster.batches import ClusterBatches
from bff.session.cluster.client import ClusterClient
from bff.session.cluster.topology import Topology
from bff.session.redis_connection import Renewal, new_pool
from bff.settings.model import RedisSettings


def new_client(settings: RedisSettings) -> Redis:
    """A client for commands one by one; close it."""
    if (topology := Topology.of(settings)) is not None:
        return ClusterClient(settings, topology)
    return Redis.from_pool(new_pool(settings))


def connected(
    settings: RedisSettings, topology: Topology | None, took: Callable[[float], None]
) -> tuple[Redis, Batches, Renewal]:
    """The store's clients: for commands, for what goes in batches, and what renews the connections of both.

    `took` is told the seconds of each batch.
    """
    if topology is not None:
        client, batches = ClusterClient(settings, topology), ClusterBatches(settings, topology, took)
        return client, batches, Renewal(client, batches)
    pool, reader = new_pool(settings), BatchReader(settings, took)
    return Redis.from_pool(pool), reader, Renewal(pool, reader)
