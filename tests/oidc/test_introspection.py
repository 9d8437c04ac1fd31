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
from bff.oidc.http import ProviderHttp, Sending
from bff.oidc.requests import Form
from bff.settings.model import ProviderSettings
from bff.tasks import Tasks
from tests.oidc.test_client import DOCUMENT, ISSUER
from tests.support.network.backend import Received, Reply, backend

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


async def test_a_kept_connection_that_breaks(client: OidcClient, provider: respx.MockRouter) -> None:
    """The question is put once more, and no third time; not where the provider may be at it yet."""
    active = httpx.Response(200, json={"active": True})
    broken: Exception = httpx.RemoteProtocolError("closed")
    late: Exception = httpx.ReadTimeout("late")
    provider["introspect"].mock(side_effect=[broken, active])
    assert await client.is_active("t0ken")
    faults: list[tuple[list[Exception | httpx.Response], int]] = [([broken, broken, active], 2), ([late], 1)]
    for fault, calls in faults:
        provider["introspect"].mock(side_effect=fault)
        before = provider["introspect"].call_count
        with pytest.raises(ProviderUnavailableError):
            await client.is_active("t0ken")
        assert calls == provider["introspect"].call_count - before


async def test_questions_share_a_connection() -> None:
    """Each call of a program waits for one: no handshake for each; forms that spend have one of their own."""

    async def answer(_: Received) -> Reply:
        return Reply(body=b'{"active":true}', headers=[(b"content-type", b"application/json")])

    async with backend(answer) as there:
        wire, form = ProviderHttp.of(SETTINGS), Form({}, {"token": "t0ken"})
        for expected in (1, 1, 1):
            assert 200 == (await wire.post(there.url, form, Sending(question=True))).status
            assert expected == there.connections
        for expected in (2, 3):
            await wire.post(there.url, form)
            assert expected == there.connections
        await wire.aclose()


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
