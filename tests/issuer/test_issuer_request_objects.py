"""Signed authorization requests (JAR, RFC 9101) at the issuer, pushed and by the browser, on real sockets."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from joserfc.jws import serialize_compact
from pydantic import ValidationError

from bff.issuer.settings import ClientSettings
from tests.issuer.clients import KEY_CLIENT, assertion, form_of, jwks_of, new_key
from tests.issuer.flow import REDIRECT_URI, Person
from tests.support.processes.redis import redis_server
from tests.support.providers.issuer import RunningIssuer, query_of, running_issuer, sign_in_at

KEY, STRANGER = new_key(), new_key()
STRICT = "signs-always"


@pytest.fixture(name="keyed", scope="module")
def _keyed() -> Iterator[RunningIssuer]:
    def client(name: str, *, always: bool) -> ClientSettings:
        return ClientSettings(
            client_id=name, jwks=jwks_of(KEY), redirect_uris=(REDIRECT_URI,), require_request_object=always
        )

    clients = (client(KEY_CLIENT, always=False), client(STRICT, always=True))
    with redis_server() as server, running_issuer(server.url, (REDIRECT_URI,), clients=clients) as running:
        yield running


@pytest.fixture(name="person")
def _person(keyed: RunningIssuer) -> Iterator[Person]:
    with Person(keyed) as somebody:
        yield somebody


def signed(person: Person, key: ECKey = KEY, header: dict[str, Any] | None = None, **changes: Any) -> str:
    """A signed request of the client; a claim that is None is left out."""
    now = int(time.time())
    claims = {
        **person.request(client_id=KEY_CLIENT),
        "iss": KEY_CLIENT,
        "aud": person.issuer.url,
        "nbf": now,
        "exp": now + 60,
        **changes,
    }
    claims = {name: value for name, value in claims.items() if value is not None}
    told = {"alg": "ES256", "kid": "one", "typ": "oauth-authz-req+jwt", **(header or {})}
    return jwt.encode(told, claims, key, ["ES256"])


def come(person: Person, text: str, client_id: str = KEY_CLIENT, **more: str) -> httpx.Response:
    parameters = {"client_id": client_id, "request": text, **more}
    return person.http.get(f"{person.issuer.url}/authorize", params=parameters)


def push(person: Person, text: str, client_id: str = KEY_CLIENT, **more: str) -> httpx.Response:
    by = form_of(assertion(KEY, person.issuer.url, iss=client_id, sub=client_id))
    return person.http.post(f"{person.issuer.url}/par", data={"request": text, **by, **more})


def landed(person: Person, answer: httpx.Response) -> dict[str, str]:
    """The answer to the client, after a sign-in."""
    page = person.http.get(answer.headers["location"])
    return query_of(sign_in_at(page, person.http).headers["location"])


@pytest.mark.requirement("P-05")
def test_a_signed_request_is_taken_by_what_was_signed(person: Person) -> None:
    """What stands beside it in the query does not count; it is kept while the sign-in page is open."""
    answer = come(person, signed(person, max_age=300), state="another", redirect_uri="https://evil.example/")
    assert {"client_id", "request_uri"} == query_of(answer.headers["location"]).keys()
    query = landed(person, answer)
    assert "the-state" == query["state"]
    form = {**person.code_form(query["code"]), **form_of(assertion(KEY, person.issuer.url))}
    assert 200 == person.token(form, auth=None).status_code


@pytest.mark.requirement("P-05")
def test_a_signed_request_may_be_pushed(person: Person) -> None:
    """Beside the client's authentication; the form's other parameters do not count."""
    pushed = push(person, signed(person), state="another").json()["request_uri"]
    page = person.http.get(
        f"{person.issuer.url}/authorize", params={"client_id": KEY_CLIENT, "request_uri": pushed}
    )
    answer = sign_in_at(page, person.http) if page.status_code == 200 else page
    assert "the-state" == query_of(answer.headers["location"])["state"]


@pytest.mark.requirement("P-05")
@pytest.mark.parametrize(
    "changes",
    [
        {"key": STRANGER},
        {"client_id": "spa-bff"},
        {"client_id": None},
        {"iss": "spa-bff"},
        {"iss": None},
        {"aud": "https://other.example"},
        {"aud": None},
        {"exp": 1},
        {"exp": None},
        {"exp": 4e9},
        {"nbf": 4e9},
        {"nbf": 1},
        {"nbf": "now"},
        {"request": "e30.e30."},
        {"request_uri": "https://evil.example/request"},
        {"sub": KEY_CLIENT},
        {"header": {"typ": "JWT"}},
        {"header": {"kid": "two"}},
        {"redirect_uri": "https://evil.example/"},
    ],
    ids=lambda changes: "another key" if "key" in changes else str(changes),
)
def test_a_bad_one_is_refused_by_a_page_and_to_the_client(person: Person, changes: dict[str, Any]) -> None:
    """Another's, for somebody else, stale or nested: no redirect anywhere, and an error for a push."""
    text = signed(person, **changes)
    answer = come(person, text)
    assert 400 == answer.status_code
    assert "location" not in answer.headers
    pushed = push(person, text)
    error = "invalid_request" if "redirect_uri" in changes else "invalid_request_object"
    assert (400, error) == (pushed.status_code, pushed.json()["error"])


