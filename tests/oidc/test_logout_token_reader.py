"""Logout tokens of a provider whose keys change."""

from collections.abc import Iterator
from typing import Any

import pytest
import respx
from joserfc import jwt
from joserfc.jwk import RSAKey

from bff.errors import ProviderUnavailableError
from bff.oidc.client import OidcClient
from bff.oidc.document_cache import PAUSE
from bff.oidc.logout_token import EVENT
from bff.oidc.logout_token_reader import logout_tokens
from bff.oidc.signed_event import SignedEventRejectedError
from bff.tasks import Tasks
from tests.oidc.test_client import DOCUMENT, ISSUER, KEY, NEW_KEY, SETTINGS, Clock, jwks
from tests.support.keys import rsa_key

SAME_NAME = rsa_key({"kid": "one"}, number=1)


@pytest.fixture(name="provider")
def _provider() -> Iterator[respx.MockRouter]:
    with respx.mock(base_url=ISSUER, assert_all_called=False) as router:
        router.get("/.well-known/openid-configuration").respond(json=DOCUMENT)
        router.get("/jwks", name="jwks").respond(json=jwks(KEY))
        yield router


def token(clock: Clock, key: RSAKey, *, kid: str | None) -> str:
    now = int(clock())
    base = {"iss": ISSUER, "aud": "spa-bff", "iat": now, "exp": now + 60, "jti": "j", "sub": "alice"}
    header: dict[str, Any] = {"alg": "RS256"} | ({} if kid is None else {"kid": kid})
    return jwt.encode(header, {**base, "events": {EVENT: {}}}, key)


@pytest.mark.requirement("L-04", "O-09")
@pytest.mark.parametrize(
    ("key", "kid"), [(NEW_KEY, "two"), (NEW_KEY, None), (SAME_NAME, "one")], ids=["new", "unnamed", "reused"]
)
async def test_a_key_newer_than_the_set_is_no_lasting_refusal(
    provider: respx.MockRouter, key: RSAKey, kid: str | None
) -> None:
    """Within the cooldown the provider is asked to come again; after it the new keys are fetched."""
    clock = Clock()
    client = OidcClient(SETTINGS, clock=clock, tasks=Tasks())
    tokens = logout_tokens(client, clock)
    await client.keys()
    clock.now += PAUSE / 2
    provider["jwks"].respond(json=jwks(key))
    with pytest.raises(ProviderUnavailableError) as caught:
        await tokens.read(token(clock, key, kid=kid))
    assert PAUSE == caught.value.retry_after
    clock.now += PAUSE
    assert (await tokens.read(token(clock, key, kid=kid))).sub == "alice"


@pytest.mark.requirement("L-04")
async def test_an_outage_refuses_no_logout_token_for_good(provider: respx.MockRouter) -> None:
    """The keys cannot be fetched: 503, not 400; a token that no key of the newest set signed is 400."""
    clock = Clock()
    client = OidcClient(SETTINGS, clock=clock, tasks=Tasks())
    tokens = logout_tokens(client, clock)
    await client.keys()
    clock.now += PAUSE
    provider["jwks"].respond(503)
    with pytest.raises(ProviderUnavailableError):
        await tokens.read(token(clock, NEW_KEY, kid="two"))
    clock.now += PAUSE
    provider["jwks"].respond(json=jwks(KEY))
    with pytest.raises(SignedEventRejectedError):
        await tokens.read(token(clock, NEW_KEY, kid="two"))
