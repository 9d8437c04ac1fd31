"""Streams and WebSockets that a program has opened by its own token: they end with it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.frames import Close

from bff.credentials.bearer_watch import BearerWatch
from tests.flow.test_bearer import BOTH, CLIENT, KEY, forged, own_token
from tests.flow.test_bearer_revocations import revoke
from tests.support.network.backend import Received, Reply
from tests.support.network.sockets import Sockets, closing, running_sockets
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import World
from tests.support.wait import until

ASKS = BOTH | {"bearer_recheck": 0.05}
OVER = Close(4401, "the token has ended")
FIRST = {"text/event-stream": b"data: one\n\n", "application/x-ndjson": b"{}\n"}


async def stream(request: Received) -> Reply:
    """A backend that sends one piece, and nothing more."""
    (kind,) = (value.decode() for name, value in request.headers if name.lower() == b"accept")

    async def pieces() -> AsyncIterator[bytes]:
        yield FIRST[kind]
        await asyncio.Event().wait()

    return Reply(headers=[(b"content-type", kind.encode())], body=pieces(), framing="chunked")


async def opened(sockets: Sockets, token: str, path: str = "/api/feed") -> ClientConnection:
    return await sockets.connect(None, path, headers=[("Authorization", f"Bearer {token}")], origin=None)


async def said(world: World, token: str, kind: str) -> bytes:
    """All that a stream says; raises where it is broken off."""
    async with httpx.AsyncClient(timeout=60) as client:
        headers = {"Authorization": f"Bearer {token}", "Accept": kind}
        return (await client.get(f"{world.url}/streams/x", headers=headers)).content


def watches(world: World) -> list[BearerWatch]:
    destinations = world.app.frontend.forwarding.context.destinations.values()
    return [each.credentials.bearer.watch for each in destinations if each.credentials.bearer is not None]


async def held(watch: BearerWatch, count: int) -> int:
    """Waits until so many calls are held by their tokens."""
    await until(lambda: count == sum(each.holders for each in watch._watched.values()))
    return count


@pytest.mark.requirement("S-01", "P-10")
@pytest.mark.usefixtures("both_fronts")
async def test_what_a_token_has_opened_ends_with_it(redis_server: RedisServer) -> None:
    """When it is revoked, where the route asks, and at its end; what another one has opened goes on."""
    asks = ASKS | {"bearer_revocations": redis_server.url}
    routes: list[dict[str, Any]] = [asks | {"path": "/streams"}]
    async with running_sockets(
        redis_server, route=asks | {"websocket_max_sockets": 1}, routes=routes, client=CLIENT, issuer_key=KEY
    ) as sockets:
        world = sockets.world
        world.reply = stream
        token = await own_token(world)
        other = forged(token, sub="client:another", jti="another")
        socket, lasting = await opened(sockets, token), await opened(sockets, other)  # each has a place
        assert (
            429 == (await sockets.refused(None, headers=[("Authorization", f"Bearer {token}")])).status_code
        )
        events, lines = (world.app.tasks.spawn(said(world, token, kind), name=kind) for kind in FIRST)
        assert [2, 2] == [await held(watch, 2) for watch in watches(world)]
        await revoke(world, token)
        assert OVER == await closing(socket)
        assert b"data: one\n\nretry: 1000\n\n" == await events
        with pytest.raises(httpx.RemoteProtocolError):
            await lines
        await lasting.send("still here")
        assert "still here" == await lasting.recv()
        world.clock.ahead = 400
        assert OVER == await closing(lasting)
        assert [0, 0] == [await held(watch, 0) for watch in watches(world)]
        await until(lambda: sockets.backend.open == 0)
