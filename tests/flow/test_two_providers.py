"""Backends' tokens and endings from outside with two providers: nothing of one is about the other's users."""

import json
import time
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from bff.embedded import free_port
from tests.issuer.flow import payload_of
from tests.support.network.backend import Received, Reply
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import JSON, Browser, World, running_world
from tests.support.providers.documents import documents

pytestmark = pytest.mark.requirement("P-01")
EXCHANGE, CLIENT = "urn:ietf:params:oauth:grant-type:token-exchange", "client_credentials"
ROUTES: list[dict[str, Any]] = [
    {"path": "/exchanged", "audience": "orders"},
    {"path": "/minted", "token": "minted", "audience": "orders"},
    {"path": "/stock", "auth": "none", "methods": ["GET"], "token": "client", "audience": "orders"},
    {"path": "/theirs", "token": "client", "token_provider": "partners", "audience": "orders"},
]
REVOKED = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
FRAME = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
UNAVAILABLE = (503, "provider_unavailable")


async def tell_token(request: Received) -> Reply:
    (value,) = request.values(b"authorization")
    claims = payload_of(value.decode().removeprefix("Bearer "))
    return Reply(body=json.dumps(claims).encode(), headers=[JSON])


async def signed_in_at_both(world: World) -> tuple[Browser, Browser]:
    """Alice at each: the same `sub`, and two people."""
    staff, guest = await world.browser(), await world.browser()
    await staff.sign_in()
    await guest.sign_in(provider="partners")
    return staff, guest


async def told(browser: Browser, path: str) -> tuple[str, str]:
    answer = await browser.call(path)
    assert 200 == answer.status_code, answer.text
    claims = answer.json()
    return claims["iss"], claims["sub"]


@pytest.mark.requirement("P-09")
async def test_each_token_is_of_its_provider(redis_server: RedisServer) -> None:
    """Exchanged at the session's own, minted for one person each, the proxy's own as the route says."""
    client = {"audiences": ["orders"], "client_credentials": []}
    async with running_world(redis_server, routes=ROUTES, client=client, others={"partners": {}}) as world:
        world.reply = tell_token
        main, partners = world.issuer, world.others["partners"]
        staff, guest = await signed_in_at_both(world)
        ours = "client:spa-bff"
        for browser, issuer, sub in ((staff, main, "alice"), (guest, partners, "partners:alice")):
            assert (issuer.url, "alice") == await told(browser, "/exchanged") == await told(browser, "/api/x")
            assert (world.url, sub) == await told(browser, "/minted")
            assert (main.url, ours) == await told(browser, "/stock")
            assert (partners.url, ours) == await told(browser, "/theirs")
        for issuer in (main, partners):
            assert (1, 1) == (issuer.seen.token_calls[EXCHANGE], issuer.seen.token_calls[CLIENT])

        partners.stop()
        world.clock.ahead = 400  # all tokens are over
        assert 200 == (await staff.call("/stock")).status_code
        assert 200 == (await staff.call("/exchanged")).status_code
        refused = await staff.call("/theirs")
        assert UNAVAILABLE == (refused.status_code, refused.json()["code"])
        partners.start()


