"""What the provider's answers mean to the proxy."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import respx
from joserfc import jwt
from joserfc.jwk import RSAKey
from pydantic import SecretStr

from bff.errors import ProviderUnavailableError
from bff.oidc import revocation
from bff.oidc.client import OidcClient
from bff.oidc.document_cache import PAUSE
from bff.oidc.http import AnswerLostError
from bff.oidc.id_token import IdTokenRejectedError
from bff.oidc.token_errors import InvalidGrant
from bff.oidc.token_response import TokenAnswer
from bff.settings.model import ProviderSettings
from bff.tasks import Tasks
from tests.support.keys import rsa_key

ISSUER = "https://id.example"
DOCUMENT = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "jwks_uri": f"{ISSUER}/jwks",
    "revocation_endpoint": f"{ISSUER}/revoke",
    "end_session_endpoint": f"{ISSUER}/end",
}
KEY = rsa_key({"kid": "one"})
NEW_KEY = rsa_key({"kid": "two"}, number=1)
GOOD = {"access_token": "s3cr3t-access", "token_type": "Bearer", "expires_in": 60}
SETTINGS = ProviderSettings(issuer=ISSUER, client_id="spa-bff", client_secret=SecretStr("s3cr3t"))


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(name="clock")
def _clock() -> Clock:
    return Clock()


@pytest.fixture(name="provider")
def _provider() -> Iterator[respx.MockRouter]:
    with respx.mock(base_url=ISSUER, assert_all_called=False) as router:
        router.get("/.well-known/openid-configuration", name="metadata").respond(json=DOCUMENT)
        router.get("/jwks", name="jwks").respond(json=jwks(KEY))
        router.post("/token", name="token").respond(json=GOOD)
        router.post("/revoke", name="revoke").respond(200)
        yield router


@pytest.fixture(name="client")
async def _client(clock: Clock) -> AsyncIterator[OidcClient]:
    tasks = Tasks()
    made = OidcClient(SETTINGS, clock=clock, tasks=tasks)
    yield made
    await tasks.drain(5)
    await made.aclose()


def jwks(*keys: RSAKey) -> dict[str, Any]:
    return {"keys": [key.as_dict(private=False) for key in keys]}


def id_token(clock: Clock, key: RSAKey = KEY, **claims: Any) -> str:
    now = int(clock())
    base = {"iss": ISSUER, "sub": "alice", "aud": "spa-bff", "exp": now + 60, "iat": now, "nonce": "n"}
    return jwt.encode({"alg": "RS256", "kid": key.kid}, base | claims, key)


async def exchange(client: OidcClient) -> TokenAnswer | InvalidGrant:
    return await client.exchange_code("s3cr3t-code", redirect_uri="https://app.example/cb", code_verifier="v")


@pytest.mark.requirement("B-01")
async def test_a_client_without_a_secret_is_not_made() -> None:
    """The proxy is a confidential client or none."""
    public = ProviderSettings(issuer=ISSUER, client_id="spa-bff")
    with pytest.raises(ValueError, match="client_secret"):
        OidcClient(public, clock=lambda: 0.0, tasks=Tasks())


async def test_an_authorization_url_is_made_from_what_is_published(
    client: OidcClient, provider: respx.MockRouter
) -> None:
    """Endpoint from the discovery document, scopes from the settings."""
    url = await client.authorization_url(
        redirect_uri="https://app.example/cb",
        state="s",
        nonce="n",
        code_verifier="v",
        params={"prompt": "login"},
    )
    assert url.startswith(f"{ISSUER}/authorize?")
    assert ["openid profile email"] == parse_qs(urlsplit(url).query)["scope"]
    assert provider["metadata"].call_count == 1


async def test_the_settings_win_over_what_a_page_asks_for(clock: Clock) -> None:
    """Extra parameters are fixed by the operator, and cannot be the protocol's own."""
    settings = SETTINGS.model_copy(update={"extra_params": {"acr_values": "high", "state": "evil"}})
    client = OidcClient(settings, clock=clock, tasks=Tasks())
    assert {"acr_values": "high", "prompt": "login"} == client.request_params(
        {"acr_values": "low", "prompt": "login", "redirect_uri": "https://evil.example"}
    )
    await client.aclose()


@pytest.mark.requirement("O-06")
@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, json=DOCUMENT | {"issuer": "https://evil.example"}),
        httpx.Response(200, json={"issuer": ISSUER}),
        httpx.Response(200, text="<html>"),
        httpx.Response(302, headers={"location": "https://evil.example"}),
        httpx.Response(500),
    ],
)
async def test_metadata_that_is_not_the_issuers_is_none(
    client: OidcClient, provider: respx.MockRouter, answer: httpx.Response
) -> None:
    """Nothing is sent to endpoints of such a document."""
    provider["metadata"].mock(return_value=answer)
    with pytest.raises(ProviderUnavailableError):
        await exchange(client)
    assert provider["token"].call_count == 0


