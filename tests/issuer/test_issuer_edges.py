"""The edges of the issuer: other clients, unreadable requests, a path of its own, lost answers."""

import httpx
import pytest
from pydantic import SecretStr

from bff.issuer.endpoints.http import BadRequestError, parse_parameters
from bff.issuer.settings import ClientSettings
from tests.issuer.flow import CREDENTIALS, REDIRECT_URI, Person
from tests.support.processes.redis import RedisServer
from tests.support.providers.issuer import RunningIssuer, query_of, running_issuer, sign_in_at

OTHER = ("other", "another-secret")
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def test_another_client_cannot_use_what_is_not_its_own(redis_server: RedisServer) -> None:
    """A code or refresh token of one client is nothing in the hands of another, and the token lives on."""
    other = ClientSettings(
        client_id=OTHER[0], client_secret=SecretStr(OTHER[1]), redirect_uris=(REDIRECT_URI,)
    )
    with (
        running_issuer(redis_server.url, (REDIRECT_URI,), clients=(other,)) as issuer,
        Person(issuer) as person,
    ):
        code = person.code()
        assert "invalid_grant" == person.token(person.code_form(code), OTHER).json()["error"]
        token = person.tokens()["refresh_token"]
        form = {"grant_type": "refresh_token", "refresh_token": token}
        assert "invalid_grant" == person.token(form, OTHER).json()["error"]
        refused = person.http.post(f"{issuer.url}/revoke", data={"token": token}, auth=OTHER)
        assert "invalid_grant" == refused.json()["error"]
        renewed = person.refresh(token)
        assert 200 == renewed.status_code
        used = {"grant_type": "refresh_token", "refresh_token": token}
        assert "invalid_grant" == person.token(used, OTHER).json()["error"]
        assert 200 == person.refresh(renewed.json()["refresh_token"]).status_code


def test_codes_and_grants_that_do_not_exist(person: Person) -> None:
    """An invented code is invalid_grant, an unknown grant type says so, a missing code is invalid_request."""
    assert "invalid_grant" == person.exchange("invented").json()["error"]
    assert "unsupported_grant_type" == person.token({"grant_type": "password"}).json()["error"]
    assert "invalid_request" == person.token({"grant_type": "authorization_code"}).json()["error"]
    assert "invalid_request" == person.token({"grant_type": "refresh_token"}).json()["error"]
    assert "unsupported_grant_type" == person.token({"x": "y"}).json()["error"]


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"grant_type=refresh_token", {"Content-Type": "text/plain"}, 400),
        (b"{}", {"Content-Type": "application/json"}, 400),
        (b"grant_type=refresh_token&grant_type=password", FORM, 400),
        (b"grant_type=%ff", FORM, 400),
        (b"\xff\xff", FORM, 400),
        (b"a=b&" * 101, FORM, 400),
        (b"a=" + b"x" * 70_000, FORM, 413),
    ],
)
def test_unreadable_forms_are_the_clients_fault(
    issuer: RunningIssuer, content: bytes, headers: dict[str, str], status: int
) -> None:
    """Other media types, doubled parameters, broken encodings and too much are refused in JSON."""
    answer = httpx.post(f"{issuer.url}/token", content=content, headers=headers, auth=CREDENTIALS)
    assert (status, "invalid_request") == (answer.status_code, answer.json()["error"])


def test_a_query_has_an_end() -> None:
    """What is longer than a form may be is refused as well where it comes as a query."""
    with pytest.raises(BadRequestError, match="too many"):
        parse_parameters("a=" + "x" * 70_000)


def test_revocation_without_a_token_is_said(person: Person, issuer: RunningIssuer) -> None:
    """RFC 7009 2.1: the token is required."""
    answer = person.http.post(f"{issuer.url}/revoke", data={"x": "y"}, auth=CREDENTIALS)
    assert "invalid_request" == answer.json()["error"]


