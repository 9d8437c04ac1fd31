"""The sessions of a host's own endpoints: users, tokens for whom they go to, WebSockets, two proxies."""

import asyncio
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Request, WebSocket
from starlette.types import ASGIApp

from bff.app import App
from bff.library import BFF, Call, NotAllowed, User
from bff.settings.model import Settings
from tests.issuer.flow import payload_of
from tests.support.network.sockets import running_sockets
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import Clock, running_world

ORDERS, DESK = "orders", "desk"
EXPIRED = 400  # seconds: the tokens of these tests live 300


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of each proxy that is made."""
    clock = Clock()
    defaults = App.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "clock", clock)
    return clock


def tokens_host(settings: Settings, _: str) -> ASGIApp:
    """An application that says for whom its tokens are, and which they are."""
    bff, app = BFF(settings, audiences=[DESK]), FastAPI()

    @app.get("/token")
    async def token(request: Request, audience: str | None = None) -> dict[str, Any]:
        claims = payload_of(await bff.token_for(request, audience))
        return {"aud": claims["aud"], "jti": claims["jti"]}

    @app.api_route("/who", methods=["GET", "POST"])
    async def who(request: Request) -> str | None:
        user = await bff.current_user(request)
        return None if user is None else user.sub

    bff.install(app)
    return app


async def test_tokens(redis_server: RedisServer, clock: Clock) -> None:
    """The session's own, refreshed once for many, or one by exchange; never for a foreign page."""
    audiences = {"audiences": [ORDERS, DESK]}
    async with running_world(
        redis_server, host=tokens_host, route={"audience": ORDERS}, client=audiences
    ) as world:
        browser = await world.signed_in()
        own = (await browser.call("/token")).json()
        assert own == (await browser.client.get("/token")).json()  # a navigation changes nothing
        exchanged = [(await browser.call(f"/token?audience={name}")).json() for name in (ORDERS, DESK, DESK)]
        assert [ORDERS, DESK, DESK] == [token["aud"] for token in exchanged]
        assert exchanged[1] == exchanged[2]
        clock.ahead = EXPIRED
        assert "alice" == (await browser.call("/who")).json()
        assert 0 == world.refreshes  # nobody asked for a token
        many = await asyncio.gather(*(browser.call("/token") for _ in range(10)))
        assert 1 == world.refreshes
        assert {own["jti"]} != {answer.json()["jti"] for answer in many}
        assert 1 == len({answer.json()["jti"] for answer in many})
        foreign = {"Origin": "https://evil.example", "X-CSRF": "1"}
        assert None is (await browser.client.post("/who", headers=foreign)).json()
        assert "alice" == (await browser.call("/who", "POST")).json()
        assert 500 == (await browser.call("/token?audience=unknown")).status_code
        nobody = await (await world.browser()).call("/token")
        assert (401, "session_missing") == (nobody.status_code, nobody.json()["code"])


async def test_redis_away_is_not_signed_out(redis_server: RedisServer) -> None:
    """What cannot be known is 503 with its wait, for the user as for the token; the cookie stays."""
    async with running_world(redis_server, host=tokens_host, session={"near_cache": False}) as world:
        browser = await world.signed_in()
        redis_server.stop()
        for path in ("/who", "/token"):
            answer = await browser.call(path)
            assert (503, "store_unavailable", None) == (
                answer.status_code,
                answer.json()["code"],
                answer.headers.get("set-cookie"),
            )
            assert int(answer.headers["retry-after"]) > 0


def sockets_host(settings: Settings, _: str) -> ASGIApp:
    """An application with a WebSocket of its own beside forwarded ones."""

    async def before_forward(call: Call) -> dict[str, str] | None:
        if call.path == "/api/closed":
            raise NotAllowed("closed")
        return {"X-Who": call.sub or "nobody"}

    bff, app = BFF(settings, before_forward=before_forward, fields=["X-Who"]), FastAPI()

    @app.websocket("/own")
    async def own(socket: WebSocket, user: Annotated[User, Depends(bff.require_session)]) -> None:
        await socket.accept()
        await socket.send_text(user.sub)
        await socket.close()

    bff.install(app)
    return app


async def test_websockets(redis_server: RedisServer) -> None:
    """The host's own by the session and the exact Origin, forwarded ones with the hook's word."""
    async with running_sockets(redis_server, host=sockets_host) as sockets:
        browser = await sockets.world.signed_in()
        async with await sockets.connect(browser, "/own") as socket:
            assert "alice" == await socket.recv()
        assert 401 == (await sockets.refused(None, "/own")).status_code
        foreign = await sockets.refused(browser, "/own", origin="https://evil.example")
        assert (403, True) == (foreign.status_code, b"csrf_rejected" in (foreign.body or b""))
        async with await sockets.connect(browser, headers=[("X-Who", "the boss")]) as socket:
            await socket.send("hello")
            assert "hello" == await socket.recv()
        assert ["alice"] == sockets.backend.headers.get_all("X-Who")
        closed = await sockets.refused(browser, "/api/closed")
        assert (403, True) == (closed.status_code, b"not_allowed" in (closed.body or b""))


def two_hosts(settings: Settings, _: str) -> ASGIApp:
    """An application with two proxies, each at its own path with its own sessions."""
    server = settings.server.model_copy(update={"base_path": "/desk"})
    redis = settings.redis.model_copy(update={"prefix": "desk"})
    app = FastAPI(docs_url="/manual")
    for each in (settings, settings.model_copy(update={"server": server, "redis": redis})):
        BFF(each).install(app)
    return app


async def test_two_in_one_application(redis_server: RedisServer) -> None:
    """Signing in at one signs in at that one, and signing out likewise; the host's own pages stay its own."""
    async with running_world(
        redis_server, host=two_hosts, server={"base_path": "/shop"}, also_at=["/desk"]
    ) as world:
        browser = await world.browser()

        async def signed_in() -> list[int]:
            return [(await browser.call(f"{path}/bff/user")).status_code for path in ("/shop", "/desk")]

        await browser.sign_in(base_path="/shop")
        assert [200, 401] == await signed_in()
        await browser.sign_in(base_path="/desk")
        assert [200, 200] == await signed_in()
        await browser.call("/shop/bff/logout", "POST")
        assert [401, 200] == await signed_in()
        assert "swagger" in (await browser.client.get("/manual")).text
