"""Questions about tokens that others bring: what is asked, and which answers are answers."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
import respx
from pydantic import SecretStr

from bff.errors import ProviderUnavailableError
from bff.oidc import introspection
from bff.oidc.client import OidcClient
from bff.settings.model import ProviderSettings
from bff.tasks import Tasks
from tests.oidc.test_client import DOCUMENT, ISSUER

pytestmark = pytest.mark.requirement("P-10")
SETTINGS = ProviderSettings(issuer=ISSUER, client_id="spa-bff", client_secret=SecretStr("s3cr3t"))


@pytest.fixture(name="provider")
def _provider() -> Iterator[respx.MockRouter]:
    with respx.mock(base_url=ISSUER, assert_all_called=False) as router:
        endpoint = {"introspection_endpoint": f"{ISSUER}/introspect"}
        router.get("/.well-known/openid-configuration", name="metadata").respond(json=DOCUMENT | endpoint)
        router.post("/introspect", name="introspect")
        yield router


@pytest.fixture
async def client(provider: respx.MockRouter) -> AsyncIterator[OidcClient]:
    del provider
    made = OidcClient(SETTINGS, clock=lambda: 1_800_000_000.0, tasks=Tasks())
    yield made
    await made.aclose()


async def test_the_client_asks_in_its_own_name(client: OidcClient, provider: respx.MockRouter) -> None:
    """The token in the form, the client's proof beside it (RFC 7662 2.1)."""
    for active in (True, False):
        provider["introspect"].respond(json={"active": active, "sub": "alice"})
        assert active is await client.is_active("t0ken")
    request = provider["introspect"].calls.last.request
    form = parse_qs(request.content.decode())
    assert {"token": ["t0ken"], "token_type_hint": ["access_token"]} == form
    assert request.headers["authorization"].startswith("Basic ")


@pytest.mark.parametrize(
    ("status", "document"),
    [
        (200, {}),
        (200, {"active": "true"}),
        (200, {"active": 1}),
        (200, [True]),
        (200, None),
        (201, {"active": True}),
        (401, {"error": "invalid_client"}),
        (500, {"active": True}),
    ],
)
async def test_another_answer_is_none(
    client: OidcClient, provider: respx.MockRouter, status: int, document: Any
) -> None:
    """It makes no token good, and none bad."""
    provider["introspect"].respond(status, json=document)
    with pytest.raises(ProviderUnavailableError):
        await client.is_active("t0ken")


async def test_nobody_answers(
    client: OidcClient, provider: respx.MockRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of reach, without the endpoint, or too late."""
    provider["introspect"].mock(side_effect=httpx.ConnectError)
    with pytest.raises(ProviderUnavailableError):
        await client.is_active("t0ken")

    async def hang(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(30)
        return httpx.Response(500)

    provider["introspect"].mock(side_effect=hang)
    monkeypatch.setattr(introspection, "TIMEOUT", 0.01)
    with pytest.raises(ProviderUnavailableError, match="in time"):
        await client.is_active("t0ken")
    monkeypatch.undo()
    provider["metadata"].respond(json=DOCUMENT)
    other = OidcClient(SETTINGS, clock=lambda: 1_800_000_000.0, tasks=Tasks())
    with pytest.raises(ProviderUnavailableError, match="no introspection endpoint"):
        await other.is_active("t0ken")
    await other.aclose()
