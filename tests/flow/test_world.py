"""The proxy of these tests is served as `bff serve` does it."""

from tests.support.processes.redis import RedisServer
from tests.support.processes.world import running_world


async def test_connections_are_kept_for_as_long(redis_server: RedisServer) -> None:
    """Else it closes idle ones before the reverse proxy in front, which then loses a call now and then."""
    async with running_world(redis_server, server={"keep_alive": "40s"}) as world:
        assert 40 == world.server.config.timeout_keep_alive
