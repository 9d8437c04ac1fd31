"""Sentinel and Cluster under 200 calls a second: what fails, for how long, and when a DEL is told of.

Each round has servers of its own. The exit status is 1 if an answer was neither 200 nor 503, or if a session
was lost.
"""

import argparse
import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from rich.console import Console

from tests.support.load.calls import Answers, answers, called
from tests.support.processes.cluster import Cluster, cluster_of_seven
from tests.support.processes.redis import RedisServer, redis_server
from tests.support.processes.sentinel import MASTER, SentinelGroup, sentinel_group
from tests.support.processes.world import Browser, World, running_world
from tests.support.wait import until, until_async

ON_CLUSTER = ("a slot moves", "a master dies", "a master hangs", "a master steps down")
ON_SENTINEL = ("the master dies", "the master hangs", "the master steps down")
GOOD = {(200, ""), (503, "store_unavailable")}

Strike = Callable[[Browser], Awaitable[RedisServer]]
"""Lets the fault happen to the master of a browser's session; returns the server that has it then."""


@dataclass
class Stage:
    """The proxy on one kind of Redis, and the faults that can happen to it."""

    world: World
    replicated: Callable[[], Awaitable[None]]
    faults: dict[str, Strike]


def define(parser: argparse.ArgumentParser) -> None:
    """Defines the command's arguments."""
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Goes round the faults for as long as the time lasts, once at least."""
    console = Console(stderr=True, emoji=False, highlight=False)
    return asyncio.run(rounds(console, time.monotonic() + arguments.minutes * 60))


async def rounds(console: Console, deadline: float) -> int:
    """Has every fault happen, again and again; returns the exit status."""
    bad, first = False, True
    while first or time.monotonic() < deadline:
        first = False
        for kind, names in ((on_cluster, ON_CLUSTER), (on_sentinel, ON_SENTINEL)):
            for name in names:
                async with kind() as stage:
                    bad = not await one_fault(console, stage, f"{kind.__name__} {name}", name) or bad
    return int(bad)


async def one_fault(console: Console, stage: Stage, title: str, name: str) -> bool:
    """Has one fault happen under load; says how it went, and returns true if it went well."""
    browsers = [await stage.world.signed_in() for _ in range(4)]
    await stage.replicated()
    await until(lambda: stage.world.app.shared.feed.trusted)
    seen: Answers
    async with called(browsers) as seen:
        await until_async(lambda: answers(browsers[0], 200))
        master = await stage.faults[name](browsers[0])
        for browser in browsers:
            await until_async(lambda browser=browser: answers(browser, 200))  # type: ignore[misc] # bound at once
    began = time.monotonic()
    deleted = master.cli("DEL", browsers[0].session_key)
    await until_async(lambda: answers(browsers[0], 401))
    told = time.monotonic() - began
    kept = [await answers(browser, 200) for browser in browsers[1:]]
    well = set(seen) <= GOOD and all(kept) and deleted == "1"
    counts = ", ".join(
        f"{count} of {status} {code}".strip() for (status, code), count in sorted(seen.items())
    )
    console.print(f"{title}: {counts}; trouble {seen.trouble:.2f} s; a DEL told after {told * 1000:.0f} ms")
    return well


@asynccontextmanager
async def on_cluster() -> AsyncIterator[Stage]:
    """Three masters with a replica each, and a master without slots."""
    with redis_server() as issuers, cluster_of_seven() as cluster:
        await cluster.create()
        async with running_world(issuers, redis={"url": cluster.url, "timeout": 5}) as world:
            yield Stage(world, cluster.replicated, cluster_faults(cluster))


def cluster_faults(cluster: Cluster) -> dict[str, Strike]:
    """The faults of a cluster, by name."""

    async def moved(browser: Browser) -> RedisServer:
        cluster.begin_to_move(browser.session_key, cluster.spare)
        await until_async(lambda: answers(browser, 200))
        cluster.end_to_move(browser.session_key, cluster.spare)
        return cluster.spare.server

    async def died(browser: Browser) -> RedisServer:
        return (await cluster.lose(cluster.master_of(browser.session_key))).server

    async def hung(browser: Browser) -> RedisServer:
        return (await cluster.freeze(cluster.master_of(browser.session_key))).server

    async def handed_over(browser: Browser) -> RedisServer:
        return (await cluster.hand_over(cluster.master_of(browser.session_key))).server

    return dict(zip(ON_CLUSTER, (moved, died, hung, handed_over), strict=True))


@asynccontextmanager
async def on_sentinel() -> AsyncIterator[Stage]:
    """A master, its replica, and three Sentinels."""
    with redis_server() as issuers, sentinel_group() as group:
        await group.ready()
        async with running_world(issuers, redis={"url": group.url, "timeout": 5}) as world:
            yield Stage(world, group.replicated, sentinel_faults(group))


def sentinel_faults(group: SentinelGroup) -> dict[str, Strike]:
    """The faults of a master with Sentinels, by name."""

    async def followed() -> RedisServer:
        await group.follow(group.second)
        return group.second

    async def died(_: Browser) -> RedisServer:
        os.kill(group.first.pid, signal.SIGKILL)
        return await followed()

    async def hung(_: Browser) -> RedisServer:
        group.first.pause()
        return await followed()

    async def handed_over(_: Browser) -> RedisServer:
        next(group.sentinels()).sentinel_failover(MASTER)
        return await followed()

    return dict(zip(ON_SENTINEL, (died, hung, handed_over), strict=True))
