"""Signing in at the issuer against guessing, crowds, suspension and changes that come in between."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from bff.issuer.accounts import sign_in as sign_in_service
from bff.issuer.accounts.accounts import Accounts
from bff.issuer.accounts.rate_limits import MAX_DEVICES, SignInLimiter
from bff.issuer.settings import MAX_ACCESS_TOKEN_LIFETIME, SignInLimits
from bff.issuer.store.redis import IssuerRedis
from bff.issuer.store.refresh_families import Family
from bff.issuer.store.store import Store
from tests.issuer.flow import REDIRECT_URI, Person, payload_of
from tests.support.processes.redis import RedisServer
from tests.support.providers.issuer import (
    ALICE,
    BOB,
    CHEAP,
    RunningIssuer,
    query_of,
    running_issuer,
    sign_in_at,
)

LIMITS = SignInLimits(window=900, per_address=10, per_account=6, per_pair=3, per_device=2)
OWNER, ATTACKER, OTHERS = "198.51.100.1", "203.0.113.7", [f"203.0.113.{number}" for number in range(20, 30)]
WRONG = ("alice@example.com", "guess")
NOW = 1_000_000.0


@pytest.fixture
def issuer(redis_server: RedisServer) -> Iterator[RunningIssuer]:
    proxies = ("127.0.0.1/32",)
    with running_issuer(
        redis_server.url, (REDIRECT_URI,), sign_in_limits=LIMITS, trusted_proxies=proxies
    ) as running:
        yield running


@pytest.fixture
def rates(redis_server: RedisServer) -> Iterator[SignInLimiter]:
    with redis_server.client() as client:
        yield SignInLimiter(client, "issuer", LIMITS)


def attempt(
    person: Person, who: tuple[str, str], address: str = ATTACKER, times: int = 1, **asked: str
) -> list[int]:
    """Signs in as often as is said, from an address; returns the statuses."""
    person.http.headers["X-Forwarded-For"] = address
    page = person.authorize(**({"prompt": "login"} | asked))
    return [sign_in_at(page, person.http, who).status_code for _ in range(times)]


@pytest.mark.requirement("J-11")
@pytest.mark.parametrize("email", ["alice@example.com", "nobody@example.com"])
def test_guessing_is_stopped_and_says_when_to_come_back(person: Person, email: str) -> None:
    """After a few guesses: 429 with Retry-After, to the right password too, and to unknown addresses."""
    assert [422, 422, 422, 429, 429] == attempt(person, (email, "guess"), times=5)
    answer = sign_in_at(person.authorize(), person.http, (email, ALICE[1]))
    assert 429 == answer.status_code
    assert 0 < int(answer.headers["retry-after"]) <= 300
    assert 'role="alert"' in answer.text
    assert "in 5 minutes" in answer.text


@pytest.mark.requirement("J-11")
def test_who_guesses_does_not_lock_the_owner_out(person: Person, issuer: RunningIssuer) -> None:
    """One address that has used up its guesses stops nobody at another address."""
    assert 429 == attempt(person, WRONG, times=20)[-1]
    with Person(issuer) as owner:
        assert [303] == attempt(owner, ALICE, OWNER)


@pytest.mark.requirement("J-11")
def test_a_crowd_of_guessers_does_not_lock_a_known_browser_out(person: Person, issuer: RunningIssuer) -> None:
    """With guesses from everywhere an unknown browser has to wait; one that was signed in before does not."""
    with Person(issuer) as owner, Person(issuer) as stranger:
        assert [303] == attempt(owner, ALICE, OWNER)
        for address in OTHERS:
            attempt(person, WRONG, address)
        assert [429] == attempt(stranger, ALICE, OWNER)
        assert [303, 303, 303] == attempt(owner, ALICE, OTHERS[0], times=3)
        assert [422, 422, 429] == attempt(owner, WRONG, OWNER, times=3)


def test_a_known_browser_is_known_to_its_account_alone(person: Person) -> None:
    """Having signed in as oneself buys no guesses at somebody else's account."""
    assert [303] == attempt(person, BOB)
    assert "issuer-device" in person.http.cookies
    assert [422, 422, 422, 429] == attempt(person, WRONG, times=4)


