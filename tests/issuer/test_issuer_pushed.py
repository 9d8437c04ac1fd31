"""Pushed authorization requests (RFC 9126), on real sockets."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from pydantic import SecretStr

from bff.issuer.endpoints.pushed import PushedRequests
from bff.issuer.settings import ClientSettings
from bff.issuer.store.redis import IssuerRedis
from tests.issuer.flow import CREDENTIALS, REDIRECT_URI, Person
from tests.support.processes.redis import RedisServer, redis_server
from tests.support.providers.issuer import RunningIssuer, query_of, running_issuer, sign_in_at

STRICT = ("strict", "a-secret")


@pytest.fixture(name="redis_server", scope="module")
def _redis_server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(name="issuer", scope="module")
def _issuer(redis_server: RedisServer) -> Iterator[RunningIssuer]:
    strict = ClientSettings(
        client_id=STRICT[0],
        client_secret=SecretStr(STRICT[1]),
        redirect_uris=(REDIRECT_URI,),
        require_par=True,
    )
    with running_issuer(redis_server.url, (REDIRECT_URI,), clients=(strict,)) as running:
        yield running


def push(person: Person, auth: tuple[str, str] = CREDENTIALS, **changes: str | None) -> httpx.Response:
    form = person.request(**{"client_id": auth[0], **changes})
    return person.http.post(f"{person.issuer.url}/par", data=form, auth=auth)


def come(person: Person, request_uri: str, client_id: str = CREDENTIALS[0], **more: str) -> httpx.Response:
    query = {"client_id": client_id, "request_uri": request_uri, **more}
    return person.http.get(f"{person.issuer.url}/authorize", params=query)


@pytest.mark.requirement("O-14")
def test_a_pushed_request_signs_in(person: Person) -> None:
    """201 with a request_uri of a minute; with it alone the browser gets page, code, and state."""
    answer = push(person)
    assert (201, 60, "no-store") == (
        answer.status_code,
        answer.json()["expires_in"],
        answer.headers["cache-control"],
    )
    page = come(person, answer.json()["request_uri"])
    assert "the-state" not in page.text
    query = query_of(sign_in_at(page, person.http).headers["location"])
    assert "the-state" == query["state"]
    assert 200 == person.exchange(query["code"]).status_code


def test_it_gives_one_code(person: Person) -> None:
    """Of many who come with one request_uri at once, one gets a code; the client is told of later ones.

    (Whoever comes back to the request by the back button is sent on to where they belong.)
    """
    person.tokens()
    request_uri = push(person).json()["request_uri"]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: come(person, request_uri), range(8)))
    codes = [one for one in answers if "code" in query_of(one.headers.get("location", "?x=y"))]
    assert 1 == len(codes)
    later = query_of(come(person, request_uri).headers["location"])
    assert ("invalid_request", "the-state", person.issuer.url) == (
        later["error"],
        later["state"],
        later["iss"],
    )
    assert 400 == come(person, request_uri, STRICT[0]).status_code


def test_who_found_it_too_does_not_get_it_too(redis_server: RedisServer) -> None:
    """Of two who have read a request before either took it, one takes it."""
    with redis_server.client() as client:
        pushed = PushedRequests(IssuerRedis(client, "other"))
        request_uri = pushed.save({"client_id": "c"})
        assert [{"client_id": "c"}] * 2 == [pushed.find(request_uri, "c") for _ in range(2)]
        assert [True, False] == [pushed.take(request_uri) for _ in range(2)]
        assert (None, {"client_id": "c"}) == (pushed.find(request_uri, "c"), pushed.find_spent(request_uri))


@pytest.mark.requirement("O-12")
def test_nobody_is_looked_for_before_the_browser_comes(person: Person) -> None:
    """A request with prompt=none is taken; whether somebody is signed in is seen when the browser comes."""
    answer = come(person, push(person, prompt="none").json()["request_uri"])
    assert "login_required" == query_of(answer.headers["location"])["error"]
    person.tokens()
    answer = come(person, push(person, prompt="none").json()["request_uri"])
    assert "code" in query_of(answer.headers["location"])


def test_what_the_query_adds_is_not_read(person: Person) -> None:
    """Redirect URI, scope and state beside a request_uri change nothing (RFC 9101 5)."""
    request_uri = push(person, scope="openid").json()["request_uri"]
    page = come(person, request_uri, redirect_uri="https://evil.example/", scope="openid email", state="x")
    query = query_of(sign_in_at(page, person.http).headers["location"])
    assert "the-state" == query["state"]
    assert "openid" == person.exchange(query["code"]).json()["scope"]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"redirect_uri": "https://evil.example/"}, "invalid_request"),
        ({"redirect_uri": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "admin"}, "invalid_scope"),
        ({"request_uri": "urn:ietf:params:oauth:request_uri:x"}, "invalid_request"),
        ({"request": "e30.e30."}, "invalid_request_object"),
        ({"client_id": STRICT[0]}, "invalid_request"),
        ({"resource": "https://not-mine.example"}, "invalid_target"),
        ({"nonce": "x" * 600}, "invalid_request"),
    ],
    ids=str,
)
def test_errors_are_told_at_once(person: Person, changes: dict[str, str | None], error: str) -> None:
    """What the authorization endpoint would refuse is refused here, as JSON to the client."""
    form = person.request(**changes)
    answer = person.http.post(f"{person.issuer.url}/par", data=form, auth=CREDENTIALS)
    assert (400, error) == (answer.status_code, answer.json()["error"])
    assert "location" not in answer.headers


def test_only_clients_push(person: Person, redis_server: RedisServer) -> None:
    """Without the client's secret nothing is stored."""
    with redis_server.client() as client:
        before = client.keys("issuer:par:*")
        answer = push(person, auth=(CREDENTIALS[0], "wrong"))
        assert (401, "invalid_client") == (answer.status_code, answer.json()["error"])
        assert before == client.keys("issuer:par:*")


