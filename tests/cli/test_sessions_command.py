"""`bff sessions list`, `show` and `stats`, run as an operator runs them, on a real redis-server."""

import json
import re
from typing import Any
from unittest import mock

import pytest
from typer.testing import CliRunner

from bff.cli.sessions import access
from bff.cli.sessions.app import app
from tests.cli.signed_in import SECRETS, SignIn, environ, sessions, sign_in
from tests.docs.pages import page
from tests.support.processes.redis import RedisServer

DAY = 86400.0
PEOPLE = (
    SignIn("alice", "alice@example.com", ago=3 * DAY),
    SignIn("alice", "alice@example.com", ago=60),
    SignIn("bob", "bob@example.com", ago=2 * DAY),
    SignIn("carol", provider="partners"),
)


def listed(server: RedisServer, *arguments: str) -> list[dict[str, Any]]:
    done = sessions(server, "list", "--json", *arguments)
    assert 0 == done.returncode, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def ids(server: RedisServer, *arguments: str) -> set[str]:
    return {session["id"] for session in listed(server, *arguments)}


@pytest.mark.requirement("S-05", "B-24")
def test_a_list_names_sessions_and_shows_no_secret(redis_server: RedisServer) -> None:
    """A line each for a person: name, age, user, claim, address, browser; no token, on no way."""
    made = sign_in(redis_server, PEOPLE)
    done = sessions(redis_server, "list")
    assert (0, "") == (done.returncode, done.stderr)
    lines = {line.split()[0]: line for line in done.stdout.splitlines()[1:]}
    assert {session.id for session in made} == set(lines)
    for words in ("3d0h", "main", "alice", "alice@example.com", "192.0.2.7", "Firefox 140, Linux"):
        assert words in lines[made[0].id]
    shown = sessions(redis_server, "show", made[0].id)
    everything = done.stdout + shown.stdout + sessions(redis_server, "list", "--json", "--all").stdout
    record = redis_server.cli("HGET", f"bff:session:{made[0].key}", "tokens")
    assert record
    assert [] == [secret for secret in (*SECRETS, record) if secret in everything]
    assert "\x1b" not in everything


@pytest.mark.requirement("S-05")
def test_a_list_is_narrowed(redis_server: RedisServer) -> None:
    """By user, claim in any case, name, provider, age and idle time, and by several of them at once."""
    old, new, bob, carol = (session.id for session in sign_in(redis_server, PEOPLE))
    assert {old, new} == ids(redis_server, "--user", "alice")
    assert {old, new} == ids(redis_server, "--claim", "email=Alice@Example.com")
    assert {bob} == ids(redis_server, "--claim", "name=Bob")
    assert {carol} == ids(redis_server, "--provider", "partners")
    assert {old, bob} == ids(redis_server, "--before", "1d")
    assert {new, carol} == ids(redis_server, "--after", "1d")
    assert {old} == ids(redis_server, "--user", "alice", "--idle", "2h")
    assert {new, bob} == ids(redis_server, "--provider", "main", "--after", "60h")
    none = sessions(redis_server, "list", "--user", "nobody")
    assert (0, "", "No session fits.\n") == (none.returncode, none.stdout, none.stderr)


def test_an_address_in_place_of_a_sub_gets_advice(redis_server: RedisServer) -> None:
    """Nobody takes "0 sessions ended" for done: both commands name the option that an address is for."""
    sign_in(redis_server, PEOPLE)
    for command in ("list", "end"):
        done = sessions(redis_server, command, "--user", "alice@example.com")
        assert done.stderr.endswith("--user takes a `sub`; by address: --claim email=alice@example.com\n")
    assert 4 == len(ids(redis_server))


def test_columns_stand_below_their_heads_with_uuids(redis_server: RedisServer) -> None:
    """A `sub` of 36 characters, as many providers have, shifts nothing."""
    sign_in(redis_server, [SignIn("0cd6f637-684b-4e0a-9d5c-2f6d3b1a7c44", "alice@example.com")])
    head, line = sessions(redis_server, "list").stdout.splitlines()
    assert head.index("who") == line.index("alice@example.com")


