"""Maintenance of a Redis with one address and no cluster: it is cut, and leads to a new server."""

from tests.support.load.calls import answers, called
from tests.support.network.relay import relay_to
from tests.support.processes.redis import RedisServer
from tests.support.processes.redis import redis_server as another_server
from tests.support.processes.world import running_world
from tests.support.wait import until, until_async


async def test_the_address_leads_to_a_new_server(redis_server: RedisServer) -> None:
    """Answers are 200, or 503 for a moment, and none is 401; a DEL on the new server is seen."""
    with another_server() as old, another_server() as new, new.client() as operator:
        old.cli("CONFIG", "SET", "repl-diskless-sync-delay", "0")
        async with relay_to(old.port) as relay:
            redis = {"url": f"redis://127.0.0.1:{relay.port}/0", "timeout": 5}
            async with running_world(redis_server, redis=redis) as world:
                feed = world.app.shared.feed
                staying, deleted = await world.signed_in(), await world.signed_in()
                await until(lambda: feed.trusted)
                operator.replicaof("127.0.0.1", str(old.port))
                await until(lambda: operator.info("replication").get("master_link_status") == "up")
                async with called([staying, deleted]) as said:
                    await until_async(lambda: answers(deleted, 200))
                    operator.replicaof("NO", "ONE")
                    asked = sum(b"TRACKING" in each for each in relay.asked)
                    relay.lead_to(new.port)
                    await until(lambda: sum(b"TRACKING" in each for each in relay.asked) > asked)
                    await until(lambda: feed.trusted)
                    await until_async(lambda: answers(staying, 200))
                    await until_async(lambda: answers(deleted, 200))
                assert {(200, ""), (503, "store_unavailable")} >= set(said)
                assert 1 == operator.delete(deleted.session_key)
                await until_async(lambda: answers(deleted, 401))
                assert "session_ended" == (await deleted.call("/api/orders")).json()["code"]
                assert 200 == (await staying.call("/api/orders")).status_code
                key = staying.session_key
                assert 200 == (await staying.call("/bff/logout", "POST")).status_code
                assert not operator.exists(key)
