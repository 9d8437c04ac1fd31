"""Several real workers before one Redis and one provider, and clients that ask the worker they choose.

    async with running_fleet(redis_server, provider, folder, workers=2) as fleet:
        one = await fleet.member(expired=True)      # a session, written by the product's own code
        answer = await fleet.call(one, worker=0)
        os.kill(fleet.workers[0].pid, signal.SIGKILL)

Each worker is a `bff serve` of its own on a port of its own, and reaches Redis through a valve of its own
(`redis_fault_proxy.py`), unless the fleet has none.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any

import httpx
from redis.commands.core import AsyncScript

from bff.crypto import Keyring, session_key
from bff.observe.metrics import Metrics
from bff.session.model import Tokens
from bff.session.session_builder import Identity
from bff.session.session_cookie import SessionCookie
from bff.session.sessions import Found, NoSession, Sessions
from bff.session.store import SessionStore
from bff.settings.model import ServerSettings, SessionSettings
from tests.support.network.backend import Backend, Received, Reply, backend
from tests.support.network.redis_fault_proxy import fault_proxy_to
from tests.support.processes.redis import RedisServer
from tests.support.processes.worker_process import WorkerProcess
from tests.support.providers.rotating import CLIENT_ID, RotatingProvider
from tests.support.providers.token_ledger import Family
from tests.support.settings import KEY, PATIENCE, WAITS, redis_settings

PUBLIC_URL = "http://app.localhost"
HOST = "app.localhost"
CSRF = {"X-CSRF": "1", "Sec-Fetch-Site": "same-origin"}
BROKEN = 0
"""The status of a call whose connection broke."""

_LONG_AGO = 3600.0
_GONE = -2  # instead of its milliseconds, of a key that ended meanwhile
_NO_COOKIES = DefaultCookiePolicy(allowed_domains=())  # each call brings those of its own person
_FOR_GOOD = httpx.Limits(max_connections=None, max_keepalive_connections=0)


@dataclass(frozen=True, slots=True)
class Member:
    """A signed-in client: its cookie, and the tokens' family at the provider."""

    handle: str
    family: Family

    @property
    def key(self) -> str:
        return session_key(self.handle)


@dataclass(frozen=True, slots=True)
class Answered:
    """A client's answer. `status` is `BROKEN` where the connection broke."""

    status: int
    code: str
    reason: str
    seconds: float
    worker: int


@dataclass
class Fleet:
    """The processes of a fleet."""

    redis: RedisServer
    provider: RotatingProvider
    backend: Backend
    workers: list[WorkerProcess]
    sessions: Sessions
    store: SessionStore
    clients: list[httpx.AsyncClient] = field(default_factory=list)

    async def member(
        self, *, expired: bool = False, left: float | None = None, sub: str = "alice", store: Any = None
    ) -> Member:
        """Signs somebody in, without the way through the browser.

        Args:
            expired: whether the access token is over; else it is good for `provider.expires_in`.
            left: or how many seconds of it are left, of a life of an hour and those.
            sub: whom the provider knows as such.
            store: other sessions than those of this fleet's Redis.
        """
        family, answer = self.provider.enrol(sub)
        now = time.time()
        if expired:
            left = -1.0
        lifetime = answer["expires_in"] if left is None else left
        tokens = Tokens(
            access_token=answer["access_token"],
            obtained_at=now if left is None else now - _LONG_AGO,
            access_expires_at=now + lifetime,
            refresh_token=answer["refresh_token"],
        )
        identity = Identity("main", sub, family.sid, sub.title(), {"sub": sub})
        sessions: Sessions = store or self.sessions
        found = await sessions.start(identity, tokens, user_agent="tests", address="127.0.0.1")
        return Member(found.handle, family)

    async def call(
        self, member: Member | str, worker: int, method: str = "GET", path: str = "/api/orders", **more: Any
    ) -> Answered:
        """Calls as the page's script does, at one worker."""
        handle = member if isinstance(member, str) else member.handle
        headers = {"Host": HOST, "Cookie": f"bff={handle}", **CSRF, **more.pop("headers", {})}
        started = time.monotonic()
        code = reason = ""
        try:
            answer = await self.clients[worker].request(method, path, headers=headers, **more)
            status = answer.status_code
            if answer.headers.get("content-type") == "application/problem+json":
                code, reason = answer.json()["code"], answer.json().get("reason") or ""
        except httpx.TransportError:
            status = BROKEN
        return Answered(status, code, reason, time.monotonic() - started, worker)

    async def sign_in(self, worker: int, finish: int | None = None, sub: str = "alice") -> Member | None:
        """Signs in as a browser does; the callback may go to another worker. None: it failed."""
        self.provider.auto_sub = sub
        here, there = self.clients[worker], self.clients[worker if finish is None else finish]
        page = {"Host": HOST}
        try:
            login = await here.get("/bff/login?return_to=/", headers=page)
            if login.status_code != 302:
                return None
            async with httpx.AsyncClient(timeout=60) as browser:
                back = await browser.get(login.headers["location"])
            cookies = _cookies(login)
            query = back.headers["location"].partition("?")[2]
            landed = await there.get(f"/bff/callback?{query}", headers={**page, "Cookie": _line(cookies)})
            cookies |= _cookies(landed)
            end = await there.get("/bff/callback/finish", headers={**page, "Cookie": _line(cookies)})
        except httpx.TransportError:
            return None
        handle = _cookies(end).get("bff")
        return Member(handle, self.provider.families[-1]) if handle else None

    async def opened(self, member: Member) -> Found | NoSession:
        """The session as it stands in Redis, wherever that is by now."""
        store = SessionStore(redis_settings(self.redis.url), Metrics())
        try:
            return await seeding(store).open(member.handle)
        finally:
            await store.aclose()

    def record(self, member: Member) -> dict[str, str]:
        """The session's record in Redis; empty if there is none."""
        with self.redis.client() as client:
            return dict(client.hgetall(f"bff:session:{member.key}"))

    async def metrics(self, worker: int) -> str:
        """The answer of the ops port."""
        async with httpx.AsyncClient(timeout=60) as client:
            return (await client.get(f"http://127.0.0.1:{self.workers[worker].ops_port}/metrics")).text

    def locks(self) -> dict[str, int]:
        """The locks that are held, and the milliseconds for which they will be."""
        with self.redis.client() as client:
            found = {name: client.pttl(name) for name in client.scan_iter("bff:lock:*")}
            return {name: left for name, left in found.items() if left != _GONE}

    async def unlocked(self, seconds: float) -> bool:
        """Waits until no lock is held; False if one is for longer."""
        give_up = time.monotonic() + seconds
        while self.locks() and time.monotonic() < give_up:  # noqa: ASYNC110 - Redis does not tell
            await asyncio.sleep(0.1)
        return not self.locks()

    async def learn_scripts(self) -> None:
        """Loads every script, so that no command is sent twice for want of one."""
        owners = (self.store, self.store.index, self.store.endings)
        parts = [part for owner in owners for part in vars(owner).values()]
        scripts = [part for part in parts if isinstance(part, AsyncScript)]
        for script in scripts:
            await self.store._redis.script_load(script.script)

    def answers(self, request: Received) -> Reply:
        """The backend's answer: 401 to a token that the provider no longer knows."""
        token = request.values(b"authorization")[0].removeprefix(b"Bearer ").decode()
        if not self.provider.accepts(token):
            return Reply(401, [(b"www-authenticate", b'Bearer error="invalid_token"')], b"")
        return Reply(200, [(b"content-type", b"application/json")], request.body or b'{"orders":[]}')


