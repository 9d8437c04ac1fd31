"""The sample API on a real socket, with tokens of a real issuer."""

from collections.abc import Iterator

import httpx
import pytest

from bff.demo.api import create_app
from bff.embedded import free_port
from tests.issuer.flow import Person
from tests.support.processes.redis import RedisServer
from tests.support.providers.issuer import ALICE, AUDIENCE, BOB, RunningIssuer, ServedApp, running_issuer


@pytest.fixture
def issuer(redis_server: RedisServer) -> Iterator[RunningIssuer]:
    with running_issuer(redis_server.url) as running:
        yield running


@pytest.fixture
def api_url(issuer: RunningIssuer) -> Iterator[str]:
    served = ServedApp(create_app(issuer.url, AUDIENCE, interval=0.01), free_port())
    served.start()
    yield f"http://127.0.0.1:{served.port}"
    served.stop()


def client_of(api_url: str, issuer: RunningIssuer, who: tuple[str, str]) -> httpx.Client:
    with Person(issuer) as person:
        token = person.tokens(who)["access_token"]
    return httpx.Client(base_url=api_url, headers={"Authorization": f"Bearer {token}"})


def test_orders_belong_to_their_user(api_url: str, issuer: RunningIssuer) -> None:
    """Alice finds samples, adds one and reads it again; bob does not see it."""
    with client_of(api_url, issuer, ALICE) as alice, client_of(api_url, issuer, BOB) as bob:
        assert 3 == len(alice.get("/orders").json()["orders"])
        made = alice.post("/orders", json={"item": " A hat ", "quantity": 2})
        assert (201, "A hat", 2) == (made.status_code, made.json()["item"], made.json()["quantity"])
        assert made.json() == alice.get(f"/orders/{made.json()['id']}").json()
        assert made.json() == alice.get("/orders").json()["orders"][-1]
        assert 404 == bob.get(f"/orders/{made.json()['id']}").status_code


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"not json", 400),
        (b"[]", 400),
        (b"{}", 400),
        (b'{"item": "", "quantity": 1}', 400),
        (b'{"item": "a", "quantity": 0}', 400),
        (b'{"item": "a", "quantity": true}', 400),
        (b'{"item": "a", "quantity": 1.5}', 400),
        (b'{"item": 5}', 400),
        (b'{"item": "' + b"a" * 81 + b'"}', 400),
        (b" " * 20_000, 413),
    ],
)
def test_bad_orders_are_said_in_json(api_url: str, issuer: RunningIssuer, body: bytes, status: int) -> None:
    """What is wrong with an order is an error in JSON."""
    with client_of(api_url, issuer, ALICE) as alice:
        answer = alice.post("/orders", content=body)
        assert status == answer.status_code
        assert answer.json()["error"]


def test_events_come_one_by_one(api_url: str, issuer: RunningIssuer) -> None:
    """The stream sends its events and ends."""
    with client_of(api_url, issuer, ALICE) as alice, alice.stream("GET", "/orders/stream") as stream:
        assert "text/event-stream" == stream.headers["content-type"].partition(";")[0]
        lines = [line for line in stream.iter_lines() if line.startswith("event:")]
    assert ["event: order"] * 5 == lines


@pytest.mark.requirement("J-12")
def test_a_revoked_token_is_refused_and_another_is_not(api_url: str, issuer: RunningIssuer) -> None:
    """After revoke-my-token this token is 401 `invalid_token`; a refreshed one of the same user works."""
    with Person(issuer) as person, httpx.Client(base_url=api_url) as client:
        tokens = person.tokens()
        bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
        assert 200 == client.post("/revoke-my-token", headers=bearer).status_code
        refused = client.get("/orders", headers=bearer)
        assert 401 == refused.status_code
        assert 'error="invalid_token"' in refused.headers["www-authenticate"]
        renewed = person.refresh(tokens["refresh_token"]).json()["access_token"]
        assert 200 == client.get("/orders", headers={"Authorization": f"Bearer {renewed}"}).status_code


def test_whoami_names_headers_and_keeps_the_token(api_url: str, issuer: RunningIssuer) -> None:
    """The answer has the names of the headers, and neither the token nor a cookie's value."""
    with client_of(api_url, issuer, ALICE) as alice:
        answer = alice.get("/whoami", headers={"Cookie": "a=secret-cookie"})
        assert answer.json()["bearer"] is True
        assert "cookie" in answer.json()["headers"]
        assert "secret-cookie" not in answer.text
        assert alice.headers["authorization"].split()[1] not in answer.text


def test_without_a_token_there_is_nothing(api_url: str) -> None:
    """Every path but /healthz asks for a token, unknown ones too."""
    for path in ("/orders", "/orders/1", "/orders/stream", "/whoami", "/nothing"):
        assert 401 == httpx.get(api_url + path).status_code
    assert 200 == httpx.get(f"{api_url}/healthz").status_code
