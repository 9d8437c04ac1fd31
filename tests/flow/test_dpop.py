"""Tokens that are bound to a key of the session, and the proofs that go with them (RFC 9449)."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from bff.app import App
from bff.verify.dpop import Proof, check_proof
from tests.flow.test_forward_auth import ASK, PROOF, SECRET, ask
from tests.issuer.flow import payload_of
from tests.support.network.backend import Received, Reply
from tests.support.network.sockets import running_sockets
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import JSON, Browser, World, running_world, serving

BOUND = {"token_binding": "dpop"}
ASKS = b'DPoP error="use_dpop_nonce", algs="ES256 EdDSA"'
OTHER_KEY = b'DPoP error="invalid_dpop_proof"'


@dataclass
class Guarded:
    """A backend that takes a bound token with a good proof alone, once, and asks for its newest nonce.

    Attributes:
        nonce: the one to ask for; empty for none.
        answer: headers of each 200.
    """

    world: World
    nonce: str = "n-1"
    answer: list[tuple[bytes, bytes]] = field(default_factory=list)
    proofs: list[Proof] = field(default_factory=list)
    plain: list[str] = field(default_factory=list)
    refused: int = 0

    async def __call__(self, request: Received) -> Reply:
        (authorization,) = request.values(b"authorization")
        scheme, _, token = authorization.decode().partition(" ")
        if scheme == "Bearer":
            self.plain.append(token)
            return Reply(body=b'{"bound":false}', headers=[JSON])
        (text,) = request.values(b"dpop")
        url = self.world.backend.url + request.target.decode().partition("?")[0]
        now = self.world.clock()
        proof = check_proof(
            text.decode(), method=request.method.decode(), url=url, now=now, access_token=token
        )
        assert isinstance(proof, Proof), proof
        assert "DPoP" == scheme
        assert payload_of(token)["cnf"]["jkt"] == proof.jkt
        assert proof.jti not in [each.jti for each in self.proofs]
        self.proofs.append(proof)
        if self.nonce and proof.nonce != self.nonce:
            self.refused += 1
            asked = [(b"www-authenticate", ASKS), (b"dpop-nonce", self.nonce.encode())]
            return Reply(status=401, headers=asked)
        return Reply(body=json.dumps({"jkt": proof.jkt}).encode(), headers=[JSON, *self.answer])


@asynccontextmanager
async def bound_world(redis: RedisServer, **options: Any) -> AsyncIterator[tuple[World, Guarded]]:
    provider = {**BOUND, **options.pop("provider", {})}
    client = {"require_dpop": True, "dpop_nonce": True, **options.pop("client", {})}
    async with running_world(redis, provider=provider, client=client, **options) as world:
        guarded = Guarded(world)
        world.reply = guarded
        yield world, guarded


async def jkt_of(browser: Browser, method: str = "GET", path: str = "/api/orders?page=2", **more: Any) -> str:
    """The key that a call was proved by, as the backend says."""
    answer = await browser.call(path, method, **more)
    assert 200 == answer.status_code, answer.text
    assert "dpop-nonce" not in answer.headers
    jkt: str = answer.json()["jkt"]
    return jkt


@pytest.mark.requirement("P-03")
@pytest.mark.usefixtures("both_fronts")
@pytest.mark.parametrize(("alg", "near_cache"), [("ES256", True), ("EdDSA", False)])
async def test_every_call_is_proved_by_the_sessions_key(
    redis_server: RedisServer, alg: str, near_cache: bool
) -> None:
    """Sign-in, calls and a rotation by one key; a backend's nonce costs one repeat, and no rotation."""
    async with bound_world(redis_server, provider={"dpop_alg": alg}, session={"near_cache": near_cache}) as (
        world,
        guarded,
    ):
        browser, other = await world.signed_in(), await world.signed_in()
        first = await jkt_of(browser)
        assert (1, ["", "n-1"]) == (guarded.refused, [each.nonce or "" for each in guarded.proofs])
        forged = {"DPoP": "a.proof.of-the-page"}
        assert {first} == {
            await jkt_of(browser),
            await jkt_of(browser, "POST", json={"order": 7}),
            await jkt_of(browser, headers=forged),
        }
        assert first != await jkt_of(other)
        assert (1, 0) == (guarded.refused, world.refreshes)

        # A newer nonce is taken from a good answer too; another one is asked for once.
        guarded.answer, guarded.nonce = [(b"DPoP-Nonce", b"n-2")], "n-1"
        await jkt_of(browser)
        guarded.nonce, guarded.answer = "n-2", []
        await jkt_of(browser)
        assert 1 == guarded.refused
        guarded.nonce = "n-3"
        await jkt_of(browser)
        assert (2, 0) == (guarded.refused, world.refreshes)

        # Many at once with an old nonce: each is repeated once at most.
        guarded.nonce, guarded.refused = "n-4", 0
        assert {first} == set(await asyncio.gather(*(jkt_of(browser) for _ in range(8))))
        assert 1 <= guarded.refused <= 8

        tokens = {request.values(b"authorization")[0] for request in world.backend.requests}
        assert 200 == (await browser.call("/bff/refresh", "POST")).status_code
        assert first == await jkt_of(browser)
        assert world.backend.requests[-1].values(b"authorization")[0] not in tokens

        # The key is in no answer, and in Redis only where it is sealed.
        record = str(await world.app.shared.store._redis.hgetall(browser.session_key))
        texts = record + "".join(answer.text for answer in browser.answers) + str(browser.client.cookies)
        assert f"{alg}." not in texts
        assert "proof_key" not in texts


