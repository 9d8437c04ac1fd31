"""Redis' master and replica change places, and nobody ends the connections to the former master."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from bff.errors import StoreUnavailableError
from bff.observe.metrics import Metrics
from bff.session.store import SessionStore
from tests.support.network.redis_fault_proxy import FaultProxy, fault_proxy_to
from tests.support.processes.redis import RedisServer
from tests.support.processes.redis import redis_server as another_server
from tests.support.settings import redis_settings


@dataclass
class Pair:
    """Two servers, and a store that reaches the first of them by a name that can move."""

    first: RedisServer
    second: RedisServer
    name: FaultProxy
    store: SessionStore

    def switch_over(self) -> None:
        with self.first.client() as former:
            former.replicaof("127.0.0.1", str(self.second.port))
        self.name.aim(self.second.port)


@pytest.fixture
async def pair(redis_server: RedisServer) -> AsyncIterator[Pair]:
    with another_server() as second:
        async with fault_proxy_to(redis_server.port) as name:
            settings = redis_settings(f"redis://127.0.0.1:{name.port}/0")
            store = SessionStore(settings, Metrics())
            yield Pair(redis_server, second, name, store)
            await store.aclose()


@pytest.mark.requirement("T-10")
async def test_a_refused_write_is_the_last_that_goes_to_the_former_master(pair: Pair) -> None:
    """Without a feed the first write finds out; the next goes where the name leads now."""
    assert await pair.store.locks.take("k", "one", lifetime=60)
    pair.switch_over()
    with pytest.raises(StoreUnavailableError):
        await pair.store.locks.take("k", "two", lifetime=60)
    assert await pair.store.locks.take("k", "two", lifetime=60)
    assert "two" == pair.second.cli("GET", "bff:lock:k")


@pytest.mark.requirement("T-10")
async def test_a_script_that_is_refused_tells_as_well(pair: Pair) -> None:
    """It names the reason in other words than a command."""
    assert await pair.store.locks.take("k", "one", lifetime=60)
    assert await pair.store.locks.prolong("k", "one", lifetime=60)
    pair.switch_over()
    with pytest.raises(StoreUnavailableError):
        await pair.store.locks.prolong("k", "one", lifetime=60)
    assert await pair.store.locks.take("k", "two", lifetime=60)


@pytest.mark.requirement("T-10")
async def test_when_the_feed_begins_anew_reads_and_writes_do_too(pair: Pair) -> None:
    """What the former master would still answer is asked of the present one."""
    pair.first.cli("HSET", "bff:session:k", "sub", "the first")
    pair.second.cli("HSET", "bff:session:k", "sub", "the second")
    assert {"sub": "the first"} == await pair.store.load("k")
    pair.name.aim(pair.second.port)
    pair.store.renewal.changed("k")
    assert {"sub": "the first"} == await pair.store.load("k")
    pair.store.renewal.changed(None)
    assert {"sub": "the second"} == await pair.store.load("k")
    assert await pair.store.locks.take("k", "one", lifetime=60)
    assert "one" == pair.second.cli("GET", "bff:lock:k")