@pytest.mark.requirement("S-05")
def test_pages_tell_of_each_session_once(redis_server: RedisServer) -> None:
    """Page by page all are shown, none twice, and the last page says so by naming no other."""
    made = sign_in(redis_server, [SignIn(f"user-{number}") for number in range(250)])
    seen: list[str] = []
    page: list[str] = []
    for _ in range(10):
        done = sessions(redis_server, "list", "--json", "--limit", "70", *page)
        seen += [json.loads(line)["key"] for line in done.stdout.splitlines()]
        if (more := re.search(r"--page (\S+)", done.stderr)) is None:
            break
        page = ["--page", more[1]]
    assert sorted(session.key for session in made) == sorted(seen)
    assert 250 == len(listed(redis_server, "--all"))
    assert 2 == sessions(redis_server, "list", "--page", "one").returncode


def test_a_users_index_is_cleaned(redis_server: RedisServer) -> None:
    """Entries whose session is gone are dropped, and that is said."""
    made = sign_in(redis_server, [SignIn("alice") for _ in range(7)])
    for session in made[:6]:
        redis_server.cli("DEL", f"bff:session:{session.key}")
    done = sessions(redis_server, "list", "--user", "alice")
    assert "Dropped 6 entries" in done.stderr
    assert made[6].key == redis_server.cli("ZRANGE", "bff:user:main:alice", "0", "-1")


def test_show_tells_all_of_one(redis_server: RedisServer) -> None:
    """By the name of a log line, a beginning of it, or the key in Redis; for people and for programs."""
    session = sign_in(redis_server, PEOPLE[:1])[0]
    for name in (session.id, session.id[:4], session.key, f"bff:session:{session.key}"):
        done = sessions(redis_server, "show", name)
        assert (0, "") == (done.returncode, done.stderr)
        for words in (session.key, "alice@example.com", "3d0h ago", "in 5d23h", "192.0.2.7"):
            assert words in done.stdout
    facts = json.loads(sessions(redis_server, "show", session.id, "--json").stdout)
    assert (session.key, "alice", {"email": "alice@example.com"}) == (
        facts["key"],
        facts["user"],
        facts["claims"],
    )


@pytest.mark.requirement("P-12")
def test_a_session_that_is_bound_to_its_device_is_told_apart(redis_server: RedisServer) -> None:
    """By `show`, for people and for programs, and by the list for programs."""
    bound, other = sign_in(redis_server, PEOPLE[:2])
    redis_server.cli("HSET", f"bff:session:{bound.key}", "device", "a sealed key")
    told = {each["id"]: each["bound"] for each in listed(redis_server)}
    assert {bound.id: True, other.id: False} == told
    for session in (bound, other):
        shown = sessions(redis_server, "show", session.id).stdout
        assert (session is bound) == (
            re.search(r"^bound to the device +yes$", shown, re.MULTILINE) is not None
        )
        facts = json.loads(sessions(redis_server, "show", session.id, "--json").stdout)
        assert (session is bound) == facts["bound"]


def test_a_session_that_is_not_there(redis_server: RedisServer) -> None:
    """It is said in one line, with the reason of its end where that is known; a name must be one."""
    made = sign_in(redis_server, PEOPLE[:2])
    missing = sessions(redis_server, "show", "0000abcd")
    assert (1, "", 1) == (missing.returncode, missing.stdout, missing.stderr.count("\n"))
    assert "no such session" in missing.stderr
    assert 0 == sessions(redis_server, "end", made[0].id).returncode
    assert "it has ended: operator" in sessions(redis_server, "show", made[0].id).stderr
    assert 2 == sessions(redis_server, "show", "xyz").returncode


@pytest.mark.requirement("S-05")
def test_stats_count(redis_server: RedisServer) -> None:
    """How many, of which provider, how old, how idle, how large."""
    sign_in(redis_server, PEOPLE)
    facts = json.loads(sessions(redis_server, "stats", "--json").stdout)
    assert (4, {"main": 3, "partners": 1}) == (facts["sessions"], facts["providers"])
    assert {"under 5m": 2, "under 7d0h": 2} == {name: count for name, count in facts["age"].items() if count}
    assert facts["redis_bytes"] > facts["sessions_bytes"] > 4 * 500
    shown = sessions(redis_server, "stats").stdout
    assert "4 sessions" in shown
    assert "partners" in shown


