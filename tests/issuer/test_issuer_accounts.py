"""The issuer's accounts on a real Redis: addresses, uniqueness, passwords and their cost."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import argon2
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from bff.issuer.accounts.accounts import AccountError, Accounts, normal_address
from bff.issuer.accounts.passwords import MAX_BYTES, PasswordRefusedError, Passwords, check_new
from bff.issuer.cli.users_view import overview
from bff.issuer.settings import DEMO_USERS, PasswordCost, UserSettings
from bff.issuer.store.redis import connect
from tests.support.processes.redis import RedisServer
from tests.support.providers.issuer import CHEAP

NOW = 1_000_000.0


@pytest.fixture
def accounts(redis_server: RedisServer) -> Iterator[Accounts]:
    with redis_server.client() as client:
        yield Accounts(client, "issuer", CHEAP)


def user(email: str, password: str = "correct horse", **more: Any) -> UserSettings:
    return UserSettings(email=email, password=SecretStr(password), name="Somebody", **more)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" Alice@Example.COM ", "alice@example.com"),
        ("ÄRGER@bücher.example", "ärger@bücher.example"),
        ("a\u0308rger@b.example", "ärger@b.example"),
        ("\uff41@b.example", "a@b.example"),
        ("x" * 64 + "@b", "x" * 64 + "@b"),
        ("x" * 65 + "@b", None),
        ("a@" + "b" * 253, None),
        ("alice", None),
        ("", None),
        ("@b", None),
        ("a@", None),
        ("a@b@c", None),
        ("a b@c", None),
        ("a\u00a0b@c", None),
        ("a\x00@b", None),
        ("a\n@b", None),
        ("a\u202e@b", None),
    ],
)
def test_an_address_has_one_spelling(text: str, expected: str | None) -> None:
    """Case, width and composition make no second address; what cannot be an address is none."""
    assert expected == normal_address(text)


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("", "at least 8"),
        ("seven77", "at least 8"),
        ("\ud800" * 9, "be a text"),
        ("x" * (MAX_BYTES + 1), "at most"),
        ("ü" * (MAX_BYTES // 2 + 1), "at most"),
        ("\ufdfa" * 50, "at most"),  # NFKC makes 18 characters of each
        ("aaaaaaaaaaaa", "more than one"),
        ("Alice@example.com", "must not be"),
    ],
)
def test_passwords_that_nobody_should_have(password: str, why: str) -> None:
    """Too short, too long (in the form that is hashed), one character repeated, the address: all refused."""
    with pytest.raises(PasswordRefusedError, match=why) as caught:
        check_new(password, "alice@example.com", "Alice")
    assert not password or password not in str(caught.value)


@pytest.mark.parametrize("password", ["eight888", "x y" * 300, "пароль-и-ключ", "🦊🐙🦊🐙🦊🐙🦊🐙"])
def test_passwords_that_are_fine(password: str) -> None:
    """Length counts in characters; no kind of character is asked for, and none is forbidden."""
    check_new(password, "alice@example.com")
    passwords = Passwords(CHEAP)
    assert passwords.verify(passwords.hash(password), password)


def test_a_password_works_from_every_keyboard() -> None:
    """Two spellings of the same characters are the same password (NFKC)."""
    passwords = Passwords(CHEAP)
    assert passwords.verify(passwords.hash("caf\u00e9 au lait"), "cafe\u0301 au lait")


@pytest.mark.requirement("J-11")
def test_the_default_cost_is_above_what_owasp_asks_for(redis_server: RedisServer) -> None:
    """Without a setting: argon2id with at least 19 MiB and two passes, and a salt for each."""
    with redis_server.client() as client:
        accounts = Accounts(client, "issuer", PasswordCost())
        for name in ("a", "b"):
            accounts.add(user(f"{name}@example.com"), NOW)
        hashes = [client.hget(key, "password") or "" for key in client.keys("issuer:user:*")]
    parameters = [argon2.extract_parameters(text) for text in hashes]
    assert all(argon2.Type.ID == found.type for found in parameters)
    assert all(19 * 1024 <= found.memory_cost and 2 <= found.time_cost for found in parameters)
    assert 2 == len(set(hashes))


@pytest.mark.requirement("J-11")
def test_a_sign_in_renews_an_outdated_hash(redis_server: RedisServer) -> None:
    """Once the parameters have changed, the next right password is stored anew; it still works."""
    with redis_server.client() as client:
        Accounts(client, "issuer", CHEAP).add(user("a@example.com", sub="a"), NOW)
        before = client.hget("issuer:user:a", "password")
        dearer = Accounts(client, "issuer", CHEAP.model_copy(update={"memory_kib": 16}))
        assert dearer.check("a@example.com", "wrong horse") is None
        assert before == client.hget("issuer:user:a", "password")
        assert dearer.check("a@example.com", "correct horse") is not None
        assert "m=16," in (client.hget("issuer:user:a", "password") or "")
        assert dearer.check("a@example.com", "correct horse") is not None


def test_renewing_never_undoes_a_change_of_password(redis_server: RedisServer) -> None:
    """A password that is changed while the former one is being renewed stays changed."""
    with redis_server.client() as client:
        old = Accounts(client, "issuer", CHEAP)
        old.add(user("a@example.com", sub="a"), NOW)
        dearer = Accounts(client, "issuer", CHEAP.model_copy(update={"memory_kib": 16}))
        renew = dearer._passwords.hash

        def change_meanwhile(password: str) -> str:
            old.set_password("a", "another horse", NOW)
            return renew(password)

        dearer._passwords.hash = change_meanwhile  # type: ignore[method-assign] # the race, played
        dearer.check("a@example.com", "correct horse")
        assert old.check("a@example.com", "correct horse") is None
        assert old.check("a@example.com", "another horse") is not None


def test_an_address_belongs_to_one_account(accounts: Accounts) -> None:
    """However it is spelt, and whoever comes at the same moment: one account, and no trace of others."""

    def add(number: int) -> str:
        try:
            return accounts.add(user("Alice@Example.com" if number % 2 else "alice@example.com"), NOW).sub
        except AccountError as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        outcomes = set(pool.map(add, range(24)))
    (account,) = accounts.every()
    assert {account.sub, "There is an account with the address alice@example.com already."} == outcomes


def test_a_sub_belongs_to_one_account(accounts: Accounts) -> None:
    """A second account with the same sub is refused, and its address stays free."""
    accounts.add(user("a@example.com", sub="a"), NOW)
    with pytest.raises(AccountError, match="sub"):
        accounts.add(user("b@example.com", sub="a"), NOW)
    assert accounts.named("b@example.com") is None
    accounts.add(user("b@example.com"), NOW)


def test_an_address_whose_account_was_deleted_is_free(accounts: Accounts, redis_server: RedisServer) -> None:
    """An operator's `DEL` of an account gives its address back."""
    accounts.add(user("a@example.com", sub="a"), NOW)
    redis_server.cli("DEL", "issuer:user:a")
    assert accounts.check("a@example.com", "correct horse") is None
    accounts.add(user("a@example.com", sub="b"), NOW)
    assert "b" == getattr(accounts.check("a@example.com", "correct horse"), "sub", None)


