"""A token exchange beside a rotation, a sign-out, another process: no token that nobody can revoke."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from bff.credentials.shared_token_exchange import TokenExchanger
from bff.oidc.client import OidcClient
from bff.session.model import Found, OwnToken
from tests.flow.test_audience import ORDERS, bearer_of, call, exchanges, revoked, world_of_orders
from tests.issuer.flow import payload_of
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import Browser, World
from tests.support.tasks import background
from tests.support.wait import until

pytestmark = pytest.mark.requirement("P-09")


class Gate:
    """A call to the provider that a test holds, once: with its answer at hand, or `first` of all."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, *, first: bool = False) -> None:
        self._first = first
        self._work = getattr(OidcClient, name)
        self._closed = False
        self._open = asyncio.Event()
        self.reached = asyncio.Event()
        monkeypatch.setattr(OidcClient, name, self._gated())

    def close(self) -> None:
        self._closed, self._open, self.reached = True, asyncio.Event(), asyncio.Event()

    def open(self) -> None:
        self._open.set()

    async def _held(self) -> None:
        self.reached.set()
        await self._open.wait()

    def _gated(self) -> Callable[..., Any]:
        async def gated(client: OidcClient, *arguments: Any, **options: Any) -> Any:
            closed, self._closed = self._closed, False
            if closed and self._first:
                await self._held()
            answer = await self._work(client, *arguments, **options)
            if closed and not self._first:
                await self._held()
            return answer

        return gated


async def session_of(world: World, browser: Browser) -> Found:
    assert browser.handle is not None
    found = await world.app.frontend.sessions.open(browser.handle)
    assert isinstance(found, Found)
    return found


async def test_no_token_is_lost(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is kept beside its session, and goes with it; one that comes too late is given back, unused."""
    async with world_of_orders(redis_server) as world:
        exchange, revoke = Gate(monkeypatch, "exchange_token"), Gate(monkeypatch, "revoke", first=True)

        browser = await world.signed_in()
        exchange.close()
        async with background(call(browser)) as calling:
            await exchange.reached.wait()
            assert 200 == (await browser.call("/bff/refresh", "POST")).status_code
            exchange.open()
            jti = (await calling)["jti"]
        assert 2 == exchanges(world)
        await until(lambda: len(revoked(world)) == 1)
        kept = (await session_of(world, browser)).session.exchanged[ORDERS]
        assert jti == payload_of(kept.access_token)["jti"] != payload_of(revoked(world)[0])["jti"]

        browser, sent = await world.signed_in(), len(world.backend.requests)
        exchange.close()
        async with background(browser.call("/api/orders")) as calling_out:
            await exchange.reached.wait()
            assert 200 == (await browser.call("/bff/logout", "POST")).status_code
            exchange.open()
            answer = await calling_out
        assert (401, "session_ended") == (answer.status_code, answer.json()["code"])
        assert sent == len(world.backend.requests)
        await until(lambda: len(revoked(world)) == 3)  # its own refresh token's, and the late one
        assert ORDERS == payload_of(revoked(world)[-1])["aud"]

        browser = await world.signed_in()
        key = browser.session_key
        revoke.close()
        async with background(browser.call("/bff/logout", "POST")) as signing_out:
            await revoke.reached.wait()  # it knows of no exchanged token
            await call(browser)
            token = bearer_of(world.backend.requests[-1])
            revoke.open()
            assert 200 == (await signing_out).status_code
        assert token in revoked(world)
        assert "0" == world.redis.cli("EXISTS", key)


async def test_two_processes_keep_one_token(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that was kept first; the other is given back."""
    async with world_of_orders(redis_server) as world:
        exchange = Gate(monkeypatch, "exchange_token")
        browser = await world.signed_in()
        parts: dict[str, Any] = {
            "tasks": world.app.tasks,
            "clock": world.clock,
            "sessions": world.app.frontend.sessions,
        }
        client = world.app.frontend.providers.default
        here, there = TokenExchanger(client=client, **parts), TokenExchanger(client=client, **parts)
        found = await session_of(world, browser)
        exchange.close()
        async with background(here.exchange(found, ORDERS)) as exchanging:
            await exchange.reached.wait()
            first = await there.exchange(found, ORDERS)
            assert isinstance(first, OwnToken)
            exchange.open()
            assert first == await exchanging
        assert first == (await session_of(world, browser)).session.exchanged[ORDERS]
        await until(lambda: len(revoked(world)) == 1)
        assert first.access_token not in revoked(world)