def test_a_request_belongs_to_its_client(person: Person) -> None:
    """Another client, or an invented request_uri, gets a page and no redirect."""
    request_uri = push(person).json()["request_uri"]
    for answer in (come(person, request_uri, STRICT[0]), come(person, request_uri + "x")):
        assert 400 == answer.status_code
        assert "location" not in answer.headers
    assert 200 == come(person, request_uri).status_code


def test_a_client_can_be_held_to_it(person: Person) -> None:
    """With `require_par` a plain request is an error; a pushed one works."""
    refused = person.authorize(client_id=STRICT[0])
    assert "invalid_request" == query_of(refused.headers["location"])["error"]
    request_uri = push(person, STRICT).json()["request_uri"]
    assert 200 == come(person, request_uri, STRICT[0]).status_code


def test_a_request_is_kept_for_the_sign_in_page_and_no_longer(
    person: Person, redis_server: RedisServer
) -> None:
    """A minute until the browser comes, ten minutes for the page; then it is over, which the page says."""
    with redis_server.client() as client:
        before = set(client.keys("issuer:par:*"))
        request_uri = push(person).json()["request_uri"]
        (key,) = set(client.keys("issuer:par:*")) - before
        assert 0 < int(str(client.ttl(key))) <= 60
        page = come(person, request_uri)
        assert 60 < int(str(client.ttl(key))) <= 600
        assert request_uri not in f"{key} {client.get(key)}"
        client.delete(key)
    answer = sign_in_at(page, person.http)
    assert 400 == answer.status_code
    assert "This request is over" in answer.text


def test_no_look_prolongs_a_request(redis_server: RedisServer) -> None:
    """The first look of its client gives ten minutes; no later look gives more, and another client's none."""
    with redis_server.client() as client:
        pushed = PushedRequests(IssuerRedis(client, "looks"))
        request_uri = pushed.save({"client_id": "c"})
        (key,) = client.keys("looks:par:*")
        assert None is pushed.find(request_uri, "other")
        assert 0 < int(str(client.ttl(key))) <= 60
        assert {"client_id": "c"} == pushed.find(request_uri, "c")
        client.expire(key, 100)  # 500 seconds later
        assert {"client_id": "c"} == pushed.find(request_uri, "c")
        assert 0 < int(str(client.ttl(key))) <= 100
