"""The proofs that go to the provider, its nonces, and providers that answer otherwise than they should."""

import base64
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import respx
from pydantic import SecretStr

from bff.oidc.client import OidcClient
from bff.oidc.dpop import ProofKey, new_key
from bff.oidc.http import Answer, AnswerLostError
from bff.oidc.provider_proofs import MOST_SERVERS, ProviderProofs
from bff.oidc.requests import ClientGrant
from bff.oidc.token_errors import InvalidGrant, PassingError
from bff.oidc.token_response import TokenAnswer
from bff.settings.model import ProviderSettings
from bff.tasks import Tasks
from bff.verify.dpop import Proof, check_proof

NOW = 1_700_000_000.0
ISSUER = "https://id.example"
ENDPOINTS = {
    "authorization_endpoint": "authorize",
    "token_endpoint": "token?tenant=1",
    "jwks_uri": "jwks",
    "userinfo_endpoint": "me",
    "pushed_authorization_request_endpoint": "par",
    "revocation_endpoint": "revoke",
}
DOCUMENT = {"issuer": ISSUER, **{name: f"{ISSUER}/{path}" for name, path in ENDPOINTS.items()}}
SETTINGS = ProviderSettings(
    issuer=ISSUER, client_id="spa", client_secret=SecretStr("s"), token_binding="dpop", userinfo="always"
)
KEY = new_key("ES256")
ASKS = {"error": "use_dpop_nonce"}


class Provider:
    """Asks for its newest nonce, and answers as a test wants."""

    def __init__(self) -> None:
        self.nonce = ""
        self.token_type = "DPoP"
        self.token = "opaque"
        self.more: dict[str, Any] = {}
        self.revoked: list[tuple[str, str]] = []
        self.refusal: httpx.Response | None = None
        self.changes = self.loops = False
        self.proofs: list[Proof] = []
        self.forms: list[dict[str, str]] = []

    def proven(self, request: httpx.Request, token: str | None = None) -> httpx.Response | None:
        proof = check_proof(
            request.headers["dpop"], method=request.method, url=str(request.url), now=NOW, access_token=token
        )
        assert isinstance(proof, Proof), proof
        assert proof.jti not in [each.jti for each in self.proofs]
        self.proofs.append(proof)
        if self.loops:
            self.nonce = f"n-{len(self.proofs)}-of-many"
        if not self.nonce or (proof.nonce == self.nonce and not self.loops):
            return None
        status = 400 if token is None else 401
        headers = {"dpop-nonce": self.nonce, "www-authenticate": 'DPoP error="use_dpop_nonce"'}
        return httpx.Response(status, json=ASKS if token is None else None, headers=headers)

    def tokens(self, request: httpx.Request) -> httpx.Response:
        self.forms.append(dict(httpx.QueryParams(request.content.decode())))
        if self.refusal is not None:
            return self.refusal
        newer = {"dpop-nonce": "from-a-good-answer"} if self.changes else {}
        answer = {"access_token": self.token, "token_type": self.token_type, "expires_in": 60, **self.more}
        return self.proven(request) or httpx.Response(200, json=answer, headers=newer)

    def pushed(self, request: httpx.Request) -> httpx.Response:
        self.forms.append(dict(httpx.QueryParams(request.content.decode())))
        headers = {"dpop-nonce": self.nonce} if self.nonce else {}
        return httpx.Response(201, json={"request_uri": "urn:a"}, headers=headers)

    def revocation(self, request: httpx.Request) -> httpx.Response:
        form = httpx.QueryParams(request.content.decode())
        self.revoked.append((form["token"], form["token_type_hint"]))
        return httpx.Response(200)

    def userinfo(self, request: httpx.Request) -> httpx.Response:
        scheme, token = request.headers["authorization"].split(" ")
        assert "DPoP" == scheme
        return self.proven(request, token) or httpx.Response(200, json={"sub": "alice", "name": "Alice"})

    @property
    def nonces(self) -> list[str | None]:
        return [proof.nonce for proof in self.proofs]


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    with respx.mock(base_url=ISSUER, assert_all_called=False) as router:
        router.get("/.well-known/openid-configuration").respond(json=DOCUMENT)
        router.post("/token").mock(side_effect=made.tokens)
        router.post("/par").mock(side_effect=made.pushed)
        router.get("/me").mock(side_effect=made.userinfo)
        router.post("/revoke").mock(side_effect=made.revocation)
        yield made


