"""`bff issuer users`: in this process, and as people and scripts run it."""

import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from bff.issuer.accounts.accounts import Accounts
from bff.issuer.cli import users as users_cli
from bff.issuer.cli.main import app
from bff.issuer.settings import DEMO_USERS
from tests.issuer.flow import Person, payload_of
from tests.support.processes.forked import forked
from tests.support.processes.redis import RedisServer
from tests.support.processes.redis import redis_server as new_redis
from tests.support.providers.issuer import BOB, CHEAP, RunningIssuer, query_of, sign_in_at

COMMAND = ["bff", "issuer", "users"]
COST = {
    f"ISSUER_PASSWORD_COST__{name}": value
    for name, value in {"TIME": "1", "MEMORY_KIB": "8", "LANES": "1"}.items()
}
Run = Callable[..., Result]


def commands(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command; what it wrote to the audit log is in `events`."""
    monkeypatch.setenv("ISSUER_URL", "http://localhost:9000")
    monkeypatch.setenv("ISSUER_REDIS_URL", redis_url)
    monkeypatch.setattr(users_cli, "configure", lambda _: None)  # the tests have their own
    for name, value in COST.items():
        monkeypatch.setenv(name, value)

    def invoke(*arguments: str, password: str | bytes = "") -> Result:
        with capture_logs() as events:
            result = CliRunner().invoke(app, ["users", *arguments], input=password)
        result.events = events  # type: ignore[attr-defined] # for the tests that look
        return result

    return invoke


@pytest.fixture
def run(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Run:
    return commands(redis_server.url, monkeypatch)


@pytest.fixture(scope="module")
def unchanged() -> Iterator[RedisServer]:
    """Alice's and Bob's accounts, for tests that change nothing."""
    with new_redis() as server, server.client() as client:
        Accounts(client, "issuer", CHEAP).add_missing(DEMO_USERS)
        yield server


def told(result: Result) -> Any:
    assert 0 == result.exit_code, result.output
    return json.loads(result.stdout)


def test_an_account_that_was_added_can_sign_in(run: Run, person: Person) -> None:
    """Address, password from standard input, roles and tenant: the next sign-in works, without a restart."""
    arguments = (
        "add",
        "Carol@Example.com",
        "--name",
        "Carol",
        "--role",
        "admin",
        "--tenant",
        "acme",
        "--json",
    )
    made = told(run(*arguments, password="carols own words\nanother line\n"))
    assert ("carol@example.com", ["admin"], "acme", None, []) == tuple(
        made[name] for name in ("email", "roles", "tenant", "suspended", "sign_ins")
    )
    tokens = person.tokens(("carol@example.com", "carols own words"))
    assert made["sub"] == payload_of(tokens["access_token"])["sub"]


def test_a_list_shows_who_is_signed_in_where(run: Run, person: Person) -> None:
    """All accounts by address; for one, each sign-in with browser, address, client and sid."""
    person.http.headers.update([(b"User-Agent", b"Phone\x9b31m/1.0")])  # CSI in one byte
    sid = payload_of(person.tokens()["access_token"])["sid"]
    assert ["alice@example.com", "bob@example.com"] == [one["email"] for one in told(run("list", "--json"))]
    alice = told(run("list", "ALICE@example.com", "--json"))
    (sign_in,) = alice["sign_ins"]
    assert (sid, "127.0.0.1", ["spa-bff"]) == (sign_in["sid"], sign_in["address"], sign_in["clients"])
    for shown in (run("list").stdout, run("list", "alice").stdout):
        assert "alice@example.com" in shown
        assert "\x9b" not in shown
    assert sid in run("list", "alice").stdout
    assert "Phone\\x9b" in run("list", "alice").stdout


@pytest.mark.requirement("J-07")
def test_suspending_ends_all_of_one_and_nothing_of_others(
    run: Run, person: Person, issuer: RunningIssuer
) -> None:
    """Cookie, refresh tokens and the next sign-in are refused; others go on; resuming lets in again."""
    with Person(issuer) as other:
        alice, bob = person.tokens(), other.tokens(BOB)
        result = run("suspend", "alice@example.com", "--json")
        assert [["spa-bff"]] == [one["clients"] for one in told(result)["ended"]]
        assert "invalid_grant" == person.refresh(alice["refresh_token"]).json()["error"]
        assert "login_required" == query_of(person.authorize(prompt="none").headers["location"])["error"]
        assert 403 == sign_in_at(person.authorize(), person.http).status_code
        assert 200 == other.refresh(bob["refresh_token"]).status_code
        assert 303 == other.authorize(prompt="none").status_code
        assert "suspended" in run("list", "alice").stdout
        assert "alice@example.com can sign in again." == run("resume", "alice").stdout.strip()
        assert "login_required" == query_of(person.authorize(prompt="none").headers["location"])["error"]
        assert 303 == sign_in_at(person.authorize(), person.http).status_code
        names = [event["event"] for event in result.events]  # type: ignore[attr-defined] # see `run`
        assert ["account_suspended", "sign_in_ended"] == names


@pytest.mark.requirement("J-07")
def test_a_new_password_ends_what_the_old_one_began(run: Run, person: Person) -> None:
    """The old password and all that was signed in by it are dead; the new one works."""
    tokens = person.tokens()
    result = run("password", "alice", password="through the looking glass\n")
    assert "alice@example.com has a new password; one sign-in was ended." == result.stdout.strip()
    assert "invalid_grant" == person.refresh(tokens["refresh_token"]).json()["error"]
    assert 422 == sign_in_at(person.authorize(), person.http).status_code
    person.tokens(("alice@example.com", "through the looking glass"))


@pytest.mark.requirement("J-07")
def test_a_lost_device_is_signed_out_alone(run: Run, person: Person, issuer: RunningIssuer) -> None:
    """By its sid one sign-in ends, and the others of the same person go on; without a sid all end."""
    with Person(issuer) as phone:
        at_home, lost = person.tokens(), phone.tokens()
        sid = payload_of(lost["access_token"])["sid"]
        assert "signed out there" in run("logout", "alice", "--sid", sid).stdout
        assert "invalid_grant" == phone.refresh(lost["refresh_token"]).json()["error"]
        assert "login_required" == query_of(phone.authorize(prompt="none").headers["location"])["error"]
        at_home = person.refresh(at_home["refresh_token"]).json()
        assert "one sign-in was ended" in run("logout", "alice").stdout
        assert "invalid_grant" == person.refresh(at_home["refresh_token"]).json()["error"]
        assert "nothing was signed in" in run("logout", "alice").stdout


def test_a_sid_ends_only_by_its_owner_s_name(run: Run, person: Person) -> None:
    """A mistyped name beside somebody else's sid ends nothing."""
    tokens = person.tokens()
    result = run("logout", "bob", "--sid", payload_of(tokens["access_token"])["sid"])
    assert (1, True) == (result.exit_code, "has no sign-in" in result.stderr)
    assert 200 == person.refresh(tokens["refresh_token"]).status_code


def contents(server: RedisServer) -> dict[str, bytes | None]:
    """All that a Redis holds."""
    with server.client() as client, server.client(decode_responses=False) as raw:
        return {key: raw.dump(key) for key in client.keys("*")}


@pytest.mark.parametrize(
    ("arguments", "password", "code", "said"),
    [
        (("add", "alice@example.com", "--name", "A"), "long enough", 1, "already"),
        (("add", "carol@example.com", "--name", "C"), "short", 1, "at least 8"),
        (("add", "carol@example.com", "--name", "C"), "", 1, "at least 8"),
        (("add", "carol@example.com", "--name", "C"), b"long enough \xff", 1, "UTF-8"),
        (("add", "carol", "--name", "C"), "long enough", 1, "email"),
        (("add", "carol@example.com", "--name", "C", "--role", "a b"), "long enough", 1, "roles"),
        (("add", "carol@example.com", "--name", "C", "--sub", "alice"), "long enough", 1, "sub alice"),
        (("add", "carol@example.com"), "long enough", 2, "--name"),
        (("add", "carol@example.com", "--name", "C", "--password", "x"), "", 2, "--password"),
        (("suspend", "nobody@example.com"), "", 1, "no account nobody@example.com"),
        (("list", "nobody"), "", 1, "no account nobody"),
        (("password", "alice"), "alice@example.com", 1, "must not be"),
    ],
)
def test_mistakes_are_said_in_a_sentence(  # noqa: PLR0917 - pytest passes them by name
    unchanged: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    password: str | bytes,
    code: int,
    said: str,
) -> None:
    """What is wrong is on standard error, with 1 (or 2 for arguments), and changes nothing."""
    before = contents(unchanged)
    result = commands(unchanged.url, monkeypatch)(*arguments, password=password)
    assert code == result.exit_code
    assert said in result.stderr
    assert "" == result.stdout
    assert "Traceback" not in result.stderr
    assert before == contents(unchanged)


def test_the_settings_can_be_named_before_the_command(
    unchanged: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`bff issuer -c FILE users list` is `bff issuer users list -c FILE`; of two the later one wins."""
    monkeypatch.setattr(users_cli, "configure", lambda _: None)
    good, other = tmp_path / "good.toml", tmp_path / "other.toml"
    for file, prefix in ((good, "issuer"), (other, "other")):
        cost = "[password_cost]\ntime = 1\nmemory_kib = 8\nlanes = 1\n"
        settings = f'url = "http://localhost:9000"\nredis_url = "{unchanged.url}"\nprefix = "{prefix}"\n'
        file.write_text(settings + cost)
    for arguments in (
        ("-c", good, "users", "list", "--json"),
        ("users", "list", "--json", "-c", good),
        ("-c", other, "users", "list", "--json", "-c", good),
    ):
        assert 2 == len(told(CliRunner().invoke(app, [str(argument) for argument in arguments])))


def test_redis_that_is_down_is_said_without_its_password(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback, and nothing of the URL."""
    monkeypatch.setenv("ISSUER_REDIS_URL", "redis://:hidden@127.0.0.1:1/0")
    result = run("list")
    assert (1, "") == (result.exit_code, result.stdout)
    assert result.stderr.startswith("Redis cannot be used")
    assert "hidden" not in result.stderr


def test_nobody_yet_is_said(run: Run) -> None:
    """An empty list says what to do next, and is still a list for programs."""
    assert "users add" in run("list").stderr
    assert [] == told(run("list", "--json"))


def test_a_script_pipes_the_password_in(redis_server: RedisServer) -> None:
    """As a process: result on standard output, audit lines on standard error, the password on neither."""
    environment = {**os.environ, **COST, "ISSUER_URL": "http://localhost:9000"}
    environment["ISSUER_REDIS_URL"] = redis_server.url
    done = forked(
        [*COMMAND, "add", "carol@example.com", "--name", "Carol"], "carols own words\n", env=environment
    )
    assert 0 == done.returncode
    assert done.stdout.startswith("carol@example.com can sign in. Their sub is ")
    assert "account_added" == json.loads(done.stderr)["event"]
    assert "carols own words" not in done.stdout + done.stderr


def test_at_a_terminal_the_password_is_asked_for_twice(redis_server: RedisServer) -> None:
    """Two entries that differ are asked for again; nothing that is typed is shown."""
    environment = {**os.environ, **COST, "ISSUER_URL": "http://localhost:9000"}
    environment["ISSUER_REDIS_URL"] = redis_server.url
    ours, its = pty.openpty()
    command = [sys.executable, "-m", *COMMAND, "add", "carol@example.com", "--name", "Carol"]
    with subprocess.Popen(
        command, env=environment, stdin=its, stdout=its, stderr=its, start_new_session=True, text=True
    ) as process:
        os.close(its)
        shown = ""
        for again in ("carols own wrods", "carols own words"):
            for prompt, answer in (("characters): ", "carols own words"), ("The same again: ", again)):
                shown += _read_until(ours, prompt)
                os.write(ours, f"{answer}\n".encode())
        shown += _read_until(ours, "Their sub is ")
        assert 0 == process.wait(60)
    os.close(ours)
    assert 2 == shown.count("The same again")
    assert "carols own" not in shown


def _read_until(terminal: int, text: str) -> str:
    """Reads what the terminal shows, up to a text."""
    shown, deadline = "", time.monotonic() + 60
    while text not in shown:
        ready, _, _ = select.select([terminal], [], [], deadline - time.monotonic())
        assert ready, shown
        shown += os.read(terminal, 1024).decode()
    return shown
