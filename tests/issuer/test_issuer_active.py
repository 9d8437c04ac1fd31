"""Which tokens are good now: introspection (RFC 7662), revocation by jti and sid, userinfo."""

import time
from collections.abc import Iterator

import httpx
import pytest
from pydantic import SecretStr

from bff.issuer.accounts.accounts import Accounts
from bff.issuer.settings import ClientSettings, UserSettings
from tests.issuer.flow import CREDENTIALS, REDIRECT_URI, Person, payload_of
from tests.support.processes.redis import RedisServer
from tests.support.providers.issuer import AUDIENCE, CHEAP, RunningIssuer, running_issuer

SERVICE, STRANGER = ("service", "a-secret"), ("stranger", "a-secret")
SECRET = SecretStr("a-secret")


@pytest.fixture(name="issuer")
def _issuer(redis_server: RedisServer) -> Iterator[RunningIssuer]:
    service = ClientSettings(client_id=SERVICE[0], client_secret=SECRET, introspects=(AUDIENCE,))
    stranger = ClientSettings(client_id=STRANGER[0], client_secret=SECRET)
    after = ("http://localhost:8080/",)
    with running_issuer(
        redis_server.url, (REDIRECT_URI,), post_logout_redirect_uris=after, clients=(service, stranger)
    ) as running:
        yield running


def introspect(person: Person, token: str, auth: tuple[str, str] = SERVICE) -> httpx.Response:
    return person.http.post(f"{person.issuer.url}/introspect", data={"token": token}, auth=auth)


def revoke(person: Person, token: str, auth: tuple[str, str] = CREDENTIALS) -> httpx.Response:
    return person.http.post(f"{person.issuer.url}/revoke", data={"token": token}, auth=auth)


def is_active(person: Person, token: str) -> bool:
    active: bool = introspect(person, token).json()["active"]
    told = httpx.get(f"{person.issuer.url}/userinfo", headers={"Authorization": f"Bearer {token}"})
    assert active == (told.status_code == 200)
    return active


def test_a_service_learns_what_a_token_says(person: Person) -> None:
    """The claims of an access token for its audience; nothing personal; never cached."""
    token = person.tokens()["access_token"]
    answer = introspect(person, token)
    assert {"active": True, "token_type": "Bearer", **payload_of(token)} == answer.json()
    assert "no-store" == answer.headers["cache-control"]


def test_a_client_may_ask_about_its_own(person: Person) -> None:
    """Whom a token was issued to learns of access and refresh tokens; a used refresh token is not active."""
    tokens = person.tokens()
    assert introspect(person, tokens["access_token"], CREDENTIALS).json()["active"]
    told = introspect(person, tokens["refresh_token"], CREDENTIALS).json()
    assert (True, "alice", "spa-bff") == (told["active"], told["sub"], told["client_id"])
    person.refresh(tokens["refresh_token"])
    assert {"active": False} == introspect(person, tokens["refresh_token"], CREDENTIALS).json()


def test_others_learn_nothing(person: Person) -> None:
    """Without permission a good token looks like none; a refresh token is for its client alone."""
    tokens = person.tokens()
    for token in (tokens["access_token"], tokens["refresh_token"], tokens["id_token"], "invented"):
        assert {"active": False} == introspect(person, token, STRANGER).json()
    assert {"active": False} == introspect(person, tokens["refresh_token"]).json()
    assert {"active": False} == introspect(person, tokens["id_token"]).json()
    assert 401 == introspect(person, tokens["access_token"], (SERVICE[0], "wrong")).status_code
    assert "invalid_request" == introspect(person, "").json()["error"]


@pytest.mark.requirement("J-06", "J-12")
def test_one_access_token_can_be_revoked(person: Person, redis_server: RedisServer) -> None:
    """RFC 7009 for an access token: its `jti` is listed until its end, and no other token is touched."""
    first = person.tokens()
    second = person.refresh(first["refresh_token"]).json()
    assert 200 == revoke(person, first["access_token"]).status_code
    assert [False, True] == [is_active(person, one["access_token"]) for one in (first, second)]
    claims = payload_of(first["access_token"])
    with redis_server.client() as client:
        left = int(str(client.ttl(f"issuer:revoked:jti:{claims['jti']}")))
    assert 0 < left <= 301
    assert 200 == person.refresh(second["refresh_token"]).status_code