def test_an_issuer_can_live_under_a_path(redis_server: RedisServer) -> None:
    """With a path in its URL everything is under it, the forms too."""
    with (
        running_issuer(redis_server.url, (REDIRECT_URI,), path="/realms/demo") as issuer,
        Person(issuer) as person,
    ):
        document = httpx.get(f"{issuer.url}/.well-known/openid-configuration").json()
        assert document["token_endpoint"].endswith("/realms/demo/token")
        root = issuer.url.removesuffix("/realms/demo")
        assert document == httpx.get(f"{root}/.well-known/oauth-authorization-server/realms/demo").json()
        tokens = person.tokens()
        assert 200 == person.refresh(tokens["refresh_token"]).status_code
        assert 400 == person.authorize(client_id="nobody").status_code
        page = person.http.get(f"{issuer.url}/end-session")
        assert "/realms/demo/sign-out" in page.text


def test_userinfo_refuses_what_it_should_not_tell(
    person: Person, issuer: RunningIssuer, redis_server: RedisServer
) -> None:
    """Without `openid` in the scope: 403; when the account is gone: 401; without a token: no error code."""
    plain = person.tokens(scope="profile")["access_token"]
    url = f"{issuer.url}/userinfo"
    assert 403 == httpx.get(url, headers={"Authorization": f"Bearer {plain}"}).status_code
    token = person.tokens()["access_token"]
    with redis_server.client() as client:
        client.delete("issuer:user:alice")
    assert 401 == httpx.get(url, headers={"Authorization": f"Bearer {token}"}).status_code
    assert "Bearer" == httpx.get(url).headers["www-authenticate"]


def test_whoever_lost_the_account_is_asked_to_sign_in(person: Person, redis_server: RedisServer) -> None:
    """A sign-in whose account is gone counts for nothing."""
    person.tokens()
    with redis_server.client() as client:
        client.delete("issuer:user:alice")
    assert "login_required" == query_of(person.authorize(prompt="none").headers["location"])["error"]


def test_an_account_that_goes_between_code_and_token_gets_none(
    person: Person, redis_server: RedisServer
) -> None:
    """The token endpoint looks the account up again."""
    code = person.code()
    with redis_server.client() as client:
        client.delete("issuer:user:alice")
    assert "invalid_grant" == person.exchange(code).json()["error"]


def test_a_request_that_turned_bad_under_the_form_is_told_to_the_client(
    person: Person, issuer: RunningIssuer
) -> None:
    """What the form brings along is checked again: a changed scope is an error, not a code."""
    page = person.authorize()
    html = page.text.replace("scope=openid", "scope=nonsense").replace("profile+email+offline_access", "x")
    forged = httpx.Response(200, text=html, request=page.request)
    answer = sign_in_at(forged, person.http)
    query = query_of(answer.headers["location"])
    assert ("invalid_scope", issuer.url) == (query["error"], query["iss"])


def test_sign_out_by_post(person: Person, issuer: RunningIssuer) -> None:
    """RP-Initiated Logout 2: the endpoint takes forms; an ID token of another client is refused."""
    token = person.tokens()["id_token"]
    url = f"{issuer.url}/end-session"
    wrong = person.http.post(url, data={"id_token_hint": token, "client_id": "other"})
    assert 400 == wrong.status_code
    assert "Signed out" in person.http.post(url, data={"id_token_hint": token}).text
    assert "Signed out" in person.http.post(url, data={"id_token_hint": token}).text


def test_the_question_asked_twice_is_answered(person: Person, issuer: RunningIssuer) -> None:
    """Whoever is no longer signed in when the form arrives is told that all is done."""
    assert "Signed out" in person.http.post(f"{issuer.url}/sign-out", data={"csrf": "x"}).text


def test_lost_and_slow_answers_can_be_played(person: Person, issuer: RunningIssuer) -> None:
    """The recorder can lose an answer after the work was done: the token is used, and nobody knows."""
    token = person.tokens()["refresh_token"]
    issuer.seen.drop_answers = True
    with pytest.raises(httpx.RemoteProtocolError):
        person.refresh(token)
    issuer.seen.drop_answers = False
    assert "invalid_grant" == person.refresh(token).json()["error"]
