"""The proxy at our own issuer without a secret: it signs, and pushes what it asks for."""

import json

import pytest
from joserfc.jwk import ECKey, KeySet

from tests.issuer.flow import payload_of
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import running_world

KEY = ECKey.generate_key("P-256", {"kid": "the-proxys", "use": "sig"})


@pytest.mark.requirement("O-13", "O-14", "O-15")
async def test_a_sign_in_without_a_secret(redis_server: RedisServer) -> None:
    """private_key_jwt, PAR as the only way in, `resource`: sign-in, rotation, sign-out; no secret is sent."""
    registered = {
        "client_secret": None,
        "jwks": KeySet([KEY]).as_dict(private=False),
        "require_par": True,
        "audiences": ["urn:orders"],
    }
    provider = {
        "client_secret": None,
        "client_auth": "private_key_jwt",
        "client_key": json.dumps(KEY.as_dict(private=True)),
        "resource": ["urn:orders"],
    }
    async with running_world(redis_server, client=registered, provider=provider) as world:
        browser = await world.signed_in()
        for _ in range(2):
            assert 200 == (await browser.call("/bff/refresh", "POST")).status_code
            assert 200 == (await browser.call("/api/orders")).status_code
        answer = await browser.call("/bff/logout", "POST")
        assert answer.json()["provider_revoked"]
        forms = [form for _, _, form in world.issuer.seen.requests if "client_assertion" in form]
        tokens = [
            dict(request.headers)[b"authorization"].decode().removeprefix("Bearer ")
            for request in world.backend.requests
        ]
    assert ["urn:orders"] * 2 == [payload_of(token)["aud"] for token in tokens]
    assert len(forms) == 1 + 1 + 2 + 1  # pushed, code, two rotations, revocation
    assert len(forms) == len({payload_of(form["client_assertion"])["jti"] for form in forms})
    assert {world.issuer.url} == {payload_of(form["client_assertion"])["aud"] for form in forms}
    assert not any("client_secret" in form for form in forms)
