"""Tokens that a client has in its own name (RFC 6749 4.4): by its settings, and never a user's."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr, ValidationError

from bff.issuer.settings import ClientSettings
from bff.verify import TokenVerifier
from tests.issuer.flow import CREDENTIALS, REDIRECT_URI, Person, payload_of
from tests.support.processes.redis import redis_server
from tests.support.providers.issuer import AUDIENCE, RunningIssuer, running_issuer

BATCH = ("batch", "a-secret")
STOCK = "https://stock.example"


@pytest.fixture(name="issuer", scope="module")
def _issuer() -> Iterator[RunningIssuer]:
    batch = ClientSettings(
        client_id=BATCH[0],
        client_secret=SecretStr(BATCH[1]),
        client_credentials=("stock.read", "stock.write"),
        audiences=(STOCK,),
    )
    with (
        redis_server() as server,
        running_issuer(server.url, (REDIRECT_URI,), clients=(batch,)) as running,
    ):
        yield running


def ask(person: Person, auth: tuple[str, str] = BATCH, **form: str) -> httpx.Response:
    url = f"{person.issuer.url}/token"
    return person.http.post(url, data={"grant_type": "client_credentials", **form}, auth=auth)


async def test_a_client_gets_a_token_of_its_own(person: Person) -> None:
    """No user, no sign-in, no refresh token: a `sub` that no account has; the verifier takes it."""
    document = ask(person, scope="stock.read", resource=STOCK).json()
    assert {"access_token", "token_type", "expires_in", "scope"} == set(document)
    claims = payload_of(document["access_token"])
    expected: dict[str, Any] = {
        "sub": "client:batch",
        "client_id": "batch",
        "aud": STOCK,
        "scope": "stock.read",
    }
    assert expected == {name: claims[name] for name in expected}
    assert not {"sid", "role", "tid", "auth_time"} & set(claims)
    async with TokenVerifier(issuer=person.issuer.url, audience=STOCK) as verifier:
        read = await verifier.verify(document["access_token"], scope=["stock.read"])
    assert ("client:batch", "") == (read.sub, read.sid)

    unasked = ask(person).json()
    assert "stock.read stock.write" == unasked["scope"]
    assert AUDIENCE == payload_of(unasked["access_token"])["aud"]
    assert (
        "client_credentials"
        in person.http.get(f"{person.issuer.url}/.well-known/openid-configuration").json()[
            "grant_types_supported"
        ]
    )


@pytest.mark.parametrize(
    ("auth", "form", "error"),
    [
        (CREDENTIALS, {}, (400, "unauthorized_client")),
        ((BATCH[0], "wrong"), {}, (401, "invalid_client")),
        (BATCH, {"scope": "openid"}, (400, "invalid_scope")),
        (BATCH, {"scope": "stock.read admin"}, (400, "invalid_scope")),
        (BATCH, {"resource": "https://other.example"}, (400, "invalid_target")),
        (BATCH, {"audience": " ".join(f"a{number}" for number in range(9))}, (400, "invalid_target")),
    ],
    ids=str,
)
def test_requests_that_are_refused(
    person: Person, auth: tuple[str, str], form: dict[str, str], error: tuple[int, str]
) -> None:
    """A client that may not, another's secret, scopes and services that are not its own."""
    answer = ask(person, auth, **form)
    assert error == (answer.status_code, answer.json()["error"])


def test_such_a_token_is_looked_into_and_revoked_as_any(person: Person) -> None:
    """Introspection knows it, userinfo has nothing for it, it is exchanged for none, revocation ends it."""
    token = ask(person).json()["access_token"]
    url = person.issuer.url

    def active() -> bool:
        document = person.http.post(f"{url}/introspect", data={"token": token}, auth=BATCH).json()
        return bool(document["active"])

    assert active()
    bearer = {"Authorization": f"Bearer {token}"}
    assert 403 == person.http.get(f"{url}/userinfo", headers=bearer).status_code
    exchange = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": token,
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "audience": STOCK,
    }
    answer = person.http.post(f"{url}/token", data=exchange, auth=BATCH)
    assert (400, "invalid_request") == (answer.status_code, answer.json()["error"])
    assert 200 == person.http.post(f"{url}/revoke", data={"token": token}, auth=BATCH).status_code
    assert not active()


def test_scopes_about_users_are_none_of_a_clients() -> None:
    """Settings that give a client `openid` in its own name are refused."""
    with pytest.raises(ValidationError, match="scopes about users; remove openid"):
        ClientSettings(client_id="x", client_secret=SecretStr("y"), client_credentials=("openid",))