@pytest.mark.requirement("B-01")
async def test_a_code_is_exchanged_with_authentication(
    client: OidcClient, provider: respx.MockRouter, clock: Clock
) -> None:
    """The tokens come back, counted from when the request was sent."""
    answer = await exchange(client)
    assert isinstance(answer, TokenAnswer)
    assert clock.now + 60 == answer.access_expires_at
    sent = provider["token"].calls.last.request
    assert sent.headers["authorization"].startswith("Basic ")
    assert {"code_verifier": ["v"], "code": ["s3cr3t-code"]}.items() <= parse_qs(
        sent.content.decode()
    ).items()


@pytest.mark.requirement("T-07")
@pytest.mark.parametrize("status", [400, 401, 403])
async def test_only_invalid_grant_means_that_the_grant_is_gone(
    client: OidcClient, provider: respx.MockRouter, status: int
) -> None:
    """RFC 6749 5.2, with whatever 4xx the provider says it."""
    provider["token"].respond(status, json={"error": "invalid_grant"})
    assert InvalidGrant() == await client.refresh("r")
    assert InvalidGrant() == await exchange(client)


@pytest.mark.requirement("T-07", "T-08")
@pytest.mark.parametrize(
    ("status", "body", "headers", "expected"),
    [
        (401, {"error": "invalid_client"}, {}, (None, False)),
        (400, {"error": "unauthorized_client"}, {}, (None, False)),
        (400, {"error": ["invalid_grant"]}, {}, (None, False)),
        (400, "invalid_grant", {}, (None, False)),
        (404, {}, {}, (None, False)),
        (429, {}, {"Retry-After": "7"}, (7.0, False)),
        (429, {}, {}, (None, False)),
        (503, {}, {"Retry-After": "9"}, (9.0, False)),
        (500, {"error": "invalid_grant"}, {}, (None, True)),
        (502, {}, {"Retry-After": "9"}, (None, True)),
        (504, {}, {}, (None, True)),
        (302, {}, {"Location": "https://evil.example"}, (None, False)),
        (200, {"access_token": "a", "token_type": "DPoP"}, {}, (None, True)),
        (200, "<html>", {}, (None, True)),
    ],
)
async def test_anything_else_ends_nothing(  # noqa: PLR0917 - pytest hands them over by name
    client: OidcClient,
    provider: respx.MockRouter,
    capsys: pytest.CaptureFixture[str],
    status: int,
    body: Any,
    headers: dict[str, str],
    expected: tuple[float | None, bool],
) -> None:
    """It is an outage, with the wait that was asked for; and it tells whether the token may be spent."""
    provider["token"].respond(status, content=json.dumps(body).encode(), headers=headers)
    with pytest.raises(ProviderUnavailableError) as caught:
        await client.refresh("s3cr3t-refresh")
    assert expected == (caught.value.retry_after, isinstance(caught.value, AnswerLostError))
    assert provider["token"].call_count == 1
    written = capsys.readouterr()
    assert "s3cr3t" not in written.out + written.err + str(caught.value)


@pytest.mark.requirement("T-08")
@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (httpx.ConnectError, False),
        (httpx.ConnectTimeout, False),
        (httpx.ReadTimeout, True),
        (httpx.ReadError, True),
    ],
)
async def test_a_provider_that_does_not_answer(
    client: OidcClient, provider: respx.MockRouter, error: type[Exception], lost: bool
) -> None:
    """Never sent and maybe spent are told apart."""
    provider["token"].mock(side_effect=error)
    with pytest.raises(ProviderUnavailableError) as caught:
        await client.refresh("r")
    assert lost is isinstance(caught.value, AnswerLostError)


@pytest.mark.requirement("L-02")
async def test_a_revocation_says_whether_it_was_done(client: OidcClient, provider: respx.MockRouter) -> None:
    """200 is yes; refusals, outages and a provider without the endpoint are no, and never an error."""
    assert True is await client.revoke("t", "refresh_token")
    provider["revoke"].respond(400, json={"error": "unsupported_token_type"})
    assert False is await client.revoke("t", "refresh_token")
    provider["revoke"].respond(200, json={"error": "invalid_request"})
    assert False is await client.revoke("t", "refresh_token")
    provider["revoke"].mock(side_effect=httpx.ConnectError)
    assert False is await client.revoke("t", "access_token")


