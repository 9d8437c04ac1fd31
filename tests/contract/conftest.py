"""Sessions on a real redis-server."""

from collections.abc import AsyncIterator

import pytest

from bff.crypto import new_secret
from tests.contract.cached import Site
from tests.support.network.relay import relay_to
from tests.support.processes.redis import RedisServer


@pytest.fixture
async def sites(redis_server: RedisServer) -> AsyncIterator[tuple[Site, Site]]:
    """Two processes' worth of the proxy, on one Redis and with the same keys."""
    keys = [new_secret()]
    async with relay_to(redis_server.port) as relay:
        pair = (Site(redis_server, relay, keys), Site(redis_server, relay, keys))
        for site in pair:
            await site.start()
        yield pair
        for site in pair:
            await site.aclose()


@pytest.fixture
def site(sites: tuple[Site, Site]) -> Site:
    return sites[0]
