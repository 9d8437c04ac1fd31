"""Pushed authorization requests, resources and token exchange, as the client sends them."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import respx
from joserfc.jwk import ECKey
from pydantic import SecretStr

from bff.errors import ProviderUnavailableError
from bff.oidc.client import OidcClient
from bff.oidc.token_errors import ClientRefusedError, GrantRefusedError, InvalidGrant
from bff.oidc.token_response import TokenAnswer
from bff.settings.model import ProviderSettings
from bff.tasks import Tasks
from tests.issuer.flow import payload_of
from tests.oidc.test_client import DOCUMENT, GOOD, ISSUER

PAR = {"pushed_authorization_request_endpoint": f"{ISSUER}/par"}
REFERENCE = {"request_uri": "urn:ietf:params:oauth:request_uri:abc", "expires_in": 60}


@pytest.fixture(name="provider")
def _provider() -> Iterator[respx.MockRouter]:
    with respx.mock(base_url=ISSUER, assert_all_called=False) as router:
        router.get("/.well-known/openid-configuration", name="metadata").respond(json=DOCUMENT | PAR)
        router.post("/par", name="par").respond(201, json=REFERENCE)
        router.post("/token", name="token").respond(json=GOOD)
        yield router


@asynccontextmanager
async def client(failures: list[str] | None = None, **settings: Any) -> AsyncIterator[OidcClient]:
    tasks = Tasks()
    provider = ProviderSettings(
        issuer=ISSUER, client_id="spa-bff", client_secret=SecretStr("s3cr3t"), **settings
    )
    made = OidcClient(
        provider,
        clock=lambda: 1_800_000_000.0,
        tasks=tasks,
        failed=(failures if failures is not None else []).append,
    )
    yield made
    await tasks.drain(5)
    await made.aclose()


async def asked(made: OidcClient) -> dict[str, list[str]]:
    url = await made.authorization_url(
        redirect_uri="https://app.example/cb",
        state="s",
        nonce="n",
        code_verifier="v",
        params={"prompt": "login"},
    )
    assert url.startswith(f"{ISSUER}/authorize?")
    return parse_qs(urlsplit(url).query)


def form_of(route: respx.Route) -> dict[str, list[str]]:
    return parse_qs(route.calls.last.request.content.decode())


@pytest.mark.requirement("P-05")
@pytest.mark.parametrize(
    ("profile", "expires_in", "taken"),
    [
        ("fapi2", 60, True),
        ("fapi2", "599", True),
        ("fapi2", 600, False),
        ("fapi2", 0, False),
        ("fapi2", None, False),
        ("fapi2", True, False),
        ("none", 86400, True),
        ("none", None, True),
    ],
)
async def test_a_pushed_request_lives_for_a_while_only(
    provider: respx.MockRouter, *, profile: str, expires_in: Any, taken: bool
) -> None:
    """Under FAPI 2.0 one that could be used for ten minutes, or without an end, is not (5.3.2.2)."""
    provider["par"].respond(201, json=REFERENCE | {"expires_in": expires_in})
    key = SecretStr(json.dumps(ECKey.generate_key("P-256").as_dict(private=True)))
    tasks, failed = Tasks(), list[str]()
    settings = ProviderSettings.model_validate(
        {"issuer": ISSUER, "client_id": "c", "profile": profile, "client_auth": "private_key_jwt"}
    )
    made = OidcClient(
        settings.model_copy(update={"client_key": key}),
        clock=lambda: 1_800_000_000.0,
        tasks=tasks,
        failed=failed.append,
    )
    if taken:
        assert "request_uri" in await asked(made)
    else:
        with pytest.raises(ProviderUnavailableError, match="pushed request"):
            await asked(made)
    assert ([] if taken else ["par"]) == failed
    await made.aclose()


@pytest.mark.requirement("O-14")
async def test_where_it_is_offered_the_request_is_pushed(provider: respx.MockRouter) -> None:
    """All parameters by POST, authenticated; the browser carries the reference and the client's name."""
    async with client() as made:
        assert {"client_id": ["spa-bff"], "request_uri": [REFERENCE["request_uri"]]} == await asked(made)
    sent = form_of(provider["par"])
    assert (["s"], ["n"], ["login"], ["S256"]) == tuple(
        sent[name] for name in ("state", "nonce", "prompt", "code_challenge_method")
    )
    assert provider["par"].calls.last.request.headers["authorization"].startswith("Basic ")


async def test_a_long_reference_is_taken(provider: respx.MockRouter) -> None:
    """Up to 2,048 characters: it goes into a Location."""
    provider["par"].respond(201, json={"request_uri": "u" * 2048, "expires_in": 60})
    async with client() as made:
        assert ["u" * 2048] == (await asked(made))["request_uri"]


@pytest.mark.requirement("O-14")
async def test_the_setting_can_forbid_or_demand_it(provider: respx.MockRouter) -> None:
    """`never` sends a plain request; `always` and a provider that requires it fail without an endpoint."""
    async with client(par="never") as made:
        assert ["s"] == (await asked(made))["state"]
    required = DOCUMENT | {"require_pushed_authorization_requests": True}
    for document, setting in ((DOCUMENT, "always"), (required, "auto")):
        provider["metadata"].respond(json=document)
        async with client(par=setting) as made:
            with pytest.raises(ProviderUnavailableError):
                await asked(made)
    provider["metadata"].respond(json=DOCUMENT)
    async with client() as made:
        assert ["s"] == (await asked(made))["state"]
    assert not provider["par"].called


