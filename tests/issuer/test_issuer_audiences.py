"""Tokens for one service among several: `resource` (RFC 8707) and token exchange (RFC 8693)."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from bff.issuer.accounts.accounts import Account
from bff.issuer.grants.audiences import InvalidTargetError, choose, read_resources
from bff.issuer.grants.clients import TOKEN_EXCHANGE
from bff.issuer.grants.token_exchange import ACCESS_TOKEN
from bff.issuer.grants.tokens import Grant, Minter
from bff.issuer.keys.keys import OneKey, SigningKey
from bff.issuer.settings import ClientSettings
from bff.issuer.store.issued_tokens import IssuedTokens
from bff.verify import TokenVerifier
from bff.verify.claims import TokenRefusedError
from tests.issuer.flow import CREDENTIALS, REDIRECT_URI, Person, payload_of
from tests.support.processes.redis import redis_server
from tests.support.providers.issuer import AUDIENCE, RunningIssuer, running_issuer

KEY = SigningKey.generate()
GATEWAY = ("gateway", "a-secret")
BILLING, STOCK = "https://billing.example", "stock-api"


@pytest.fixture(name="issuer", scope="module")
def _issuer() -> Iterator[RunningIssuer]:
    gateway = ClientSettings(
        client_id=GATEWAY[0],
        client_secret=SecretStr(GATEWAY[1]),
        redirect_uris=(REDIRECT_URI,),
        audiences=(BILLING, STOCK),
    )
    with (
        redis_server() as server,
        running_issuer(server.url, (REDIRECT_URI,), clients=(gateway,), key=KEY) as running,
    ):
        yield running


@pytest.fixture(name="mine")
def _mine(person: Person) -> dict[str, Any]:
    """Tokens of the gateway for alice."""
    code = person.code(client_id=GATEWAY[0], scope="openid profile offline_access")
    body: dict[str, Any] = person.token(person.code_form(code), GATEWAY).json()
    return body


def exchange(person: Person, token: str, auth: tuple[str, str] = GATEWAY, **changes: Any) -> httpx.Response:
    form = {
        "grant_type": TOKEN_EXCHANGE,
        "subject_token": token,
        "subject_token_type": ACCESS_TOKEN,
        "audience": STOCK,
        **changes,
    }
    sent = {name: value for name, value in form.items() if value is not None}
    return person.http.post(f"{person.issuer.url}/token", data=sent, auth=auth)


# --- resource


@pytest.mark.requirement("O-15")
def test_a_resource_narrows_the_audience(person: Person) -> None:
    """Asked for at sign-in, a resource is the `aud` of this access token and of refreshed ones."""
    code = person.code(client_id=GATEWAY[0], resource=BILLING)
    tokens = person.token(person.code_form(code), GATEWAY).json()
    assert BILLING == payload_of(tokens["access_token"])["aud"]
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    tokens = person.token(form, GATEWAY).json()
    assert BILLING == payload_of(tokens["access_token"])["aud"]
    elsewhere = {**form, "refresh_token": tokens["refresh_token"], "resource": "https://stock.example"}
    assert "invalid_target" == person.token(elsewhere, GATEWAY).json()["error"]
    assert 200 == person.token({**elsewhere, "resource": BILLING}, GATEWAY).status_code


def test_a_resource_at_the_token_endpoint_is_for_that_token(person: Person) -> None:
    """Asked for with the code alone, it does not bind what is asked for later."""
    code = person.code(client_id=GATEWAY[0])
    tokens = person.token({**person.code_form(code), "resource": BILLING}, GATEWAY).json()
    assert BILLING == payload_of(tokens["access_token"])["aud"]
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    assert AUDIENCE == payload_of(person.token(form, GATEWAY).json()["access_token"])["aud"]


@pytest.mark.parametrize("resource", ["https://other.example", "billing", f"{BILLING}#x", f"{BILLING} x:y"])
def test_a_resource_that_is_not_the_clients_is_refused(person: Person, resource: str) -> None:
    """Unknown targets, relative ones and ones with a fragment are `invalid_target`."""
    location = person.authorize(client_id=GATEWAY[0], resource=resource).headers["location"]
    assert "error=invalid_target" in location


def test_what_a_client_may_have() -> None:
    """Nothing wanted: all that was granted, else the first. Wanted: what was granted and is allowed."""
    allowed = ("api", "a", "b")
    assert ("api",) == choose((), (), allowed)
    assert ("a", "b") == choose((), ("a", "b"), allowed)
    assert ("b",) == choose(("b",), ("a", "b"), allowed)
    assert ("b",) == choose(("b",), (), allowed)
    assert ("api",) == choose((), ("gone",), allowed)
    for wanted, granted in ((("c",), ()), (("b",), ("a",)), (("gone",), ("gone",))):
        with pytest.raises(InvalidTargetError):
            choose(wanted, granted, allowed)
    assert ("https://a", "urn:b:c") == read_resources("https://a urn:b:c https://a")
    for bad in ("a", "//a", "https://[", " ".join(f"x:{number}" for number in range(9))):
        with pytest.raises(InvalidTargetError):
            read_resources(bad)


# --- token exchange


async def test_an_exchanged_token_is_for_one_service(person: Person, mine: dict[str, Any]) -> None:
    """The same person and sid, the other audience, no more scope, no longer life; nobody else takes it."""
    answer = exchange(person, mine["access_token"], scope="openid").json()
    assert (ACCESS_TOKEN, "Bearer", "openid") == (
        answer["issued_token_type"],
        answer["token_type"],
        answer["scope"],
    )
    assert "refresh_token" not in answer
    had, got = payload_of(mine["access_token"]), payload_of(answer["access_token"])
    assert [had[name] for name in ("iss", "sub", "sid")] == [got[name] for name in ("iss", "sub", "sid")]
    assert (STOCK, GATEWAY[0], "openid") == (got["aud"], got["client_id"], got["scope"])
    assert got["jti"] != had["jti"]
    assert got["exp"] <= had["exp"]
    assert answer["expires_in"] == got["exp"] - got["iat"]
    async with TokenVerifier(issuer=person.issuer.url, audience=STOCK) as verifier:
        assert "alice" == (await verifier.verify(answer["access_token"])).sub
    async with TokenVerifier(issuer=person.issuer.url, audience=AUDIENCE) as verifier:
        with pytest.raises(TokenRefusedError):
            await verifier.verify(answer["access_token"])


def test_an_exchanged_token_ends_with_the_one_it_came_from(person: Person) -> None:
    """With 50 seconds left, the new token has 50 seconds as well, and says so."""
    account = Account("alice", "alice@example.com", "Alice")
    minter = Minter(person.issuer.url, AUDIENCE, OneKey(KEY), 300)
    now = int(time.time())
    short = minter.access_token(Grant(account, GATEWAY[0], "openid", "a-sid", now), now, 50)
    answer = exchange(person, short).json()
    assert now + 50 == payload_of(answer["access_token"])["exp"]
    assert answer["expires_in"] <= 50
    over = minter.access_token(Grant(account, GATEWAY[0], "openid", "a-sid", now), now - 60, 50)
    assert "invalid_request" == exchange(person, over).json()["error"]


def test_a_chain_of_exchanges_never_grows(person: Person, mine: dict[str, Any]) -> None:
    """What was given up is not had back by exchanging again."""
    first = exchange(person, mine["access_token"], scope="profile").json()["access_token"]
    again = exchange(person, first, audience=None, resource=BILLING)
    assert "profile" == again.json()["scope"]
    assert payload_of(again.json()["access_token"])["exp"] <= payload_of(first)["exp"]
    assert "invalid_scope" == exchange(person, first, scope="openid").json()["error"]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"audience": "other"}, "invalid_target"),
        ({"audience": AUDIENCE}, "invalid_target"),
        ({"audience": None}, "invalid_request"),
        ({"audience": None, "resource": "https://other.example"}, "invalid_target"),
        ({"audience": [STOCK, "other"]}, "invalid_target"),
        ({"scope": "openid email"}, "invalid_scope"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:id_token"}, "invalid_request"),
        ({"subject_token_type": None}, "invalid_request"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, "invalid_request"),
        ({"actor_token": "x"}, "invalid_request"),
        ({"subject_token": "x"}, "invalid_request"),
        ({"subject_token": ""}, "invalid_request"),
    ],
    ids=str,
)
def test_exchanges_that_are_refused(
    person: Person, mine: dict[str, Any], changes: dict[str, Any], error: str
) -> None:
    """Other audiences, more scope, other kinds of tokens, and delegation."""
    answer = exchange(person, mine["access_token"], **changes)
    assert (400, error) == (answer.status_code, answer.json()["error"])


def test_only_own_access_tokens_are_exchanged(person: Person, mine: dict[str, Any]) -> None:
    """Another client's token, an ID token, a refresh token and a revoked one are all `invalid_request`."""
    others = person.tokens()["access_token"]
    for token in (others, mine["id_token"], mine["refresh_token"], mine["access_token"] + "x"):
        assert "invalid_request" == exchange(person, token).json()["error"]
    assert "unauthorized_client" == exchange(person, others, CREDENTIALS).json()["error"]
    assert (401, "invalid_client") == (
        exchange(person, mine["access_token"], (GATEWAY[0], "wrong")).status_code,
        exchange(person, mine["access_token"], (GATEWAY[0], "wrong")).json()["error"],
    )
    made = exchange(person, mine["access_token"]).json()["access_token"]
    again = exchange(person, made).json()["access_token"]
    url = f"{person.issuer.url}/revoke"
    assert 200 == person.http.post(url, data={"token": mine["access_token"]}, auth=GATEWAY).status_code
    for token in (mine["access_token"], made, again):
        assert "invalid_request" == exchange(person, token).json()["error"]


@pytest.mark.requirement("J-12")
def test_a_revocation_between_the_look_and_the_exchange(
    person: Person, mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token that is revoked after it was found good, and before its offspring is noted, has none."""
    name = IssuedTokens.name

    def late(issued: IssuedTokens, origin: str, lifetime: float, now: float) -> str:
        issued.end(origin, "revoked", now)
        issued._revoked_tokens.revoke(origin, "revoked", now + lifetime, now)
        return name(issued, origin, lifetime, now)

    with monkeypatch.context() as patched:
        patched.setattr(IssuedTokens, "name", late)
        refused = exchange(person, mine["access_token"])
    assert (400, "invalid_request") == (refused.status_code, refused.json()["error"])
