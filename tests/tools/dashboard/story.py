"""The story of a fleet that is looked at: calm, sign-ins, rotations, and trouble of every kind in turn."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path

import httpx

from bff.crypto import new_secret
from bff.embedded import free_port
from bff.observe.metrics import Metrics
from bff.session.store import SessionStore
from tests.serve.service import Service, service
from tests.support.network.backend import Received, Reply, backend
from tests.support.network.redis_fault_proxy import FaultProxy, fault_proxy_to
from tests.support.processes.fleet import CSRF, HOST, Fleet, Member, seeding
from tests.support.processes.redis import redis_server
from tests.support.providers.behaviour import refusal, slow
from tests.support.providers.rotating import CLIENT_ID, rotating_provider
from tests.support.settings import KEY, redis_settings

SHOP = "shop.localhost"
NOT_SET = {"BFF_SESSION__KEYS": "", "BFF_PROVIDER__CLIENT_ID": "", "BFF_PROVIDER__CLIENT_SECRET": ""}
PEOPLE = 24
CALLS_A_SECOND = 40
TOKENS_LIVE = 20  # seconds
_RANDOM = random.Random(14)  # noqa: S311 - a story, no secret

_SETTINGS = """
[server]
public_url = "http://{host}"
port = 0
ops_port = 0

[redis]
url = "redis://127.0.0.1:{redis}/0"
timeout = "1s"

[session]
keys_file = "keys"
near_cache_memory = "1MiB"

[provider]
issuer = "{issuer}"
client_id = "{client}"
client_secret = "hunter2"
scopes = ["openid", "profile", "offline_access"]

[limits]
login_per_minute = 100000
callback_per_minute = 100000
refresh_per_minute = 100000
address_per_minute = 100000

[refresh]
min_age_for_401 = 0
answer_timeout = "2s"

[log]
format = "json"
level = "{level}"
access = false

[[route]]
path = "/api/orders"
upstream = "{backend}"

[[route]]
path = "/api/stock"
upstream = "{backend}"
response_timeout = "1s"
rate_per_session = "600/m"

[[route]]
path = "/api/gone"
upstream = "http://127.0.0.1:{nobody}"

[[route]]
path = "/api/live"
upstream = "{backend}"
websocket = true