def test_ones_own_sign_ins_buy_no_guesses(person: Person) -> None:
    """A right password gives back its own try, and no other."""
    seen = []
    for _ in range(5):
        seen += attempt(person, WRONG)
        person.http.cookies.clear()
        assert [303] == attempt(person, BOB)
    assert [422, 422, 422, 429, 429] == seen


@pytest.mark.requirement("J-11")
def test_many_guesses_at_once_pass_no_more_than_one_after_the_other(person: Person) -> None:
    """Tries are counted before a password is looked at: of thirty at once, three are answered."""
    person.http.headers["X-Forwarded-For"] = ATTACKER
    page = person.authorize()
    with ThreadPoolExecutor(15) as pool:
        statuses = list(pool.map(lambda _: sign_in_at(page, person.http, WRONG).status_code, range(30)))
    assert (3, 27) == (statuses.count(422), statuses.count(429))


def test_one_address_guesses_at_few_accounts(person: Person) -> None:
    """Going through many accounts from one address is limited, too; an IPv6 client is a whole /64."""
    addresses = [f"2001:db8:0:1::{number:x}" for number in range(1, 13)]
    seen = [attempt(person, (f"{n}@example.com", "guess"), address) for n, address in enumerate(addresses)]
    assert [[422]] * 10 + [[429]] * 2 == seen
    assert [303] == attempt(person, ALICE, "2001:db8:0:2::1")


def test_an_address_is_not_believed_from_just_anybody(redis_server: RedisServer) -> None:
    """Without a trusted proxy, X-Forwarded-For is hearsay: it neither frees nor burdens anybody."""
    with (
        running_issuer(redis_server.url, (REDIRECT_URI,), sign_in_limits=LIMITS) as issuer,
        Person(issuer) as person,
    ):
        assert [422, 429] == [attempt(person, WRONG, address)[0] for address in OTHERS][2:4]


def test_what_is_counted_ends_by_itself_and_names_nobody(person: Person, redis_server: RedisServer) -> None:
    """Each key of a try has a TTL of the window at most; what was typed, a password even, stands nowhere."""
    attempt(person, ("pa$$word typed in the wrong field", "guess"))
    attempt(person, ALICE)
    with redis_server.client() as client:
        tries = client.keys("issuer:tries:*")
        assert 3 == len(tries)
        assert all(0 < client.ttl(key) <= LIMITS.window for key in tries)
        assert all(0 < client.ttl(key) for key in client.keys("issuer:devices:*"))
        assert not any("pa$$word" in key or "alice@example.com" in key for key in tries)


def test_waiting_helps_and_trying_meanwhile_does_not_hurt(rates: SignInLimiter) -> None:
    """Tries come back one by one; a refused one counts nowhere; after the window all are back."""
    plan = rates.plan("alice@example.com", ATTACKER, None)
    assert [0, 0, 0, 300] == [rates.take(plan, NOW) for _ in range(4)]
    assert [300 - second for second in range(0, 299, 10)] == [
        rates.take(plan, NOW + second) for second in range(0, 299, 10)
    ]
    assert [0, 300] == [rates.take(plan, NOW + 300) for _ in range(2)]
    assert [0, 0, 0, 300] == [rates.take(plan, NOW + 1500) for _ in range(4)]


def test_giving_back_leaves_nothing(rates: SignInLimiter, redis_server: RedisServer) -> None:
    """A try that was given back is as if it had never been, and the others stay."""
    plan = rates.plan("alice@example.com", ATTACKER, None)
    rates.take(plan, NOW)
    rates.give_back(plan, NOW)
    assert "0" == redis_server.cli("DBSIZE")
    for _ in range(3):
        rates.take(plan, NOW)
    rates.give_back(plan, NOW)
    assert [0, 300] == [rates.take(plan, NOW) for _ in range(2)]
    rates.give_back(plan, NOW + 5000)
    assert "0" == redis_server.cli("DBSIZE")