@pytest.fixture
async def client(provider: Provider) -> AsyncIterator[OidcClient]:
    del provider
    tasks = Tasks()
    made = OidcClient(SETTINGS, clock=lambda: NOW, tasks=tasks)
    yield made
    await tasks.drain(5)
    await made.aclose()


async def exchange(client: OidcClient, key: str | None = KEY) -> TokenAnswer:
    answer = await client.exchange_code("c", redirect_uri="https://a/cb", code_verifier="v", proof_key=key)
    assert isinstance(answer, TokenAnswer)
    return answer


def bound_to(confirmation: Any) -> str:
    """A JWT that nobody checks but its audience, with this `cnf`."""
    claims = json.dumps({"sub": "alice", **({} if confirmation is None else {"cnf": confirmation})})
    return f"e30.{base64.urlsafe_b64encode(claims.encode()).rstrip(b'=').decode()}.c2ln"


@pytest.mark.requirement("P-03")
async def test_a_nonce_is_asked_for_once_and_kept(client: OidcClient, provider: Provider) -> None:
    """The first call is repeated with the nonce; later ones have it, from good answers too."""
    provider.nonce = "one"
    first = await exchange(client)
    assert (KEY, [None, "one"]) == (first.proof_key, provider.nonces)
    assert KEY == first.tokens().proof_key
    assert KEY not in repr(first) + repr(first.tokens())
    provider.changes = True
    refreshed = await client.refresh("r", proof_key=KEY)
    assert isinstance(refreshed, TokenAnswer)
    provider.nonce = "from-a-good-answer"
    told = await client.wanted_claims({"sub": "alice"}, refreshed)
    assert ("Alice", [None, "one", "one", "from-a-good-answer"]) == (told.claims["name"], provider.nonces)
    assert {ProofKey(KEY).jkt} == {proof.jkt for proof in provider.proofs}
    provider.nonce = "two"
    assert {"sub": "alice", "name": "Alice"} == await client.refreshed_claims(
        None, sub="alice", access_token="t", proof_key=KEY
    )
    assert ["from-a-good-answer", "two"] == provider.nonces[-2:]


@pytest.mark.requirement("P-03")
async def test_a_provider_that_goes_on_asking(client: OidcClient, provider: Provider) -> None:
    """It is asked twice, and nobody's session ends for it; at userinfo it costs the claims alone."""
    provider.loops = True
    for call in (exchange(client), client.refresh("r", proof_key=KEY)):
        before = len(provider.proofs)
        with pytest.raises(PassingError):
            await call
        assert 2 == len(provider.proofs) - before
    provider.loops, provider.nonce = False, ""
    answer = await exchange(client)
    provider.loops = True
    assert not (await client.wanted_claims({"sub": "alice"}, answer)).complete


@pytest.mark.requirement("P-03")
@pytest.mark.parametrize(
    ("good", "token_type", "token"),
    [
        (True, "DPoP", "opaque"),
        (True, "dpop", bound_to({"jkt": ProofKey(KEY).jkt})),
        (True, "DPoP", bound_to(None)),
        (False, "Bearer", bound_to({"jkt": ProofKey(KEY).jkt})),
        (False, "DPoP", bound_to({"jkt": ProofKey(new_key("ES256")).jkt})),
        (False, "DPoP", bound_to({"x5t#S256": "abc"})),
        (False, "DPoP", bound_to("abc")),
    ],
)
async def test_only_a_token_that_is_bound_to_our_key_is_taken(
    client: OidcClient, provider: Provider, *, good: bool, token_type: str, token: str
) -> None:
    """A bearer token would be a downgrade; a JWT that names another key is somebody else's."""
    provider.token_type, provider.token = token_type, token
    for call in (exchange(client), client.refresh("r", proof_key=KEY)):
        if good:
            assert isinstance(await call, TokenAnswer)
            continue
        with pytest.raises(AnswerLostError):
            await call


