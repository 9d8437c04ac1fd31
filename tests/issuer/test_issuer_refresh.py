"""Refresh families: rotation, reuse, revocation, on real sockets and a real Redis."""

import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from bff.embedded import free_port
from bff.issuer.store.redis import IssuerRedis
from bff.issuer.store.refresh_families import Family, Gone, RefreshFamilies, RefreshToken, Reused, Rotated
from tests.issuer.flow import CREDENTIALS, REDIRECT_URI, Person, payload_of
from tests.support.processes.redis import RedisServer
from tests.support.providers.issuer import BOB, RunningIssuer, running_issuer


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
def test_two_hundred_uses_at_once_give_one_pair(person: Person, issuer: RunningIssuer) -> None:
    """200 uses of one token, at once and over two issuers: one wins, and all that began with it is over."""
    twin_port = free_port()
    twin = RunningIssuer(issuer.settings, twin_port)
    twin.start()
    addresses = [issuer.url, f"http://127.0.0.1:{twin_port}"]
    tokens = person.tokens()
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    ready = threading.Barrier(20)
    try:

        def use(number: int) -> list[httpx.Response]:
            url = f"{addresses[number % 2]}/token"
            with httpx.Client(timeout=60, auth=CREDENTIALS) as client:
                ready.wait(60)
                return [client.post(url, data=form) for _ in range(10)]

        with ThreadPoolExecutor(20) as pool:
            answers = [answer for some in pool.map(use, range(20)) for answer in some]
        good = [answer.json() for answer in answers if answer.status_code == 200]
        assert (200, 1) == (len(answers), len(good))
        refused = [answer.json() for answer in answers if answer.status_code != 200]
        assert {"invalid_grant"} == {answer["error"] for answer in refused}
        assert not any("_token" in name for answer in refused for name in answer)
        assert "invalid_grant" == person.refresh(good[0]["refresh_token"]).json()["error"]
        headers = {"Authorization": f"Bearer {good[0]['access_token']}"}
        assert 401 == person.http.get(f"{issuer.url}/userinfo", headers=headers).status_code
    finally:
        twin.stop()


# --- the grace


@pytest.fixture(name="graceful")
def _graceful(redis_server: RedisServer) -> Iterator[Person]:
    """Somebody at an issuer with a grace of a minute."""
    with running_issuer(redis_server.url, (REDIRECT_URI,), refresh_grace=60) as issuer, Person(issuer) as one:
        yield one


@pytest.mark.requirement("J-05")
def test_a_grace_gives_the_same_successor_until_it_is_used(graceful: Person) -> None:
    """Who lost the answer gets the same token again; once it is used, its predecessor is a used one."""
    first = graceful.tokens()["refresh_token"]
    second = graceful.refresh(first).json()["refresh_token"]
    with ThreadPoolExecutor(10) as pool:
        again = [answer.json() for answer in pool.map(lambda _: graceful.refresh(first), range(20))]
    assert {second} == {answer["refresh_token"] for answer in again}
    assert "access_token" in again[0]
    third = graceful.refresh(second).json()["refresh_token"]
    assert third not in (first, second)
    assert "invalid_grant" == graceful.refresh(first).json()["error"]
    assert "invalid_grant" == graceful.refresh(third).json()["error"]


def test_a_grace_ends(graceful: Person, redis_server: RedisServer) -> None:
    """After the grace the predecessor is a used one, and ends the sign-in."""
    first = graceful.tokens()["refresh_token"]
    second = graceful.refresh(first).json()["refresh_token"]
    with redis_server.client() as client:
        (key,) = client.keys("issuer:family:*")
        client.hset(key, "grace_ends", time.time() - 1)
    assert "invalid_grant" == graceful.refresh(first).json()["error"]
    assert "invalid_grant" == graceful.refresh(second).json()["error"]


@pytest.mark.requirement("J-04")
def test_the_successor_lies_sealed(graceful: Person, redis_server: RedisServer) -> None:
    """With a grace too, Redis holds no token that could be used; without one, nothing but hashes."""
    first = graceful.tokens()["refresh_token"]
    second = graceful.refresh(first).json()["refresh_token"]
    with redis_server.client() as client:
        (key,) = client.keys("issuer:family:*")
        stored = f"{key} {client.hgetall(key)}"
        assert {"current", "record", "previous", "sealed", "grace_ends"} == client.hgetall(key).keys()
    assert not any(part in stored for token in (first, second) for part in token.split("."))


@pytest.mark.requirement("J-05")
def test_the_step_itself_knows_the_grace(redis_server: RedisServer) -> None:
    """One step decides: the predecessor in its grace, the valid token; all else ends the family."""
    with redis_server.client() as client:
        families = RefreshFamilies(IssuerRedis(client, "issuer"))
        family = Family("c", "openid", "alice", "s", 0, ends=1e9)

        def begun() -> tuple[RefreshToken, RefreshToken]:
            first = RefreshToken(secrets.token_urlsafe(9), "").successor()
            families.start(first, family, 0)
            outcome = families.rotate(first, 100, grace=10)
            assert isinstance(outcome, Rotated)
            return first, outcome.successor

        first, second = begun()
        assert Rotated(second) == families.rotate(first, 109.9, grace=10)
        assert Reused() == families.rotate(first, 110, grace=10)
        assert Gone() == families.rotate(second, 110, grace=10)
        first, second = begun()
        third = families.rotate(second, 101, grace=10)
        assert isinstance(third, Rotated)
        assert Reused() == families.rotate(first, 101, grace=10)
        first, second = begun()
        assert isinstance(families.rotate(second, 101, grace=0), Rotated)
        assert Reused() == families.rotate(second, 101, grace=0)


def test_a_grace_gives_no_more_scope(graceful: Person) -> None:
    """A wish for more scope within the grace is refused, and spends nothing."""
    first = graceful.tokens(scope="openid offline_access")["refresh_token"]
    second = graceful.refresh(first).json()["refresh_token"]
    assert "invalid_scope" == graceful.refresh(first, scope="openid email").json()["error"]
    assert 200 == graceful.refresh(second).status_code


# --- what is stored


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