def test_few_browsers_are_remembered(rates: SignInLimiter) -> None:
    """The browser not used for longest is forgotten first; a new cookie takes the place of its former one."""
    rates.know("a@example.com", "first", None, NOW)
    rates.know("a@example.com", "second", "first", NOW + 1)
    for number in range(MAX_DEVICES):
        rates.know("a@example.com", f"later-{number}", None, NOW + 2 + number)
    known = [name for name in ("first", "second", "later-0") if _is_known(rates, "a@example.com", name)]
    assert ["later-0"] == known
    rates.forget("a@example.com")
    assert not _is_known(rates, "a@example.com", "later-0")


def test_a_former_cookie_has_no_limit_of_its_own(rates: SignInLimiter) -> None:
    """One browser has one limit: the cookie that was replaced counts as anybody's, at once."""
    rates.know("a@example.com", "first", None, NOW)
    assert _is_known(rates, "a@example.com", "first")
    rates.know("a@example.com", "second", "first", NOW + 1)
    assert [False, True] == [_is_known(rates, "a@example.com", name) for name in ("first", "second")]


def _is_known(rates: SignInLimiter, email: str, device: str) -> bool:
    return rates.plan(email, OWNER, device).buckets[0][0].startswith("device:")


@pytest.mark.requirement("J-11")
def test_suspension_is_told_to_the_owner_only(person: Person, redis_server: RedisServer) -> None:
    """With a wrong password a suspended account looks like any other; with the right one it is said."""
    with redis_server.client() as client:
        Accounts(client, "issuer", CHEAP).suspend("alice", NOW)
    wrong = sign_in_at(person.authorize(), person.http, WRONG)
    unknown = sign_in_at(person.authorize(), person.http, ("nobody@example.com", "guess"))
    assert (422, 422) == (wrong.status_code, unknown.status_code)
    assert unknown.text.replace("nobody@", "alice@") == wrong.text
    right = sign_in_at(person.authorize(), person.http, ALICE)
    assert 403 == right.status_code
    assert "suspended" in right.text
    assert "issuer-session" not in person.http.cookies


