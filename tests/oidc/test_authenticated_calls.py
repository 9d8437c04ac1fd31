"""A client whose secret changes: here and at the provider, never in the same moment (S-09)."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
import respx
from joserfc import jws
from joserfc.jwk import ECKey
from pydantic import SecretStr

from bff.errors import ProviderUnavailableError
from bff.oidc.client import OidcClient
from bff.oidc.token_response import TokenAnswer
from bff.settings.model import ProviderSettings
from bff.tasks import Tasks

ISSUER = "https://id.example"
DOCUMENT = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "revocation_endpoint": f"{ISSUER}/revoke",
    "pushed_authorization_request_endpoint": f"{ISSUER}/par",
    "jwks_uri": f"{ISSUER}/jwks",
}

pytestmark = pytest.mark.requirement("S-09")


def settings(secret: str) -> ProviderSettings:
    return ProviderSettings(
        issuer=ISSUER, client_id="spa", client_secret=SecretStr(secret), client_auth="client_secret_post"
    )


def _signer(assertion: str) -> str:
    return str(jws.extract_compact(assertion.encode()).headers()["kid"])


class Provider:
    """Accepts these secrets, and keys of these names, and notes the ones that were tried."""

    def __init__(self) -> None:
        self.accepts = {"one"}
        self.tried: list[str] = []
        self.refuses: dict[str, str] | None = None
        self.fails: int | None = None
        self.meanwhile: list[Callable[[], None]] = []  # each is done while one request is answered

    def answer(self, request: httpx.Request) -> httpx.Response:
        form = dict(httpx.QueryParams(request.content.decode()))
        secret = form.get("client_secret") or _signer(form["client_assertion"])
        self.tried.append(secret)
        if self.meanwhile:
            self.meanwhile.pop()()
        if self.fails is not None:
            return httpx.Response(self.fails, json=self.refuses)
        if self.refuses is not None:
            return httpx.Response(400, json=self.refuses)
        if secret not in self.accepts:
            return httpx.Response(401, json={"error": "invalid_client"})
        content: dict[str, Any] = {"access_token": "a", "token_type": "Bearer", "expires_in": 60}
        content["request_uri"] = "urn:request"
        return httpx.Response(201 if request.url.path == "/par" else 200, json=content)

    def take(self) -> list[str]:
        tried, self.tried = self.tried, []
        return tried


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    with respx.mock(base_url=ISSUER, assert_all_called=False) as router:
        router.get("/.well-known/openid-configuration").respond(json=DOCUMENT)
        for path in ("/token", "/revoke", "/par"):
            router.post(path).mock(side_effect=made.answer)
        yield made


@pytest.fixture
async def client(provider: Provider) -> AsyncIterator[OidcClient]:
    del provider
    tasks = Tasks()
    made = OidcClient(settings("one"), clock=lambda: 1_700_000_000.0, tasks=tasks)
    yield made
    await tasks.drain(5)
    await made.aclose()


async def refreshes(client: OidcClient) -> bool:
    return isinstance(await client.refresh("token"), TokenAnswer)


async def test_here_first(client: OidcClient, provider: Provider) -> None:
    """The former secret serves until the provider knows the newer one, and is done with after that."""
    client.authenticate_by(settings("two"))
    assert await refreshes(client)
    assert ["two", "one"] == provider.take()
    assert await refreshes(client)
    assert ["one"] == provider.take()
    provider.accepts = {"two"}
    assert await refreshes(client)
    assert ["one", "two"] == provider.take()
    provider.accepts = set()
    with pytest.raises(ProviderUnavailableError):
        await refreshes(client)
    assert ["two"] == provider.take()


async def test_a_call_that_began_before_the_change(client: OidcClient, provider: Provider) -> None:
    """It says nothing about the newer secret, which is tried by the next call all the same."""
    provider.meanwhile.append(lambda: client.authenticate_by(settings("two")))
    assert await refreshes(client)
    assert ["one"] == provider.take()
    assert await refreshes(client)
    assert ["two", "one"] == provider.take()


@pytest.mark.parametrize("status", [302, 400, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("said", [None, {"error": "temporarily_unavailable"}])
async def test_a_failure_says_nothing_about_a_secret(
    client: OidcClient, provider: Provider, status: int, said: dict[str, str] | None
) -> None:
    """An outage between the change here and the one at the provider: the former secret serves on."""
    client.authenticate_by(settings("two"))
    provider.fails, provider.refuses = status, said
    with pytest.raises(ProviderUnavailableError):
        await refreshes(client)
    assert ["two"] == provider.take()
    provider.fails = provider.refuses = None
    assert await refreshes(client)
    assert ["two", "one"] == provider.take()


@pytest.mark.parametrize("error", ["invalid_grant", "unauthorized_client", "invalid_scope", "invalid_target"])
async def test_a_refusal_behind_the_client_says_that_it_is_known(
    client: OidcClient, provider: Provider, error: str
) -> None:
    """The provider looks at the client first."""
    client.authenticate_by(settings("two"))
    provider.refuses = {"error": error}
    with suppress(ProviderUnavailableError):
        await refreshes(client)
    provider.refuses = None
    with pytest.raises(ProviderUnavailableError):
        await refreshes(client)
    assert ["two", "two"] == provider.take()


async def test_there_first(client: OidcClient, provider: Provider) -> None:
    """A refused secret is a reason to look at the file; a newer one there goes out at once."""
    provider.accepts = {"two"}
    with pytest.raises(ProviderUnavailableError):
        await refreshes(client)
    assert ["one"] == provider.take()

    def newer() -> bool:
        client.authenticate_by(settings("two"))
        return True

    client.ask_for_newer(newer)
    assert await refreshes(client)
    assert ["one", "two"] == provider.take()
    assert await refreshes(client)
    assert ["two"] == provider.take()


async def test_every_call(client: OidcClient, provider: Provider) -> None:
    """Revocations and pushed requests, too."""
    client.authenticate_by(settings("two"))
    assert await client.revoke("token", "refresh_token")
    assert ["two", "one"] == provider.take()
    client.authenticate_by(settings("three"))
    url = await client.authorization_url(
        redirect_uri="https://app.example/cb", state="s", nonce="n", code_verifier="v", params={}
    )
    assert "request_uri" in url
    assert ["three", "one"] == provider.take()


async def test_other_refusals_are_final(client: OidcClient, provider: Provider) -> None:
    """Only a client that is not known has spent nothing."""
    client.authenticate_by(settings("two"))
    provider.refuses = {"error": "invalid_grant"}
    assert not await refreshes(client)
    assert ["two"] == provider.take()


async def test_a_key_is_followed_as_a_secret_is(provider: Provider) -> None:
    """By private_key_jwt: the newer key signs first, and the former one until the provider knows that."""
    former, newer = (ECKey.generate_key("P-256", {"kid": name}) for name in ("one", "two"))

    def by(key: ECKey) -> ProviderSettings:
        secret = SecretStr(json.dumps(key.as_dict(private=True)))
        return ProviderSettings(
            issuer=ISSUER, client_id="spa", client_auth="private_key_jwt", client_key=secret
        )

    tasks = Tasks()
    client = OidcClient(by(former), clock=lambda: 1_700_000_000.0, tasks=tasks)
    client.authenticate_by(by(newer))
    assert await refreshes(client)
    assert ["two", "one"] == provider.take()
    await tasks.drain(5)
    await client.aclose()