@pytest.mark.requirement("P-11")
async def test_an_event_of_one_ends_nobody_of_the_other(redis_server: RedisServer) -> None:
    """Shared Signals and the front channel: by the wrong key, issuer, user or `sid` nothing ends."""
    keys = {name: ECKey.generate_key("P-256", {"use": "sig", "kid": "one"}) for name in ("main", "partners")}
    with documents() as transmitter:
        settings = {}
        for name, key in keys.items():
            transmitter.documents[f"/{name}"] = {"keys": [key.as_dict(private=False)]}
            settings[name] = {
                "signals_issuer": f"{transmitter.issuer}/{name}/events",
                "signals_jwks_uri": f"{transmitter.issuer}/{name}",
                "frontchannel_logout": True,
            }
        async with running_world(
            redis_server, provider=settings["main"], others={"partners": settings["partners"]}
        ) as world:
            issuers = {"main": world.issuer.url, "partners": world.others["partners"].url}
            staff, guest = await signed_in_at_both(world)

            async def push(by: str, of: str, sub_id: dict[str, str], signed: str) -> int:
                now = time.time()
                claims = {
                    "iss": settings[by]["signals_issuer"],
                    "aud": "spa-bff",
                    "iat": now,
                    "jti": f"{now}",
                }
                claims |= {"sub_id": {"iss": issuers[of], **sub_id}, "events": {REVOKED: {}}}
                header = {"alg": "ES256", "kid": "one", "typ": "secevent+jwt"}
                sent = {"content-type": "application/secevent+jwt"}
                token = jwt.encode(header, claims, keys[signed])
                async with httpx.AsyncClient(base_url=world.url, timeout=60) as client:
                    return (await client.post("/bff/events/ssf", content=token, headers=sent)).status_code

            async def framed(of: str, sid: str) -> int:
                async with httpx.AsyncClient(base_url=world.url, timeout=60) as client:
                    asked = {"iss": issuers[of], "sid": sid}
                    answer = await client.get("/bff/frontchannel-logout", params=asked, headers=FRAME)
                    return answer.status_code

            async def living() -> tuple[int, int]:
                return (await staff.user()).status_code, (await guest.user()).status_code

            with world.redis.client() as client:
                sids = [client.hget(browser.session_key, "sid") for browser in (staff, guest)]
            alice = {"format": "iss_sub", "sub": "alice"}
            assert 202 == await push("partners", "main", alice, "partners")  # about a user of the other's
            assert 400 == await push("main", "main", alice, "partners")  # in the other's name
            assert 202 != await push(
                "partners", "partners", alice, "main"
            )  # 503: other keys may be on their way
            assert 200 == await framed("partners", sids[0]) == await framed("main", sids[1])
            assert (200, 200) == await living()
            assert 202 == await push("partners", "partners", {"format": "opaque", "id": "alice"}, "partners")
            assert (200, 401) == await living()
            assert "security_signal" == (await guest.user()).json()["reason"]
            await guest.sign_in(provider="partners")
            assert 200 == await framed("main", sids[0])
            assert (401, 200) == await living()


@pytest.mark.requirement("P-11")
async def test_one_transmitter_for_the_providers_of_two_frontends(redis_server: RedisServer) -> None:
    """Each frontend takes the very same token for its own provider's user, once."""
    key = ECKey.generate_key("P-256", {"use": "sig", "kid": "one"})
    port = free_port()
    with documents() as transmitter:
        transmitter.documents["/jwks"] = {"keys": [key.as_dict(private=False)]}
        signals = {"signals_issuer": transmitter.issuer, "signals_jwks_uri": f"{transmitter.issuer}/jwks"}
        places = {"main": f"http://127.0.0.1:{port}", "partners": f"http://127.0.0.1:{port}/desk"}
        async with running_world(
            redis_server,
            port=port,
            provider=signals,
            others={"partners": signals},
            frontends=[
                {"name": f"of-{name}", "public_url": at, "providers": [name]} for name, at in places.items()
            ],
        ) as world:
            staff, guest = await signed_in_at_both(world)
            claims = {"iss": transmitter.issuer, "aud": "spa-bff", "iat": time.time(), "jti": "the-one"}
            claims |= {"sub_id": {"format": "opaque", "id": "alice"}, "events": {REVOKED: {}}}
            token = jwt.encode({"alg": "ES256", "kid": "one", "typ": "secevent+jwt"}, claims, key)
            sent = {"content-type": "application/secevent+jwt"}
            living = []
            for at in (places["main"], places["main"], places["partners"]):
                async with httpx.AsyncClient(timeout=60) as client:
                    answer = await client.post(f"{at}/bff/events/ssf", content=token, headers=sent)
                    assert 202 == answer.status_code
                living.append(((await staff.user()).status_code, (await guest.user()).status_code))
            assert [(401, 200), (401, 200), (401, 401)] == living