@pytest.mark.requirement("P-01")
def test_a_user_is_looked_for_at_each_provider(redis_server: RedisServer) -> None:
    """With several providers, the sessions at all of them; with one named, those there."""
    sign_in(redis_server, [*PEOPLE, SignIn("alice", provider="partners")])
    client = {"client_id": "spa", "client_secret": "s3cret"}
    both = [{"name": name, "issuer": f"https://{name}.example", **client} for name in ("main", "partners")]
    variables = environ(redis_server, BFF_PROVIDER=json.dumps(both))
    kept = {name: value for name, value in variables.items() if "PROVIDER__" not in name}
    for options, count in (((), 3), (("--provider", "partners"), 1)):
        with mock.patch.object(access, "give_way"):
            done = CliRunner().invoke(app, ["list", "--json", "--user", "alice", *options], env=kept)
        assert (0, count) == (done.exit_code, len(done.stdout.splitlines())), done.output


@pytest.mark.requirement("P-01")
def test_a_frontends_sessions_are_told_apart(redis_server: RedisServer) -> None:
    """Selected by its name, and named in lists and counts; `default` is the one without a name."""
    people = [SignIn("alice"), SignIn("alice", frontend="shop"), SignIn("bob", frontend="shop")]
    main, shop, bob = (session.id for session in sign_in(redis_server, people))
    assert {main} == ids(redis_server, "--frontend", "default")
    assert {shop, bob} == ids(redis_server, "--frontend", "shop")
    assert {shop} == ids(redis_server, "--user", "alice", "--frontend", "shop")
    assert set() == ids(redis_server, "--frontend", "desk")
    assert {None, "shop"} == {session["frontend"] for session in listed(redis_server)}
    assert " frontend " not in sessions(redis_server, "list").stdout
    frontend = json.dumps([{"name": "shop", "public_url": "http://shop.localhost:8080"}])
    lines = sessions(redis_server, "list", BFF_FRONTEND=frontend).stdout.splitlines()
    told = {line.split()[0]: line.split()[3] for line in lines}
    assert {"session": "frontend", main: "default", shop: "shop", bob: "shop"} == told
    assert "shop" in sessions(redis_server, "show", shop).stdout
    counted = json.loads(sessions(redis_server, "stats", "--json").stdout)["frontends"]
    assert {"shop": 2, "default": 1} == counted
    assert "default" in sessions(redis_server, "stats").stdout


@pytest.mark.parametrize(("options", "nice"), [((), [10]), (("--fast",), [])])
def test_live_traffic_goes_first(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], nice: list[int]
) -> None:
    """A command lowers its priority, unless the operator is in a hurry."""
    lowered: list[int] = []
    monkeypatch.setattr("os.nice", lowered.append)
    done = CliRunner().invoke(app, ["list", *options], env=environ(redis_server))
    assert (0, nice) == (done.exit_code, lowered)


def test_fields_that_somebody_else_wrote_do_no_harm(redis_server: RedisServer) -> None:
    """Odd times, terminal codes and a string in a session's place: shown harmlessly, or passed over."""
    session = sign_in(redis_server, PEOPLE[:1])[0]
    name = f"bff:session:{session.key}"
    with redis_server.client() as client:
        client.hset(name, mapping={"created": "soon", "seen": "1e400", "ends": "9" * 30, "version": "x"})
        client.hset(name, mapping={"ua": "\x1b[31mred\nnext", "sub": "[bold]alice"})
        client.set("bff:session:" + "0" * 64, "a string")
    done = sessions(redis_server, "list")
    assert (0, 2) == (done.returncode, done.stdout.count("\n"))
    assert "[bold]alice" in done.stdout
    assert "\\x1b[31mred\\nnext" in done.stdout
    assert 0 == sessions(redis_server, "show", session.id).returncode
    assert 0 == sessions(redis_server, "stats").returncode


def test_a_record_that_cannot_be_read_keeps_no_other_up(redis_server: RedisServer) -> None:
    """A version of more digits than Python reads: all is listed and counted, and all can be ended."""
    one, *_ = sign_in(redis_server, PEOPLE)
    with redis_server.client() as client:
        client.hset(f"bff:session:{one.key}", mapping={"version": "9" * 5000, "ip": "\u202e1.2.3.4"})
    done = sessions(redis_server, "list")
    assert (0, 1 + len(PEOPLE)) == (done.returncode, done.stdout.count("\n"))
    assert "\\u202e1.2.3.4" in done.stdout
    assert 0 == sessions(redis_server, "show", one.id).returncode
    assert 0 == sessions(redis_server, "stats").returncode
    assert 0 == sessions(redis_server, "end", "--all", "--yes").returncode
    assert "No session fits.\n" == sessions(redis_server, "list").stderr


# Trouble