@pytest.mark.requirement("O-14")
@pytest.mark.parametrize(
    ("status", "document"),
    [
        (400, {"error": "invalid_request"}),
        (401, {"error": "invalid_client"}),
        (503, None),
        (201, {}),
        (201, []),
        (201, {"request_uri": 5}),
        (201, {"request_uri": "urn:a b"}),
        (201, {"request_uri": "u" * 2049}),
    ],
)
async def test_a_push_that_fails_is_no_sign_in(
    provider: respx.MockRouter, status: int, document: Any
) -> None:
    """The request never goes by the address bar instead; the failure is counted."""
    provider["par"].respond(status, json=document)
    failures: list[str] = []
    async with client(failures) as made:
        with pytest.raises(ProviderUnavailableError, match="pushed authorization"):
            await asked(made)
    assert ["par"] == failures


async def test_a_refused_push_says_why(
    provider: respx.MockRouter, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log has the provider's own words, without what was sent; a refused client is told apart."""
    document = {"error": "invalid_client", "error_description": "unknown client, state state-1"}
    provider["par"].respond(401, json=document)
    async with client() as made:
        with pytest.raises(ClientRefusedError):
            await asked(made)
    written = "".join(capsys.readouterr())
    assert "pushed_request_refused" in written
    assert "unknown client, state" in written


async def test_a_server_that_is_ill_has_refused_nothing(
    provider: respx.MockRouter, capsys: pytest.CaptureFixture[str]
) -> None:
    """A 502 of the server in front is no refusal in the log; an error of the provider's own is."""
    async with client() as made:
        for status, document, refused in ((502, None, 0), (503, {"error": "server_error"}, 1)):
            provider["par"].respond(status, json=document)
            with pytest.raises(ProviderUnavailableError, match=str(status)):
                await asked(made)
            assert refused == "".join(capsys.readouterr()).count("pushed_request_refused")


@pytest.mark.requirement("O-15")
async def test_resources_go_with_every_request(provider: respx.MockRouter) -> None:
    """The authorization request, the code and the refresh name the same APIs."""
    resources = ["https://api.example/", "urn:orders"]
    async with client(resource=resources) as made:
        await asked(made)
        assert resources == form_of(provider["par"])["resource"]
        await made.exchange_code("c", redirect_uri="https://app.example/cb", code_verifier="v")
        assert resources == form_of(provider["token"])["resource"]
        await made.refresh("r")
        assert resources == form_of(provider["token"])["resource"]
    async with client(par="never", resource=resources) as made:
        assert resources == (await asked(made))["resource"]


async def test_a_token_is_exchanged_for_one_backend(provider: respx.MockRouter) -> None:
    """The answer is the backend's token; a refusal is told apart from a grant that is over."""
    failures: list[str] = []
    async with client(failures) as made:
        answer = await made.exchange_token("the-access-token", "orders")
        assert isinstance(answer, TokenAnswer)
        assert (["the-access-token"], ["orders"]) == tuple(
            form_of(provider["token"])[name] for name in ("subject_token", "audience")
        )
        provider["token"].respond(400, json={"error": "invalid_target"})
        with pytest.raises(GrantRefusedError):
            await made.exchange_token("the-access-token", "elsewhere")
        provider["token"].respond(400, json={"error": "invalid_grant"})
        assert InvalidGrant() == await made.exchange_token("the-access-token", "orders")
    assert ["exchange"] == failures


@pytest.mark.requirement("P-05")
async def test_under_the_profile_nothing_is_sent_but_by_a_push(provider: respx.MockRouter) -> None:
    """Without the endpoint nobody signs in; with it, details of the settings go along by their name."""
    key = json.dumps(ECKey.generate_key("P-256").as_dict(private=True))
    fapi: dict[str, Any] = {"profile": "fapi2", "client_key": key, "request_object": True}
    details = {"payments": [{"type": "payment"}]}
    settings = ProviderSettings.model_validate(
        {"issuer": ISSUER, "client_id": "spa-bff", "login_authorization_details": details, **fapi}
    )
    made = OidcClient(settings, clock=lambda: 1_800_000_000.0, tasks=Tasks())
    try:
        await made.authorization_url(
            redirect_uri="https://app.example/cb",
            state="s",
            nonce="n",
            code_verifier="v",
            params={"authorization_details": "from a page"},
            details="payments",
        )
        form = form_of(provider["par"])
        signed = payload_of(form["request"][0])
        assert {"client_id", "request", "client_assertion", "client_assertion_type"} == form.keys()
        assert (ISSUER, "spa-bff", [{"type": "payment"}]) == (
            signed["aud"],
            signed["iss"],
            signed["authorization_details"],
        )
        provider["metadata"].respond(json=DOCUMENT)
        bare = OidcClient(settings, clock=lambda: 1_800_000_000.0, tasks=Tasks())
        with pytest.raises(ProviderUnavailableError, match="no endpoint"):
            await asked(bare)
        await bare.aclose()
    finally:
        await made.aclose()
