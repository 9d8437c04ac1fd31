"""The batches of reads in a cluster, where it cannot be asked."""

import pytest

from bff.embedded import free_port
from bff.errors import StoreUnavailableError
from bff.session.cluster.batches import ClusterBatches
from bff.session.cluster.topology import Topology
from tests.support.settings import redis_settings


async def test_a_cluster_that_cannot_be_reached_is_named_as_a_single_server_is() -> None:
    """In words for an operator, and with the cause."""
    settings = redis_settings(f"redis+cluster://127.0.0.1:{free_port()}")
    topology = Topology.of(settings)
    assert topology is not None
    batches = ClusterBatches(settings, topology)
    with pytest.raises(StoreUnavailableError, match=r"Redis: cannot be reached \(") as failed:
        await batches.load(b"bff:session:1")
    assert failed.value.__cause__ is not None
    await batches.aclose()