@pytest.mark.requirement("L-02")
async def test_a_sign_out_waits_for_no_provider(
    client: OidcClient, provider: respx.MockRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider that hangs costs a bounded time."""
    monkeypatch.setattr(revocation, "TIMEOUT", 0.01)

    async def hang(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.5)
        return httpx.Response(500)

    provider["metadata"].mock(side_effect=hang)
    assert False is await client.revoke("t", "refresh_token")
    assert None is await client.end_session_url(
        id_token="i", logout_hint="alice", post_logout_redirect_uri="https://app.example/"
    )


async def test_a_provider_without_the_endpoints(
    client: OidcClient, provider: respx.MockRouter, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is nothing to revoke at and nowhere to go; the log says the former once, not at each sign-out."""
    document = {k: v for k, v in DOCUMENT.items() if k not in ("revocation_endpoint", "end_session_endpoint")}
    provider["metadata"].respond(json=document)
    for _ in range(3):
        assert None is await client.revoke("t", "refresh_token")
    written = "".join(capsys.readouterr())
    assert (1, 0) == (written.count("no_revocation_endpoint"), written.count("revocation_failed"))
    assert None is await client.end_session_url(
        id_token="i", logout_hint="alice", post_logout_redirect_uri="https://app.example/"
    )


@pytest.mark.requirement("L-01")
@pytest.mark.parametrize(
    ("hint", "id_token", "expected"),
    [
        (True, "jwt", {"id_token_hint": ["jwt"]}),
        (True, None, {"logout_hint": ["alice"]}),
        (False, "jwt", {"logout_hint": ["alice"]}),
    ],
)
@pytest.mark.usefixtures("provider")
async def test_who_signs_out_is_said_by_the_id_token_or_without_it(
    clock: Clock, hint: bool, id_token: str | None, expected: dict[str, list[str]]
) -> None:
    """The setting `end_session_hint` decides."""
    settings = SETTINGS.model_copy(update={"end_session_hint": hint})
    client = OidcClient(settings, clock=clock, tasks=Tasks())
    url = await client.end_session_url(
        id_token=id_token, logout_hint="alice", post_logout_redirect_uri="https://app.example/"
    )
    assert url is not None
    base = {"client_id": ["spa-bff"], "post_logout_redirect_uri": ["https://app.example/"]}
    assert base | expected == parse_qs(urlsplit(url).query)
    await client.aclose()


async def check(client: OidcClient, token: str) -> str:
    claims = await client.validate_id_token(token, nonce="n", access_token="a", requested_at=0.0)
    return str(claims["sub"])


@pytest.mark.requirement("O-03", "O-08")
async def test_an_id_token_is_checked_with_the_published_keys(
    client: OidcClient, provider: respx.MockRouter, clock: Clock
) -> None:
    """A good one passes; a wrong nonce does not, and costs no second look at the keys."""
    assert await check(client, id_token(clock)) == "alice"
    with pytest.raises(IdTokenRejectedError) as caught:
        await check(client, id_token(clock, nonce="other"))
    assert caught.value.reason == "nonce"
    assert provider["jwks"].call_count == 1


@pytest.mark.requirement("O-09")
async def test_a_rotated_key_works_without_a_restart(
    client: OidcClient, provider: respx.MockRouter, clock: Clock
) -> None:
    """An unknown kid has the keys fetched again, once within the pause."""
    await check(client, id_token(clock))
    provider["jwks"].respond(json=jwks(NEW_KEY))
    clock.now += PAUSE
    assert await check(client, id_token(clock, NEW_KEY)) == "alice"
    assert provider["jwks"].call_count == 2
    for _ in range(5):
        with pytest.raises(IdTokenRejectedError) as caught:
            await check(client, id_token(clock, KEY))
        assert caught.value.reason == "unknown_key"
    assert provider["jwks"].call_count == 2


@pytest.mark.parametrize(
    "answer", [httpx.Response(200, json={"keys": 1}), httpx.Response(200, text="x"), httpx.Response(503)]
)
async def test_keys_that_cannot_be_read_are_an_outage(
    client: OidcClient, provider: respx.MockRouter, clock: Clock, answer: httpx.Response
) -> None:
    """Nobody's token is refused for it."""
    provider["jwks"].mock(return_value=answer)
    with pytest.raises(ProviderUnavailableError):
        await check(client, id_token(clock))
    with pytest.raises(ProviderUnavailableError):
        await client.keys()


@pytest.mark.requirement("T-13")
@pytest.mark.usefixtures("provider")
async def test_a_refreshed_id_token_is_of_the_same_person(client: OidcClient, clock: Clock) -> None:
    """Another `sub` is refused by that name."""
    claims = await client.validate_refreshed_id_token(id_token(clock), sub="alice", access_token="a")
    assert claims["sub"] == "alice"
    with pytest.raises(IdTokenRejectedError) as caught:
        await client.validate_refreshed_id_token(id_token(clock), sub="bob", access_token="a")
    assert caught.value.reason == "sub"


async def test_a_known_document_serves_through_an_outage(
    client: OidcClient, provider: respx.MockRouter, clock: Clock
) -> None:
    """Long after its lifetime, with the provider's discovery down, tokens still rotate."""
    await client.metadata()
    provider["metadata"].respond(500)
    clock.now += 100_000
    assert isinstance(await client.refresh("r"), TokenAnswer)
