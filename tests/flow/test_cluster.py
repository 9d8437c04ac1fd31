"""Redis Cluster, with a real one, under the account of `config/users.acl`."""

from collections.abc import AsyncIterator

import pytest

from bff.serve.preflight import preflight
from tests.support.load.calls import answers, called
from tests.support.processes.cluster import Cluster, Node, cluster_of_seven
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import Browser, World, running_world
from tests.support.wait import until, until_async

pytestmark = pytest.mark.requirement("S-13")


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    with cluster_of_seven() as cluster:
        await cluster.create()
        yield cluster


@pytest.fixture
async def world(redis_server: RedisServer, cluster: Cluster) -> AsyncIterator[World]:
    """The proxy on the cluster; the issuer's data lie elsewhere, and stay."""
    async with running_world(redis_server, redis={"url": cluster.url, "timeout": 5}) as world:
        yield world


async def followed(world: World) -> None:
    await until(lambda: world.app.shared.feed.trusted)


async def on_each_master(world: World, cluster: Cluster) -> dict[Node, list[Browser]]:
    """Signed-in browsers, two with their session on each master."""
    found: dict[Node, list[Browser]] = {node: [] for node in cluster.masters}
    while min(len(browsers) for browsers in found.values()) < 2:
        browser = await world.signed_in()
        found[cluster.master_of(browser.session_key)].append(browser)
    return found


async def ended(browser: Browser) -> None:
    """Waits until the browser is told that its session has ended."""
    await until_async(lambda: answers(browser, 401))
    assert "session_ended" == (await browser.call("/api/orders")).json()["code"]


def followed_servers(world: World) -> frozenset[tuple[str, int]]:
    topology = world.app.shared.store.topology
    assert topology is not None
    return topology.followed


async def listed(world: World) -> set[str]:
    """The names of all sessions, as `bff sessions list` finds them."""
    parts = [part async for part in world.app.shared.store.inventory.scan()]
    assert 1 == parts[-1].done
    return {f"bff:session:{key}" for part in parts for key in part.keys}


async def test_sessions_live_through_moved_slots_and_a_masters_death(world: World, cluster: Cluster) -> None:
    """Under 200 calls a second every answer is 200, or 503 while a master is missing; none is 401."""
    _, second, third = cluster.masters
    browsers = await on_each_master(world, cluster)
    await followed(world)
    (moved, early), (lost, deleted), (other, late) = (pair[:2] for pair in browsers.values())
    staying = [moved, lost, other]

    async with called(staying) as while_moving:
        # To a master that is followed. The others have not heard of it: what is deleted there is gone.
        cluster.begin_to_move(early.session_key, third)
        await until_async(lambda: answers(early, 200))
        cluster.end_to_move(early.session_key, third)
        await until_async(lambda: answers(early, 200))
        assert 1 == third.ask("DEL", early.session_key)
        await ended(early)
        # To a server that has no slots yet, which no map names: while they move, and when they have.
        for browser in (late, moved):
            cluster.begin_to_move(browser.session_key, cluster.spare)
        await until_async(lambda: answers(late, 200))
        await until(lambda: cluster.spare.server.port in {port for _, port in followed_servers(world)})
        await followed(world)
        await until_async(lambda: answers(late, 200))
        assert 1 == cluster.spare.ask_there("DEL", late.session_key)
        await ended(late)
        for browser in (late, moved):
            cluster.end_to_move(browser.session_key, cluster.spare)
        await until_async(lambda: answers(moved, 200))
    assert {(200, "")} == set(while_moving)

    await cluster.replicated()
    await followed(world)
    async with called(staying) as while_lost:
        successor = await cluster.lose(second)
        await until_async(lambda: answers(lost, 200))
    assert {(200, ""), (503, "store_unavailable")} >= set(while_lost)
    await followed(world)
    for browser in staying:
        assert 200 == (await browser.call("/api/orders")).status_code
    assert 1 == successor.ask("DEL", deleted.session_key)
    await ended(deleted)

    note = moved.session_key.replace(":session:", ":ended:")  # half an end, on whichever master has the note
    assert cluster.master_of(note).ask("SET", note, "logout")
    await ended(moved)

    new = await world.signed_in()
    assert {browser.session_key for browser in [*staying, new]} <= await listed(world)
    waits = sum(node.calls("wait") for node in cluster.alive())
    assert 200 == (await other.call("/bff/logout", "POST")).status_code
    assert waits < sum(node.calls("wait") for node in cluster.alive()), "the ending is on a replica"
    assert [] == [entry for node in cluster.alive() for entry in node.refusals()]
    found = {check.name: check for check in await preflight(world.app.settings)}
    for name in ("redis", "redis writable", "redis eviction"):
        assert (True, "") == (found[name].ok, found[name].fix)