def test_few_hashes_at_once_and_a_bounded_line(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a crowd two are at work, three wait, and the rest is told to come again; nobody is forgotten."""
    monkeypatch.setattr(sign_in_service, "MAX_WAITING", 3)
    check: Any = Accounts.check
    at_work, most, go = [0], [0], threading.Event()

    def slow(self: Accounts, email: str, password: str) -> Any:
        at_work[0] += 1
        most[0] = max(most[0], at_work[0])
        assert go.wait(60)
        at_work[0] -= 1
        return check(self, email, password)

    monkeypatch.setattr(Accounts, "check", slow)
    with running_issuer(redis_server.url, (REDIRECT_URI,)) as issuer, ExitStack() as stack:
        people = [stack.enter_context(Person(issuer)) for _ in range(12)]
        with ThreadPoolExecutor(12) as pool:
            stack.callback(go.set)
            pages = [(one.authorize(), one.http) for one in people]
            tries = [pool.submit(sign_in_at, page, http) for page, http in pages]
            deadline = time.monotonic() + 60
            while sum(one.done() for one in tries) < 7 or most[0] < 2:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            go.set()
            answers = [one.result() for one in tries]
    statuses = sorted(answer.status_code for answer in answers)
    assert [303] * 5 + [503] * 7 == statuses
    assert 2 == most[0]
    assert {"5"} == {answer.headers["retry-after"] for answer in answers if answer.status_code == 503}


@pytest.mark.requirement("J-07")
@pytest.mark.parametrize("change", ["password", "suspension", "deletion"])
def test_a_sign_in_under_way_does_not_outlive_a_change(
    person: Person, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """What is changed between the look at the password and the new session wins: nobody is signed in."""
    check: Any = Accounts.check

    def then_change(self: Accounts, email: str, password: str) -> Any:
        account = check(self, email, password)
        match change:
            case "password":
                self.set_password("alice", "another password", NOW)
            case "suspension":
                self.suspend("alice", NOW)
            case "deletion":
                redis_server.cli("DEL", "issuer:user:alice")
        return account

    monkeypatch.setattr(Accounts, "check", then_change)
    assert 409 == sign_in_at(person.authorize(), person.http).status_code
    assert "issuer-session" not in person.http.cookies
    with redis_server.client() as client:
        assert [] == client.keys("issuer:session:*") + client.keys("issuer:sid:*")


@pytest.mark.requirement("J-07")
def test_signing_in_again_keeps_what_signing_out_ends(person: Person, issuer: RunningIssuer) -> None:
    """Who proves again who they are keeps the sid: a later sign-out ends what clients had from before."""
    before = person.tokens()
    again = person.tokens(prompt="login")
    first, second = payload_of(before["id_token"]), payload_of(again["id_token"])
    assert first["sid"] == second["sid"]
    person.http.get(f"{issuer.url}/end-session", params={"id_token_hint": again["id_token"]})
    for tokens in (before, again):
        assert "invalid_grant" == person.refresh(tokens["refresh_token"]).json()["error"]


@pytest.mark.requirement("J-07")
def test_somebody_else_in_the_same_browser_is_another_sign_in(person: Person) -> None:
    """Another person gets a sid of their own, and ends nothing of whoever was there before."""
    alice = person.tokens()
    bob = person.tokens(BOB, prompt="login")
    assert payload_of(alice["id_token"])["sid"] != payload_of(bob["id_token"])["sid"]
    assert 200 == person.refresh(alice["refresh_token"]).status_code


def test_a_sign_in_tells_where_it_came_from(person: Person, redis_server: RedisServer) -> None:
    """An operator sees the browser and its address beside each sign-in; a long name is cut."""
    person.http.headers["X-Forwarded-For"] = OWNER
    person.http.headers["User-Agent"] = "Browser/1.0 " + "x" * 1000
    person.tokens()
    with redis_server.client() as client:
        (standing,) = Store.on(IssuerRedis(client, "issuer")).sign_in_sessions.tell("alice", time.time())
    assert (OWNER, "Browser/1.0") == (standing.device.address, standing.device.user_agent[:11])
    assert 300 == len(standing.device.user_agent)


@pytest.mark.requirement("J-07")
def test_a_sign_in_is_known_as_long_as_its_last_token(redis_server: RedisServer) -> None:
    """A refresh in a family's last second gives an access token that outlives it, and can be ended still."""
    ends = NOW + 7 * 86400
    with redis_server.client() as client:
        sign_ins = Store.on(IssuerRedis(client, "issuer")).sign_in_sessions
        family = Family("spa-bff", "openid", "alice", "the-sid", int(NOW), ends)
        sign_ins.note_family("the-family", family, NOW)
        assert ["the-sid"] == sign_ins.of("alice", ends + MAX_ACCESS_TOKEN_LIFETIME)
        assert [] == sign_ins.of("alice", ends + 7200)


@pytest.mark.parametrize(
    "record",
    ["", "[]", "{}", '{"sub": "alice", "sid": "s", "auth_time": NaN}', "[" * 100_000],
    ids=lambda x: x[:12],
)
def test_a_record_that_cannot_be_read_is_no_sign_in(
    person: Person, redis_server: RedisServer, record: str
) -> None:
    """Another program's value in its place has the user sign in again; the account's list stands."""
    person.tokens()
    with redis_server.client() as client:
        sign_ins = Store.on(IssuerRedis(client, "issuer")).sign_in_sessions
        (standing,) = sign_ins.tell("alice", time.time())
        client.hset(f"issuer:sid:{standing.sid}", "auth_time", "9" * 5000)
        for key in client.scan_iter("issuer:session:*"):
            client.set(key, record)
        assert [0] == [one.auth_time for one in sign_ins.tell("alice", time.time())]
    assert 'id="password"' in person.authorize().text


def test_a_sign_in_of_a_later_version_is_read(person: Person, redis_server: RedisServer) -> None:
    """Processes of two versions serve at once while a deployment is brought up to date."""
    person.tokens()
    with redis_server.client() as client:
        (key,) = client.scan_iter("issuer:session:*")
        client.set(key, json.dumps({**json.loads(client.get(key) or ""), "more": 1}))
    assert "code" in query_of(person.authorize().headers["location"])


def test_a_browser_that_says_nothing_is_taken(issuer: RunningIssuer) -> None:
    """No user agent and no other header is needed to sign in."""
    with Person(issuer) as person, httpx.Client() as silent:
        del silent.headers["User-Agent"]
        page = silent.get(f"{issuer.url}/authorize", params=person.request())
        assert "code" in query_of(sign_in_at(page, silent).headers["location"])
