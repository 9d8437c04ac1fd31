"""The provider's documents: where they are looked for, and what is said about what cannot be used."""

from collections.abc import Iterator

import httpx
import pytest
import respx
from structlog.testing import capture_logs

from bff.errors import ProviderUnavailableError
from bff.oidc.client import OidcClient
from bff.settings.model import ProviderSettings
from bff.tasks import Tasks
from tests.oidc.test_client import DOCUMENT, ISSUER, KEY, SETTINGS, jwks

ELSEWHERE = "https://id.internal.example/policy/.well-known/openid-configuration?p=sign-in"


@pytest.fixture(name="router")
def _router() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as router:
        yield router


def client_of(settings: ProviderSettings = SETTINGS) -> OidcClient:
    return OidcClient(settings, clock=lambda: 1_700_000_000.0, tasks=Tasks())


async def test_discovery_can_be_elsewhere(router: respx.MockRouter) -> None:
    """Split horizon, and policies in the query; the issuer is compared all the same."""
    discovery = router.get(ELSEWHERE).respond(json=DOCUMENT)
    settings = SETTINGS.model_copy(update={"discovery_url": ELSEWHERE})
    assert ISSUER == (await client_of(settings).metadata()).issuer
    discovery.respond(json=DOCUMENT | {"issuer": "https://other.example"})
    with pytest.raises(ProviderUnavailableError, match=r"https://other\.example"):
        await client_of(settings).metadata()


async def test_endpoints_of_the_settings_are_used(router: respx.MockRouter) -> None:
    """A revocation endpoint that discovery lacks."""
    lacking = {name: value for name, value in DOCUMENT.items() if name != "revocation_endpoint"}
    router.get(f"{ISSUER}/.well-known/openid-configuration").respond(json=lacking)
    revoked = router.post("https://id.example/by-hand").respond(200)
    assert await client_of().revoke("t", "refresh_token") is None
    settings = SETTINGS.model_copy(update={"revocation_endpoint": "https://id.example/by-hand"})
    assert await client_of(settings).revoke("t", "refresh_token") is True
    assert revoked.call_count == 1


async def test_what_cannot_be_used_is_said(router: respx.MockRouter) -> None:
    """Endpoints by name; keys with the reason."""
    document = DOCUMENT | {"end_session_endpoint": "/logout", "revocation_endpoint": ""}
    router.get(f"{ISSUER}/.well-known/openid-configuration").respond(json=document)
    keys = jwks(KEY)["keys"]
    router.get(f"{ISSUER}/jwks").respond(json={"keys": [keys[0], keys[0] | {"use": "enc"}]})
    client = client_of()
    with capture_logs() as lines:
        assert 1 == len(await client.keys())
    (endpoints,) = [line for line in lines if line["event"] == "endpoints_ignored"]
    assert ["revocation_endpoint", "end_session_endpoint"] == endpoints["endpoints"]
    (dropped,) = [line for line in lines if line["event"] == "keys_dropped"]
    assert ["key 2 (one) is for another use"] == dropped["keys"]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_refused(router: respx.MockRouter, status: int) -> None:
    """Neither a document nor a secret goes where a redirect says."""
    evil = router.route(host="evil.example").respond(json=DOCUMENT)
    moved = httpx.Response(status, headers={"location": "https://evil.example/"})
    discovery = router.get(f"{ISSUER}/.well-known/openid-configuration").mock(return_value=moved)
    client = client_of()
    with pytest.raises(ProviderUnavailableError, match=str(status)):
        await client.metadata()
    discovery.mock(return_value=httpx.Response(200, json=DOCUMENT))
    router.post(f"{ISSUER}/token").mock(return_value=moved)
    with pytest.raises(ProviderUnavailableError):
        await client_of().refresh("r")
    assert not evil.called
