"""Sign-out by an app: whose ID token, whose address, and what is kept while the user is asked."""

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr

from bff.issuer.settings import ClientSettings
from tests.issuer.flow import REDIRECT_URI, Person
from tests.support.processes.redis import redis_server
from tests.support.providers.issuer import BOB, CLIENT_ID, RunningIssuer, query_of, read_form, running_issuer

AFTER, OTHERS = "https://app.example/after", "https://other.example/after"
OTHER = ClientSettings(
    client_id="other",
    client_secret=SecretStr("another-secret"),
    redirect_uris=(REDIRECT_URI,),
    post_logout_redirect_uris=(OTHERS,),
)


@pytest.fixture(name="issuer", scope="module")
def _issuer() -> Iterator[RunningIssuer]:
    with (
        redis_server() as server,
        running_issuer(
            server.url, (REDIRECT_URI,), post_logout_redirect_uris=(AFTER,), clients=(OTHER,)
        ) as running,
    ):
        yield running


@pytest.fixture(name="person")
def _person(issuer: RunningIssuer) -> Iterator[Person]:
    with Person(issuer) as person:
        yield person


def is_signed_in(person: Person) -> bool:
    return "code" in query_of(person.authorize(prompt="none").headers["location"])


def test_one_clients_id_token_leads_to_no_address_of_another(person: Person, issuer: RunningIssuer) -> None:
    """The client that is named must be the one that the ID token was issued to; nobody is signed out."""
    sent = {
        "id_token_hint": person.tokens()["id_token"],
        "client_id": "other",
        "post_logout_redirect_uri": OTHERS,
    }
    answer = person.http.get(f"{issuer.url}/end-session", params=sent)
    assert (400, None) == (answer.status_code, answer.headers.get("location"))
    assert is_signed_in(person)
    own = {**sent, "client_id": CLIENT_ID, "post_logout_redirect_uri": AFTER}
    assert AFTER == person.http.get(f"{issuer.url}/end-session", params=own).headers["location"]
    assert not is_signed_in(person)


@pytest.mark.parametrize(
    ("target", "state", "location"),
    [(AFTER, "s", f"{AFTER}?state=s"), (AFTER, None, AFTER), (None, "s", None), (None, None, None)],
)
def test_the_state_goes_with_the_address_alone(
    person: Person, issuer: RunningIssuer, target: str | None, state: str | None, location: str | None
) -> None:
    """Without an address there is nowhere to take it, and without a state nothing is added."""
    sent = {
        "id_token_hint": person.tokens()["id_token"],
        "post_logout_redirect_uri": target,
        "state": state,
    }
    given = {name: value for name, value in sent.items() if value is not None}
    answer = person.http.get(f"{issuer.url}/end-session", params=given)
    status = 200 if location is None else 303
    assert (status, location) == (answer.status_code, answer.headers.get("location"))
    assert not is_signed_in(person)


def test_what_was_asked_for_outlives_the_question(person: Person, issuer: RunningIssuer) -> None:
    """The form keeps client, hint, address and state, never the ID token; the answer leads there."""
    mine = person.tokens()["id_token"]
    with Person(issuer) as other:
        foreign = other.tokens(BOB)["id_token"]
    sent = {
        "client_id": CLIENT_ID,
        "logout_hint": "somebody",
        "post_logout_redirect_uri": AFTER,
        "state": "s t",
    }
    page = person.http.get(f"{issuer.url}/end-session", params={**sent, "id_token_hint": foreign})
    action, csrf = read_form(page)
    assert sent == {name: values[0] for name, values in parse_qs(urlsplit(action).query).items()}
    assert foreign not in page.text
    assert mine not in page.text
    done = person.http.post(action, data={"csrf": csrf})
    assert f"{AFTER}?state=s+t" == done.headers["location"]