def variables(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Settings as environment variables."""
    return {
        f"BFF_{section}__{name}".upper(): value if isinstance(value, str) else json.dumps(value)
        for section, entries in settings.items()
        for name, value in entries.items()
    }


@contextlib.asynccontextmanager
async def running_fleet(
    redis: RedisServer,
    provider: RotatingProvider,
    folder: Path,
    /,
    *,
    workers: int = 2,
    valves: bool = True,
    clocked: bool = False,
    route: Mapping[str, Any] | None = None,
    **sections: Any,
) -> AsyncIterator[Fleet]:
    """Starts the workers; `sections` are settings that differ from the fleet's own."""
    fleets: list[Fleet] = []

    async def answer(request: Received) -> Reply:
        return fleets[0].answers(request)

    async with contextlib.AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(backend(answer))
        store = SessionStore(redis_settings(redis.url), Metrics())
        stack.push_async_callback(store.aclose)
        fleet = Fleet(redis, provider, upstream, [], seeding(store), store)
        fleets.append(fleet)
        await fleet.learn_scripts()
        for number in range(workers):
            valve = await stack.enter_async_context(fault_proxy_to(redis.port)) if valves else None
            redis_port = redis.port if valve is None else valve.port
            environ = _environ(redis_port, provider.url, upstream.url, route or {}, sections)
            worker = WorkerProcess(number, environ, folder, valve, clocked=clocked)
            stack.callback(worker.close)
            fleet.workers.append(worker)
            client = httpx.AsyncClient(
                base_url=worker.url, timeout=60, limits=_FOR_GOOD, cookies=CookieJar(policy=_NO_COOKIES)
            )
            fleet.clients.append(await stack.enter_async_context(client))
            worker.start()
        await asyncio.gather(*(worker.up() for worker in fleet.workers))
        yield fleet


def seeding(store: SessionStore, frontend: str = "") -> Sessions:
    """The product's own way to write sessions of a frontend, with the fleet's keys."""
    session = SessionSettings.model_validate({"keys": [KEY]})
    server = ServerSettings.model_validate({"public_url": PUBLIC_URL})
    return Sessions(
        store=store,
        keyring=Keyring([KEY]).of_frontend(frontend),
        frontend=frontend,
        cookie=SessionCookie.configured(server, session),
        settings=session,
        metrics=Metrics(),
        clock=time.time,
    )


def _environ(
    redis: int,
    issuer: str,
    upstream: str,
    route: Mapping[str, Any],
    sections: Mapping[str, Mapping[str, Any]],
) -> dict[str, str]:
    own: dict[str, dict[str, Any]] = {
        "server": {"public_url": PUBLIC_URL},
        "redis": {"url": f"redis://127.0.0.1:{redis}/0", "timeout": f"{PATIENCE:g}s"},
        "session": {"keys": KEY},
        "provider": {
            "issuer": issuer,
            "client_id": CLIENT_ID,
            "client_secret": "hunter2",
            "scopes": ["openid", "profile", "offline_access"],
        },
        "refresh": {"min_age_for_401": 0},
        "limits": {
            "timeout": f"{PATIENCE:g}s",
            **dict.fromkeys(
                ("login_per_minute", "callback_per_minute", "refresh_per_minute", "address_per_minute"),
                100_000,
            ),
        },
        "log": {"format": "json", "access": False},
    }
    changed = {name: own.get(name, {}) | dict(sections.get(name, {})) for name in {*own, *sections}}
    routes = [{"path": "/api", "upstream": upstream, **WAITS, **route}]
    return variables(changed) | {"BFF_ROUTE": json.dumps(routes)}


def _cookies(answer: httpx.Response) -> dict[str, str]:
    pairs = (line.partition(";")[0].partition("=") for line in answer.headers.get_list("set-cookie"))
    return {name: value for name, _, value in pairs if value}


def _line(cookies: Mapping[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in cookies.items())
