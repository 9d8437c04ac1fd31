"""Refresh families: rotation, reuse, revocation, on real sockets and a real Redis."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.issuer.flow import CREDENTIALS, Person, payload_of
from tests.support.issuer import BOB, RunningIssuer
from tests.support.redis import RedisServer


@pytest.mark.requirement("J-05")
def test_each_use_gives_a_new_token(person: Person) -> None:
    """Refresh tokens follow each other; sid, sub and auth_time stay; the ID token is renewed."""
    tokens = person.tokens()
    first = payload_of(tokens["id_token"])
    seen = {tokens["refresh_token"]}
    for _ in range(3):
        tokens = person.refresh(tokens["refresh_token"]).json()
        seen.add(tokens["refresh_token"])
        renewed = payload_of(tokens["id_token"])
        assert [first[name] for name in ("sub", "sid", "auth_time")] == [
            renewed[name] for name in ("sub", "sid", "auth_time")
        ]
        assert "nonce" not in renewed
    assert 4 == len(seen)


@pytest.mark.requirement("J-05", "J-12")
def test_reuse_ends_the_family(person: Person) -> None:
    """A used refresh token is refused, and so is its successor from then on."""
    old = person.tokens()["refresh_token"]
    new = person.refresh(old).json()["refresh_token"]
    assert "invalid_grant" == person.refresh(old).json()["error"]
    assert "invalid_grant" == person.refresh(new).json()["error"]


@pytest.mark.requirement("J-05")
def test_reuse_with_another_wish_ends_the_family_too(person: Person) -> None:
    """Asking for more scope does not hide a reuse."""
    old = person.tokens()["refresh_token"]
    new = person.refresh(old).json()["refresh_token"]
    assert 400 == person.refresh(old, scope="openid admin").status_code
    assert "invalid_grant" == person.refresh(new).json()["error"]


@pytest.mark.requirement("J-05")
def test_one_family_ends_and_no_other(person: Person, issuer: RunningIssuer) -> None:
    """Reuse in one sign-in leaves another one alone."""
    with Person(issuer) as other:
        others = other.tokens(BOB)["refresh_token"]
        old = person.tokens()["refresh_token"]
        person.refresh(old)
        person.refresh(old)
        assert 200 == other.refresh(others).status_code


@pytest.mark.requirement("J-05")
def test_many_uses_at_once_give_one_pair(person: Person) -> None:
    """Of many simultaneous uses of one token one succeeds at most, and the family is over."""
    token = person.tokens()["refresh_token"]
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: person.refresh(token), range(40)))
    good = [answer.json() for answer in answers if answer.status_code == 200]
    assert 1 == len(good)
    assert {"invalid_grant"} == {answer.json()["error"] for answer in answers if answer.status_code != 200}
    assert "invalid_grant" == person.refresh(good[0]["refresh_token"]).json()["error"]


@pytest.mark.requirement("J-04")
def test_only_hashes_are_stored(person: Person, redis_server: RedisServer) -> None:
    """No part of a refresh token stands in its family's record or key."""
    token = person.tokens()["refresh_token"]
    family_id, secret = token.split(".")
    with redis_server.client() as client:
        (key,) = client.keys("issuer:family:*")
        stored = f"{key} {client.hgetall(key)} {client.keys('*')}"
    assert secret not in stored
    assert family_id not in stored


def test_scope_can_shrink_and_not_grow(person: Person) -> None:
    """A refresh may ask for less scope, for once; more is `invalid_scope` and spends nothing."""
    tokens = person.tokens(scope="openid profile offline_access")
    assert (
        "invalid_scope"
        == person.refresh(tokens["refresh_token"], scope="openid profile email").json()["error"]
    )
    less = person.refresh(tokens["refresh_token"], scope="openid").json()
    assert "openid" == less["scope"]
    assert "name" not in payload_of(less["id_token"])
    assert "openid profile offline_access" == person.refresh(less["refresh_token"]).json()["scope"]


def test_a_family_ends_with_its_account(person: Person, redis_server: RedisServer) -> None:
    """When the account is gone a refresh is `invalid_grant`, and stays so."""
    token = person.tokens()["refresh_token"]
    with redis_server.client() as client:
        client.delete("issuer:user:alice")
    assert "invalid_grant" == person.refresh(token).json()["error"]
    with redis_server.client() as client:
        assert [] == client.keys("issuer:family:*")


@pytest.mark.parametrize("token", ["", ".", "a.b", "x" * 5000, "a.b.c", "\x00.\x00"])
def test_what_is_no_refresh_token_is_refused(person: Person, token: str) -> None:
    """Nonsense is an error of the client's, never of the issuer's."""
    answer = person.refresh(token)
    assert 400 == answer.status_code
    assert answer.json()["error"] in ("invalid_grant", "invalid_request")


def test_rotation_does_not_prolong_the_family(person: Person, redis_server: RedisServer) -> None:
    """The family ends when its first token would have ended, however often it was rotated."""
    tokens = person.tokens()
    with redis_server.client() as client:
        (key,) = client.keys("issuer:family:*")
        client.expire(key, 100)
        tokens = person.refresh(tokens["refresh_token"]).json()
        assert 0 < int(str(client.ttl(key))) <= 100


@pytest.mark.parametrize("hint", [None, "refresh_token", "access_token", "nonsense"])
def test_revocation_ends_the_family(person: Person, issuer: RunningIssuer, hint: str | None) -> None:
    """RFC 7009 with any hint: 200, and the refresh token is dead; again: 200 as well."""
    tokens = person.tokens()
    form = {"token": tokens["refresh_token"], **({"token_type_hint": hint} if hint else {})}
    for _ in range(2):
        assert 200 == person.http.post(f"{issuer.url}/revoke", data=form, auth=CREDENTIALS).status_code
    assert "invalid_grant" == person.refresh(tokens["refresh_token"]).json()["error"]


def test_revocation_by_a_used_token_ends_the_family_too(person: Person, issuer: RunningIssuer) -> None:
    """A client that lost the last answer can still end what it holds."""
    old = person.tokens()["refresh_token"]
    new = person.refresh(old).json()["refresh_token"]
    person.http.post(f"{issuer.url}/revoke", data={"token": old}, auth=CREDENTIALS)
    assert "invalid_grant" == person.refresh(new).json()["error"]


def test_revocation_asks_who_asks(person: Person, issuer: RunningIssuer) -> None:
    """Without the client's secret nothing is revoked."""
    token = person.tokens()["refresh_token"]
    answer = person.http.post(f"{issuer.url}/revoke", data={"token": token}, auth=("spa-bff", "wrong"))
    assert 401 == answer.status_code
    assert 200 == person.refresh(token).status_code


def test_families_and_accounts_outlive_a_restart(person: Person, issuer: RunningIssuer) -> None:
    """A new process with the same Redis takes the refresh tokens of the old one."""
    token = person.tokens()["refresh_token"]
    issuer.restart()
    assert 200 == person.refresh(token).status_code


def test_the_recorder_counts_and_misbehaves(person: Person, issuer: RunningIssuer) -> None:
    """The tests' own recorder counts calls by grant type, and breaks answers on demand."""
    token = person.tokens()["refresh_token"]
    person.refresh(token)
    assert {"authorization_code": 1, "refresh_token": 1} == issuer.seen.token_calls
    issuer.seen.answer = (503, b"{}")
    assert 503 == person.refresh("a.b").status_code