[[frontend]]
name = "shop"
public_url = "http://{shop}"
"""


@dataclass
class Stage:
    """All that runs."""

    fleet: Fleet
    running: Service
    valve: FaultProxy
    settings: Path
    texts: dict[str, object]
    people: list[Member] = field(default_factory=list)
    delay: float = 0.0  # seconds that the backend takes

    @property
    def ops(self) -> str:
        return self.running.ops_url.removeprefix("http://")

    def write(self, **changed: object) -> None:
        self.texts |= changed
        self.settings.write_text(_SETTINGS.format(**self.texts))

    async def say(self, request: Received) -> Reply:
        """The backend."""
        await asyncio.sleep(self.delay * _RANDOM.uniform(0.5, 1.5))
        if b"/broken" in request.target:
            return Reply(500, [(b"content-type", b"application/json")], b"{}")
        return self.fleet.answers(request)


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[Stage]:
    """Two workers under a supervisor, two frontends, a Redis that can be struck, a provider likewise."""
    stages: list[Stage] = []

    async def say(request: Received) -> Reply:
        return await stages[0].say(request)

    async with AsyncExitStack() as stack:
        redis = stack.enter_context(redis_server())
        provider = stack.enter_context(rotating_provider())
        provider.expires_in = TOKENS_LIVE
        upstream = await stack.enter_async_context(backend(say))
        valve = await stack.enter_async_context(fault_proxy_to(redis.port))
        store = SessionStore(redis_settings(redis.url), Metrics())
        stack.push_async_callback(store.aclose)
        fleet = Fleet(redis, provider, upstream, [], seeding(store), store)
        texts: dict[str, object] = {"host": HOST, "redis": valve.port, "issuer": provider.url}
        texts |= {"client": CLIENT_ID, "backend": upstream.url, "nobody": free_port(), "shop": SHOP}
        settings = folder / "bff.toml"
        stages.append(Stage(fleet, Service.__new__(Service), valve, settings, texts | {"level": "info"}))
        stages[0].write()
        (folder / "keys").write_text(KEY)
        url = f"redis://127.0.0.1:{valve.port}/0"
        running = stack.enter_context(service(folder, issuer=provider.url, redis=url, **NOT_SET))
        stages[0].running = running
        await running.up()
        none = CookieJar(policy=DefaultCookiePolicy(allowed_domains=()))  # each call brings its own
        client = httpx.AsyncClient(base_url=running.url, timeout=30, cookies=none)
        fleet.clients.append(await stack.enter_async_context(client))
        yield stages[0]


async def everyday(stage: Stage, stop: asyncio.Event) -> None:
    """People call, some of them sign in and out, and read their own data."""
    async with asyncio.TaskGroup() as group:
        number = 0
        while not stop.is_set():
            number += 1
            group.create_task(_one(stage, number))
            await asyncio.sleep(1 / CALLS_A_SECOND)


async def _one(stage: Stage, number: int) -> None:
    fleet, who = stage.fleet, _RANDOM.choice(stage.people)
    path = _RANDOM.choice(("/api/orders", "/api/orders/7", "/api/stock", "/api/orders/broken", "/bff/user"))
    if path.endswith("broken") and number % 5:
        path = "/api/orders"
    method = "POST" if path == "/api/stock" and number % 3 == 0 else "GET"
    await fleet.call(who, 0, method, path)
    if number % 4 == 0:  # the other frontend's visitors, who have not signed in
        await fleet.clients[0].get("/api/orders", headers={"Host": SHOP, **CSRF})
    if number % CALLS_A_SECOND == 0:  # once in a second
        new = await fleet.sign_in(0, sub=f"user-{number}")
        if new is not None:  # it fails while Redis or the provider is away
            gone, stage.people = stage.people[0], [*stage.people[1:], new]
            await fleet.call(gone, 0, "POST", "/bff/logout")


Scene = Callable[[Stage], Awaitable[None]]


async def calm(_: Stage) -> None:
    """Nothing but everyday."""
    await asyncio.sleep(8)


async def listeners(stage: Stage) -> None:
    """WebSockets and event streams."""
    async with AsyncExitStack() as stack:
        for member in stage.people[-6:]:
            headers = {"Host": HOST, "Cookie": f"bff={member.handle}", **CSRF}
            stream = stage.fleet.clients[0].stream("GET", "/bff/events", headers=headers)
            await stack.enter_async_context(stream)
        await asyncio.sleep(6)


async def slow_provider(stage: Stage) -> None:
    stage.fleet.provider.usual = slow(1.2)
    await asyncio.sleep(6)
    stage.fleet.provider.usual = slow(0)


async def broken_provider(stage: Stage) -> None:
    stage.fleet.provider.usual = refusal(500)
    await asyncio.sleep(8)
    stage.fleet.provider.usual = slow(0)


async def slow_redis(stage: Stage) -> None:
    stage.valve.delay = 0.08
    await asyncio.sleep(6)
    stage.valve.delay = 0.0


async def lost_redis(stage: Stage) -> None:
    stage.valve.refusing = True
    stage.valve.cut()
    await asyncio.sleep(6)
    stage.valve.refusing = False


async def bad_backend(stage: Stage) -> None:
    stage.delay = 1.5
    for _ in range(20):
        await stage.fleet.call(_RANDOM.choice(stage.people), 0, path="/api/gone")
        await asyncio.sleep(0.3)
    stage.delay = 0.0


async def attacks(stage: Stage) -> None:
    """Foreign pages, forged handles, records that somebody wrote, sign-ins that fail, too many calls."""
    client, who = stage.fleet.clients[0], stage.people[-1]
    for number in range(40):
        cookie = {"Host": HOST, "Cookie": f"bff={who.handle}"}
        await client.get("/api/orders", headers={**cookie, "Sec-Fetch-Site": "cross-site"})
        await stage.fleet.call("x" * 43 + "." + "y" * 43, 0)
        await client.get("/bff/callback/finish?code=1&state=2", headers={"Host": HOST})
        await asyncio.gather(*(stage.fleet.call(who, 0, path="/api/stock") for _ in range(20)))
        if number == 10:
            with stage.fleet.redis.client() as redis:
                redis.hset(f"bff:session:{stage.people[0].key}", "tokens", "forged")
        await stage.fleet.call(stage.people[0], 0)
        await asyncio.sleep(0.1)


async def forgotten_tokens(stage: Stage) -> None:
    """The backend refuses the tokens that there are."""
    stage.fleet.provider.forget_access()
    await asyncio.sleep(4)


async def new_settings(stage: Stage) -> None:
    """Good ones, bad ones, good ones; then a file of keys that is none, and one with a new key."""
    for level in ("warning", "loud", "info"):
        stage.write(level=level)
        stage.running.signal(signal.SIGHUP)
        await asyncio.sleep(4)
    keys = stage.settings.with_name("keys")
    for text in ("no key", f"{new_secret()}\n{KEY}"):
        keys.write_text(text)
        await asyncio.sleep(4)


async def dead_worker(stage: Stage) -> None:
    os.kill(stage.running.pid(1), signal.SIGKILL)
    await asyncio.sleep(8)


async def deletions(stage: Stage) -> None:
    """An operator ends sessions."""
    with stage.fleet.redis.client() as redis:
        for member in stage.people[:3]:
            redis.delete(f"bff:session:{member.key}")
    await asyncio.sleep(4)


SCENES: tuple[Scene, ...] = (
    *(calm, listeners, slow_provider, broken_provider, calm, slow_redis, lost_redis, calm, bad_backend),
    *(forgotten_tokens, attacks, new_settings, dead_worker, deletions, calm),
)


async def play(stage: Stage) -> list[tuple[str, float]]:
    """Plays all scenes; returns when each began, in seconds since the beginning."""
    stage.people = [await stage.fleet.member() for _ in range(PEOPLE)]
    clock = asyncio.get_running_loop().time
    began, scenes = clock(), []
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(everyday(stage, stop))
        try:
            for scene in SCENES:
                scenes.append((scene.__name__, clock() - began))
                await scene(stage)
        finally:
            stop.set()  # a call that ends in the moment of a cancellation may take it for its own
    return scenes