def test_redis_away_is_one_line_with_the_setting(redis_server: RedisServer) -> None:
    """The setting, what is wrong, and what to do; no traceback, no password; exit code 1."""
    more = {"BFF_REDIS__URL": "redis://someone:hunter2@127.0.0.1:1/0"}
    for command in (["list"], ["show", "0cd6f6"], ["end", "--all", "--yes"], ["stats"]):
        done = sessions(redis_server, *command, **more)
        told = done.stderr.splitlines()[-1]
        assert (1, "") == (done.returncode, done.stdout)
        assert told.startswith("redis.url: Redis at redis://127.0.0.1:1/0: cannot be reached")
        assert "Traceback" not in done.stderr
        assert "hunter2" not in done.stderr


def test_a_permission_that_is_missing_is_named(redis_server: RedisServer) -> None:
    """NOPERM: the command that the account may not run, and how to let it."""
    sign_in(redis_server, PEOPLE)
    with redis_server.client() as client:
        client.execute_command("ACL", "SETUSER", "op", "on", ">pw", "~bff:*", "+@all", "-scan")
        client.execute_command("ACL", "SETUSER", "blind", "on", ">pw", "~bff:*", "+@all", "-memory", "-info")
    url = redis_server.url.replace("//", "//op:pw@")
    done = sessions(redis_server, "list", BFF_REDIS__URL=url)
    assert (1, 1) == (done.returncode, done.stderr.count("\n"))
    assert "NOPERM" in done.stderr
    assert "redis.url" in done.stderr
    assert "+scan" in done.stderr
    blind = sessions(redis_server, "stats", "--json", BFF_REDIS__URL=url.replace("op:", "blind:"))
    facts = json.loads(blind.stdout)
    assert (4, None, None) == (facts["sessions"], facts["session_bytes"], facts["redis_bytes"])


def test_the_documented_rights_are_enough(redis_server: RedisServer) -> None:
    """An account that may do what it says, and no more, runs every command."""
    made = sign_in(redis_server, PEOPLE)
    told = re.search(
        r"A Redis account of its own needs `([^`]+)` on `([^`]+)` \(and `([^`]+)`",
        page("operate/sessions.md"),
    )
    assert told is not None
    rights = [*told[1].split(), *told[3].split(), told[2]]
    with redis_server.client() as client:
        client.execute_command("ACL", "SETUSER", "op", "on", ">pw", *rights)
    url = redis_server.url.replace("//", "//op:pw@")
    for command in (
        ["list"],
        ["list", "--user", "alice"],
        ["show", made[0].id],
        ["end", made[0].id],
        ["end", "--user", "alice", "--yes"],
        ["end", "--all", "--yes"],
        ["show", made[0].id],
        ["stats"],
    ):
        done = sessions(redis_server, *command, BFF_REDIS__URL=url)
        assert "NOPERM" not in done.stderr, command
    assert "" == redis_server.cli("--scan", "--pattern", "bff:session:*")


def test_wrong_settings_are_a_line_each(redis_server: RedisServer) -> None:
    """A file that is not there, settings that are wrong, a Redis that nobody else can reach: exit code 2."""
    missing = sessions(redis_server, "list", "-c", "/nowhere.toml")
    assert (2, "", 1) == (missing.returncode, missing.stdout, missing.stderr.count("\n"))
    assert "/nowhere.toml" in missing.stderr
    wrong = sessions(redis_server, "list", BFF_REDIS__PREFIX="a b", BFF_REDIS__TIMEOUT="soon")
    assert (2, 2) == (wrong.returncode, wrong.stderr.count("\n"))
    assert "redis.prefix" in wrong.stderr
    embedded = sessions(redis_server, "list", BFF_REDIS__URL="embedded")
    assert (2, 1) == (embedded.returncode, embedded.stderr.count("\n"))
    assert "redis.url" in embedded.stderr
    unknown = sessions(redis_server, "list", "--claim", "shoe=44")
    assert 2 == unknown.returncode
    assert "session.readable_claims" in unknown.stderr.replace("\n", " ")


@pytest.mark.parametrize("command", [(), ("list",), ("show",), ("end",), ("stats",)])
def test_help_teaches_by_example(command: tuple[str, ...]) -> None:
    """Each says what it does and shows a line to type."""
    done = CliRunner().invoke(app, [*command, "--help"], prog_name="bff sessions")
    assert 0 == done.exit_code
    assert f"bff sessions {command[0] if command else 'list'}" in done.stdout.partition("╯")[2]
