"""Tokens that are no session's own, bound to a key and proved (RFC 9449): the proxy's own, and minted."""

from typing import Any

import pytest

from bff.app import App
from bff.embedded import free_port
from tests.flow.test_dpop import bound_world, jkt_of
from tests.flow.test_forward_auth import ASK, PROOF, SECRET, ask
from tests.issuer.flow import payload_of
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import Browser, serving

OWN = {"token": "client", "scopes": ["orders"]}
MINTED = {"token": "minted", "audience": "stock"}
ROUTES: list[dict[str, Any]] = [
    OWN | {"path": "/open", "auth": "none", "methods": ["GET"]},
    OWN | {"path": "/mine"},
    OWN | {"path": "/judged", "headers": {"X-User": "sub"}},
    OWN | {"path": "/plain", "dpop": False},
    MINTED | {"path": "/minted", "dpop": True},
    MINTED | {"path": "/unbound"},
]


@pytest.mark.requirement("P-03", "P-09")
@pytest.mark.usefixtures("both_fronts")
async def test_tokens_of_no_session_are_proved_too(redis_server: RedisServer) -> None:
    """The proxy's own by one key in all processes, with a session or not; minted ones by the session's."""
    client = {"client_credentials": ["orders"]}
    proxies = {"secrets": [SECRET]}
    async with bound_world(redis_server, routes=ROUTES, client=client, forward_auth=proxies) as (
        world,
        guarded,
    ):
        stranger, browser = await world.browser(), await world.signed_in()
        own = await jkt_of(stranger, path="/open/x")
        assert 1 == guarded.refused  # the backend's nonce, without a session as with one
        session = await jkt_of(browser)
        assert own != session
        for _ in range(2):
            assert {own} == {
                await jkt_of(who, path=path)
                for who, path in ((stranger, "/open/x"), (browser, "/mine/x"), (browser, "/judged/x"))
            }
            assert session == await jkt_of(browser, path="/minted/x")
        guarded.nonce = "n-2"
        assert own == await jkt_of(browser, path="/mine/x")
        guarded.nonce = "n-3"
        assert session == await jkt_of(browser, path="/minted/x")
        assert (3, 0) == (guarded.refused, world.refreshes)
        minted = token_of_last(world.backend.requests)
        assert {"jkt": session} == minted["cnf"]
        for path in ("/plain/x", "/unbound/x"):
            assert {"bound": False} == (await browser.call(path)).json()
        assert ["jkt", None] == [next(iter(payload_of(one).get("cnf", [])), None) for one in guarded.plain]

        for who, path in ((stranger, "/open/x"), (browser, "/mine/x"), (browser, "/minted/x")):
            told = {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": path}
            answer = await ask(who, told, PROOF, path=ASK)
            assert ("DPoP", True) == (answer.headers["authorization"][:4], "dpop" in answer.headers), path

        port = free_port()
        async with serving(App(world.app.settings, clock=world.clock), port):
            other = Browser(f"http://127.0.0.1:{port}")
            assert own == await jkt_of(other, path="/open/x", headers={"Host": world.url.split("//")[1]})
            await other.client.aclose()
        assert 1 == world.issuer.seen.token_calls["client_credentials"]
        (name,) = world.redis.cli("--scan", "--pattern", "bff:client:*").split()
        assert "ES256." not in world.redis.cli("GET", name)


def token_of_last(requests: list[Any]) -> dict[str, Any]:
    """The claims of the token in the last request."""
    (value,) = requests[-1].values(b"authorization")
    claims: dict[str, Any] = payload_of(value.decode().partition(" ")[2])
    return claims