def test_an_account_says_who_somebody_is(accounts: Accounts) -> None:
    """Roles, tenant and name come back as they were given, and nothing expires."""
    made = accounts.add(user("a@example.com", roles=("admin", "sales:eu"), tenant="acme"), NOW)
    assert made == accounts.find(made.sub) == accounts.named("A@example.com") == accounts.named(made.sub)
    assert (("admin", "sales:eu"), "acme", int(NOW)) == (made.roles, made.tenant, made.created)
    with pytest.raises(AccountError, match="no email"):
        accounts.add(user("a\u202e@example.com"), NOW)


def test_accounts_have_no_end(accounts: Accounts, redis_server: RedisServer) -> None:
    """No key of an account has a TTL."""
    accounts.add_missing(DEMO_USERS)
    with redis_server.client() as client:
        assert {-1} == {client.ttl(key) for key in client.keys("*")}
        assert 4 == client.dbsize()


def test_accounts_of_the_settings_are_made_once(accounts: Accounts) -> None:
    """Several processes that start together make each account once, and leave changed ones alone."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: accounts.add_missing(DEMO_USERS), range(8)))
    assert {"alice", "bob"} == {account.sub for account in accounts.every()}
    accounts.set_password("alice", "through the mirror", NOW)
    accounts.add_missing(DEMO_USERS)
    assert accounts.check("alice@example.com", "wonderland") is None


def test_no_change_makes_an_account(accounts: Accounts, redis_server: RedisServer) -> None:
    """What is changed after it was deleted stays deleted."""
    for change in (accounts.resume, accounts.raise_generation, lambda sub: accounts.suspend(sub, NOW)):
        with pytest.raises(AccountError, match="gone"):
            change("nobody")
    assert "0" == redis_server.cli("DBSIZE")


def test_a_suspended_account_is_not_found_but_read(accounts: Accounts) -> None:
    """Nobody gets it to use it; its password is still checked; resuming brings it back."""
    sub = accounts.add(user("a@example.com"), NOW).sub
    accounts.suspend(sub, NOW)
    assert accounts.find(sub) is None
    checked = accounts.check("a@example.com", "correct horse")
    assert checked is not None
    assert int(NOW) == checked.suspended
    accounts.resume(sub)
    assert accounts.find(sub) is not None


@pytest.mark.parametrize("text", ["9" * 5000, "9" * 12, "-1", "soon", "\u0663"], ids=lambda text: text[:12])
@pytest.mark.parametrize("field", ["created", "suspended", "generation"])
def test_a_number_that_cannot_be_read_suspends(
    accounts: Accounts, redis_server: RedisServer, field: str, text: str
) -> None:
    """An account that another program wrote badly ends no list of accounts, and nobody signs in to it."""
    good, bad = (accounts.add(user(email), NOW) for email in ("a@example.com", "b@example.com"))
    with redis_server.client() as client:
        client.hset(f"issuer:user:{bad.sub}", field, text)
    assert {good.sub: None} == {one.sub: one.suspended for one in accounts.every() if not one.suspended}
    assert None is accounts.find(bad.sub)
    assert [(field,)] == [one.unusable for one in accounts.every() if one.unusable]
    overview([(one, []) for one in accounts.every()])  # a calendar has each of the times


@pytest.mark.parametrize("field", ["email", "name"])
def test_an_account_that_lacks_a_field_is_suspended(
    accounts: Accounts, redis_server: RedisServer, field: str
) -> None:
    """It ends no list and no call; whoever has its password is told what a suspended user is told."""
    bad = accounts.add(user("b@example.com"), NOW)
    with redis_server.client() as client:
        client.hdel(f"issuer:user:{bad.sub}", field)
    with capture_logs() as events:
        assert None is accounts.find(bad.sub)
    assert [("account_unusable", bad.sub, (field,))] == [
        (one["event"], one["sub"], one["fields"]) for one in events
    ]
    checked = accounts.check("b@example.com", "correct horse")
    assert checked is not None
    assert checked.suspended is not None
    ((*_, state, _, sub),) = overview([(one, []) for one in accounts.every()])[1]
    assert (f"unusable: {field}", bad.sub) == (state, sub)


def test_bytes_that_are_no_text_end_no_list(redis_server: RedisServer) -> None:
    """A name in another coding, written by another program, is shown as far as it can be read."""
    with connect(redis_server.url) as client:
        accounts = Accounts(client, "issuer", CHEAP)
        sub = accounts.add(user("a@example.com"), NOW).sub
        client.hset(f"issuer:user:{sub}", "name", "Zoë".encode("latin-1"))
        assert ["Zo\ufffd"] == [one.name for one in accounts.every()]


def test_each_change_raises_the_generation(accounts: Accounts) -> None:
    """A sign-in that was under way can see that its account was changed meanwhile."""
    sub = accounts.add(user("a@example.com"), NOW).sub
    seen = [accounts.read(sub)]
    changes: list[Callable[[], None]] = [
        lambda: accounts.set_password(sub, "another horse", NOW),
        lambda: accounts.suspend(sub, NOW),
        lambda: accounts.resume(sub),
        lambda: accounts.raise_generation(sub),
    ]
    for change in changes:
        change()
        seen.append(accounts.read(sub))
    assert [0, 1, 2, 3, 4] == [account.generation for account in seen if account is not None]


@pytest.mark.requirement("J-11")
@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("alice@example.com", "wonderland"),
        ("alice@example.com", "wrong"),
        ("nobody@example.com", "wrong"),
        ("bob@example.com", "builder"),  # suspended
        ("no address", "wrong"),
        ("x" * 5000 + "@example.com", "wrong"),
        ("alice@example.com", ""),
        ("alice@example.com", "x" * 5000),
        ("\ud800@example.com", "\ud800"),
    ],
)
def test_every_attempt_costs_one_hash_and_the_same_trips(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch, email: str, password: str
) -> None:
    """Known, unknown, suspended, absurd: one password is hashed, at one cost, after as many trips."""
    accounts.add_missing(DEMO_USERS)
    accounts.suspend("bob", NOW)
    hashed: list[str] = []
    commands: list[str] = []
    verify: Any = argon2.PasswordHasher.verify
    execute: Any = type(accounts._redis).execute_command

    def spy(self: argon2.PasswordHasher, known: str, guess: str) -> bool:
        hashed.append(known.rpartition("$")[0].rpartition("$")[0])  # the algorithm and its cost
        return bool(verify(self, known, guess))

    def watch(self: Any, *arguments: Any, **options: Any) -> Any:
        commands.append(arguments[0])
        return execute(self, *arguments, **options)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", spy)
    monkeypatch.setattr(type(accounts._redis), "execute_command", watch)
    accounts.check(email, password)
    assert ["$argon2id$v=19$m=8,t=1,p=1"] == hashed
    assert ["GET", "HGETALL"] == commands