@pytest.mark.requirement("P-03")
@pytest.mark.usefixtures("both_fronts")
async def test_a_refused_proof_rotates_nothing(redis_server: RedisServer) -> None:
    """A backend that goes on asking is asked twice; its 401 is its own, as is one without a nonce."""
    async with bound_world(redis_server) as (world, _):
        browser = await world.signed_in()

        async def never_content(_: Received) -> Reply:
            count = str(len(world.backend.requests)).encode()
            return Reply(401, [(b"www-authenticate", ASKS), (b"dpop-nonce", b"n-" + count)])

        async def unhelpful(_: Received) -> Reply:
            return Reply(401, [(b"www-authenticate", OTHER_KEY)])

        for reply, times in ((never_content, 2), (unhelpful, 1)):
            world.reply = reply
            world.backend.requests.clear()
            answer = await browser.call("/api/orders")
            assert (401, "1") == (answer.status_code, answer.headers["bff-upstream"])
            assert "dpop-nonce" not in answer.headers
            assert times == len(world.backend.requests)
        assert 0 == world.refreshes


@pytest.mark.requirement("P-03")
async def test_a_body_that_is_gone_is_not_sent_again(redis_server: RedisServer) -> None:
    """The 401 passes through, and the next call has the nonce."""
    route = {"replay_buffer": 0, "expect": False}
    async with bound_world(redis_server, route=route) as (world, guarded):
        browser = await world.signed_in()
        answer = await browser.call("/api/orders", "POST", content=b"x" * 500_000)
        assert (401, "1", 0) == (answer.status_code, answer.headers["bff-retry"], world.refreshes)
        await jkt_of(browser, "POST", content=b"x" * 500_000)
        assert 1 == guarded.refused


@pytest.mark.requirement("P-03")
async def test_a_route_may_want_plain_tokens_or_its_own(redis_server: RedisServer) -> None:
    """`dpop = false` sends no proof; a token that is got in exchange is bound to the same key."""
    routes: list[dict[str, Any]] = [
        {"path": "/plain", "dpop": False},
        {"path": "/own", "audience": "orders"},
        {"path": "/told", "audience": "orders", "headers": {"X-User": "sub"}},
        {"path": "/named", "headers": {"X-User": "sub"}},
    ]
    async with bound_world(redis_server, routes=routes, client={"audiences": ["orders"]}) as (world, guarded):
        browser = await world.signed_in()
        first = await jkt_of(browser)
        assert {"bound": False} == (await browser.call("/plain/orders")).json()
        assert 1 == len(guarded.plain)
        for path in 2 * ("/own/orders", "/told/orders", "/named/orders"):
            assert first == await jkt_of(browser, path=path)
            request = world.backend.requests[-1]
            token = request.values(b"authorization")[0].decode().partition(" ")[2]
            assert (payload_of(token)["aud"] == "orders") is (path != "/named/orders")
            assert ([] if path == "/own/orders" else [b"alice"]) == request.values(b"x-user")
        assert 1 == world.issuer.seen.token_calls["urn:ietf:params:oauth:grant-type:token-exchange"]