@pytest.mark.requirement("J-06")
def test_a_revoked_refresh_token_takes_its_access_tokens_along(person: Person, issuer: RunningIssuer) -> None:
    """RFC 7009 2.1: all access tokens of the family end with it; those of other sign-ins do not."""
    with Person(issuer) as elsewhere:
        kept, first = elsewhere.tokens(), person.tokens()
        second = person.refresh(first["refresh_token"]).json()
        revoke(person, second["refresh_token"])
        tokens = [one["access_token"] for one in (first, second, kept)]
        assert [False, False, True] == [is_active(person, token) for token in tokens]
    assert "code" in person.authorize(prompt="none").headers["location"]  # nobody was signed out


@pytest.mark.requirement("J-05")
def test_a_reused_code_ends_the_whole_sign_in(person: Person) -> None:
    """So does a code that comes twice: the access token that it gave is over too."""
    code = person.code(scope="openid")
    token = person.exchange(code).json()["access_token"]
    assert is_active(person, token)
    assert "invalid_grant" == person.exchange(code).json()["error"]
    assert not is_active(person, token)
    assert "login_required" in person.authorize(prompt="none").headers["location"]


@pytest.mark.requirement("J-02")
def test_role_and_tenant_are_in_the_token(person: Person, redis_server: RedisServer) -> None:
    """An account's roles, apart by spaces, and its tenant are claims; nothing personal is."""
    carol = UserSettings(
        email="carol@example.com",
        password=SecretStr("carols own words"),
        name="Carol",
        sub="carol",
        roles=("admin", "clerk"),
        tenant="acme",
    )
    with redis_server.client() as client:
        Accounts(client, "issuer", CHEAP).add(carol, time.time())
        claims = payload_of(person.tokens(("carol@example.com", "carols own words"))["access_token"])
    assert ("admin clerk", "acme", "carol") == (claims["role"], claims["tid"], claims["sub"])
    assert not {"name", "email"} & claims.keys()


def test_nobody_revokes_for_others(person: Person) -> None:
    """Another client's revocation of an access token is refused, and the token lives."""
    token = person.tokens()["access_token"]
    assert "invalid_grant" == revoke(person, token, STRANGER).json()["error"]
    assert is_active(person, token)


@pytest.mark.requirement("J-06", "J-07")
def test_sign_out_ends_the_sid_and_no_other(person: Person, issuer: RunningIssuer) -> None:
    """Access tokens and families of the `sid` are over, those of the same person elsewhere are not."""
    with Person(issuer) as elsewhere:
        kept, tokens = elsewhere.tokens(), person.tokens()
        query = {"id_token_hint": tokens["id_token"]}
        assert "Signed out" in person.http.get(f"{issuer.url}/end-session", params=query).text
        assert [False, True] == [is_active(person, one["access_token"]) for one in (tokens, kept)]
        assert "invalid_grant" == person.refresh(tokens["refresh_token"]).json()["error"]
        assert 200 == elsewhere.refresh(kept["refresh_token"]).status_code
        assert "login_required" in person.authorize(prompt="none").headers["location"]


@pytest.mark.requirement("J-05", "J-06")
def test_reuse_ends_the_whole_sign_in(person: Person, capfd: pytest.CaptureFixture[str]) -> None:
    """A reused refresh token ends families, access tokens and the browser's sign-in of its `sid`: audited."""
    old = person.tokens()
    new = person.refresh(old["refresh_token"]).json()
    person.refresh(old["refresh_token"])
    assert [False, False] == [is_active(person, one["access_token"]) for one in (old, new)]
    assert "login_required" in person.authorize(prompt="none").headers["location"]
    lines = capfd.readouterr().out
    assert "token_reused" in lines
    assert "sign_in_ended" in lines
    assert old["refresh_token"].partition(".")[2] not in lines


def test_a_gone_account_has_no_active_tokens(person: Person, redis_server: RedisServer) -> None:
    """Tokens of an account that was removed are not active."""
    token = person.tokens()["access_token"]
    with redis_server.client() as client:
        client.delete("issuer:user:alice")
    assert not is_active(person, token)