@pytest.mark.requirement("P-03")
@pytest.mark.parametrize(
    ("more", "revoked"),
    [
        ({"refresh_token": "lives-on"}, [("lives-on", "refresh_token")]),
        ({}, [("opaque", "access_token")]),
        ({"refresh_token": "b\n", "access_token": ["a"]}, []),
    ],
)
async def test_tokens_of_a_downgrade_are_revoked(
    provider: Provider, *, more: dict[str, Any], revoked: list[tuple[str, str]]
) -> None:
    """Nobody holds them, the grant would live on. A refresh's are left: its session lives by the grant."""
    tasks = Tasks()
    client = OidcClient(SETTINGS, clock=lambda: NOW, tasks=tasks)
    provider.token_type, provider.more = "Bearer", more
    with pytest.raises(AnswerLostError):
        await client.refresh("r", proof_key=KEY)
    await tasks.drain(5)
    assert [] == provider.revoked
    for call in (
        exchange(client),
        client.client_token(ClientGrant()),
        client.exchange_token("t", "a", proof_key=KEY),
    ):
        provider.revoked.clear()
        with pytest.raises(AnswerLostError):
            await call
        await tasks.drain(5)
        assert revoked == provider.revoked
    await client.aclose()


@pytest.mark.requirement("P-03")
async def test_the_authorization_request_names_the_key(client: OidcClient, provider: Provider) -> None:
    """`dpop_jkt`, pushed or not; the nonce of the answer to a push is used for the code."""
    how: Any = {
        "redirect_uri": "https://a/cb",
        "state": "s",
        "nonce": "n",
        "code_verifier": "v",
        "params": {},
    }
    provider.nonce = "pushed"
    assert "request_uri" in await client.authorization_url(**how, proof_key=KEY)
    assert ProofKey(KEY).jkt == provider.forms[0]["dpop_jkt"]
    await exchange(client)
    assert ["pushed"] == provider.nonces
    plain = OidcClient(SETTINGS.model_copy(update={"par": "never"}), clock=lambda: NOW, tasks=Tasks())
    query = parse_qs(urlsplit(await plain.authorization_url(**how, proof_key=KEY)).query)
    assert [ProofKey(KEY).jkt] == query["dpop_jkt"]
    assert "dpop_jkt" not in await plain.authorization_url(**how)
    await plain.aclose()


async def test_a_key_is_made_where_there_is_none(client: OidcClient, provider: Provider) -> None:
    """A sign-in or session of before the setting gets one; without the setting there is none."""
    made = [(await exchange(client, None)).proof_key for _ in range(2)]
    assert 2 == len({ProofKey(key or "").jkt for key in made})
    assert [key and ProofKey(key).jkt for key in made] == [proof.jkt for proof in provider.proofs]
    eddsa = OidcClient(SETTINGS.model_copy(update={"dpop_alg": "EdDSA"}), clock=lambda: NOW, tasks=Tasks())
    assert (eddsa.proof_key() or "").startswith("EdDSA.")
    plain = OidcClient(
        SETTINGS.model_copy(update={"token_binding": "none"}), clock=lambda: NOW, tasks=Tasks()
    )
    assert plain.proof_key(KEY) is None
    await eddsa.aclose()
    await plain.aclose()


async def test_a_grant_that_is_gone_stays_gone(client: OidcClient, provider: Provider) -> None:
    """Another refusal is not repeated, whatever nonce comes with it; nor one that brings no nonce."""
    newer = {"dpop-nonce": "new"}
    provider.refusal = httpx.Response(400, json={"error": "invalid_grant"}, headers=newer)
    assert isinstance(await client.refresh("r", proof_key=KEY), InvalidGrant)
    assert 1 == len(provider.forms)
    provider.refusal = httpx.Response(400, json=ASKS)
    with pytest.raises(PassingError):
        await client.refresh("r", proof_key=KEY)
    assert 2 == len(provider.forms)


def test_few_nonces_are_kept() -> None:
    """One for each server, the newest; the number of servers is bounded."""
    proofs, key = ProviderProofs(lambda: NOW), ProofKey(KEY)
    for number in range(MOST_SERVERS + 1):
        url = f"https://id{number}.example/token"
        assert f"n{number}" == proofs.note(url, Answer(200, {"dpop-nonce": f"n{number}"}, b""))
        assert f"n{number}" == proofs.made(key, "POST", url).nonce
    assert "" == proofs.made(key, "POST", "https://id0.example/token").nonce
    assert "" == proofs.note("https://id0.example/token", Answer(200, {"dpop-nonce": 'a"b'}, b""))