@pytest.mark.requirement("P-03")
async def test_sessions_of_before_go_on(redis_server: RedisServer) -> None:
    """A session without a key sends its bearer token until it is refreshed; then its tokens are bound.

    The same the other way round: a bound session is a bearer's again once the setting is gone.
    """
    async with running_world(redis_server) as world:
        guarded = world.reply = Guarded(world, nonce="")
        browser = await world.signed_in()
        settings = world.app.settings
        bound = settings.model_copy(update={"provider": settings.provider.model_copy(update=BOUND)})
        await world.stop_proxy()
        async with serving(App(bound, clock=world.clock), world.port):
            assert {"bound": False} == (await browser.call("/api/orders")).json()
            assert 200 == (await browser.call("/bff/refresh", "POST")).status_code
            jkt = await jkt_of(browser)
            assert 1 == len(guarded.plain)
        async with serving(App(bound, clock=world.clock), world.port):  # another process: the record's key
            assert jkt == await jkt_of(browser)
            assert 200 == (await browser.call("/bff/refresh", "POST")).status_code
            assert jkt == await jkt_of(browser)
        async with serving(App(settings, clock=world.clock), world.port):
            assert 200 == (await browser.call("/bff/refresh", "POST")).status_code
            assert {"bound": False} == (await browser.call("/api/orders")).json()
            assert "cnf" not in payload_of(guarded.plain[-1])


@pytest.mark.requirement("P-03", "P-13")
async def test_a_reverse_proxy_is_told_a_proof(redis_server: RedisServer) -> None:
    """It is for the client's method and path at the route's upstream."""
    async with bound_world(
        redis_server, forward_auth={"secrets": [SECRET]}, route={"strip_prefix": False}
    ) as (world, _):
        browser = await world.signed_in()
        for _ in range(2):
            told = {"X-Forwarded-Method": "POST", "X-Forwarded-Uri": "/api/orders?page=2"}
            answer = await ask(browser, told, PROOF, path=ASK)
            scheme, token = answer.headers["authorization"].split(" ")
            proof = check_proof(
                answer.headers["dpop"],
                method="POST",
                url=f"{world.backend.url}/api/orders",
                now=world.clock(),
                access_token=token,
            )
            assert isinstance(proof, Proof), proof
            assert ("DPoP", payload_of(token)["cnf"]["jkt"]) == (scheme, proof.jkt)


@pytest.mark.requirement("P-03", "B-29")
async def test_a_handshake_is_proved(redis_server: RedisServer) -> None:
    """A WebSocket's upgrade has a proof of GET, with the nonce that the backend asks for, or gave before."""

    def accept(_: ServerConnection, __: Request, response: Response) -> None:
        response.headers["DPoP-Nonce"] = "n-good"

    async with running_sockets(redis_server, provider=BOUND, backend={"process_response": accept}) as sockets:
        browser = await sockets.world.signed_in()
        found: list[Proof] = []

        def judge(_: ServerConnection, request: Request) -> Response | None:
            token = request.headers["Authorization"].removeprefix("DPoP ")
            now, url = sockets.world.clock(), f"{sockets.backend.url}/feed"
            (text,) = request.headers.get_all("DPoP")
            proof = check_proof(text, method="GET", url=url, now=now, access_token=token)
            assert isinstance(proof, Proof), proof
            found.append(proof)
            if proof.nonce == nonce:
                return None
            response = _.protocol.reject(401, "")
            response.headers["WWW-Authenticate"] = ASKS.decode()
            response.headers["DPoP-Nonce"] = f"n-{len(found)}"
            return response

        nonce = "n-1"
        sockets.backend.refusal = judge
        async with await sockets.connect(browser, "/api/feed?from=7") as socket:
            await socket.send("hello")
            assert "hello" == await socket.recv()
        assert [None, "n-1"] == [proof.nonce for proof in found]
        nonce = "n-good"  # which the good answer brought
        async with await sockets.connect(browser) as socket:
            assert socket.response is not None
            assert "DPoP-Nonce" not in socket.response.headers
        assert "n-good" == found[2].nonce
        nonce = "never"
        assert 401 == (await sockets.refused(browser)).status_code
        assert (5, 0) == (len(found), sockets.world.refreshes)