def test_what_is_no_signed_request_is_refused(person: Person) -> None:
    """Nonsense, one without a signature, and an assertion that the client authenticates with."""
    unsigned = "eyJhbGciOiJub25lIiwidHlwIjoib2F1dGgtYXV0aHotcmVxK2p3dCJ9." + signed(person).split(".")[1]
    for text in ("", "x", "é", f"{unsigned}.", "x" * 17_000, assertion(KEY, person.issuer.url)):
        assert "invalid_request_object" == push(person, text).json()["error"]
    for other in (come(person, signed(person), "spa-bff"), come(person, signed(person), "nobody")):
        assert 400 == other.status_code


@pytest.mark.requirement("P-05")
def test_a_client_can_be_held_to_it(person: Person) -> None:
    """With `require_request_object` a plain request is an error, pushed or not; a signed one works."""
    plain = person.authorize(client_id=STRICT)
    assert "invalid_request" == query_of(plain.headers["location"])["error"]
    by = form_of(assertion(KEY, person.issuer.url, iss=STRICT, sub=STRICT))
    refused = person.http.post(f"{person.issuer.url}/par", data={**person.request(client_id=STRICT), **by})
    assert "invalid_request" == refused.json()["error"]
    text = signed(person, client_id=STRICT, iss=STRICT)
    assert "code" in landed(person, come(person, text, STRICT))
    named = {"client_id": STRICT, "request_uri": push(person, text, STRICT).json()["request_uri"]}
    assert 303 == person.http.get(f"{person.issuer.url}/authorize", params=named).status_code


def test_a_secret_signs_nothing() -> None:
    """A client without keys cannot be held to sign; one that must push cannot sign in its place."""
    with pytest.raises(ValidationError, match="needs a key"):
        ClientSettings.model_validate(
            {"client_id": "c", "client_secret": "s", "require_request_object": True}
        )
    pushes = ClientSettings(
        client_id=KEY_CLIENT, jwks=jwks_of(KEY), redirect_uris=(REDIRECT_URI,), require_par=True
    )
    with redis_server() as server, running_issuer(server.url, clients=(pushes,)) as issuer:
        with Person(issuer) as person:
            location = come(person, signed(person)).headers["location"]
            assert "invalid_request" == query_of(location)["error"]
        document = httpx.get(f"{issuer.url}/.well-known/openid-configuration").json()
        assert document["request_parameter_supported"]
        assert "ES256" in document["request_object_signing_alg_values_supported"]


@pytest.mark.parametrize(
    "payload",
    ["[" * 6000, '{"a":' * 2000, "[]", '"text"', '{"exp": NaN}', '{"exp": 1e999}', "", "\ud800"],
    ids=["arrays", "tables", "list", "text", "nan", "infinity", "nothing", "surrogate"],
)
def test_a_signed_text_that_is_no_request(person: Person, payload: str) -> None:
    """Its own client's mistake or malice: a page says so, and nothing fails."""
    header = {"alg": "ES256", "kid": "one", "typ": "oauth-authz-req+jwt"}
    answer = come(person, serialize_compact(header, payload.encode("utf-8", "surrogatepass"), KEY))
    assert (400, True) == (answer.status_code, "text/html" in answer.headers["content-type"])
