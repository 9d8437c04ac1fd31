"""`bff sessions end`, on a real redis-server and with real workers."""

import asyncio
import json
import os
import pty
import select
import shlex
import signal
from pathlib import Path
from typing import Any

import pytest

from bff.session.session_index import SessionIndex
from tests.cli.signed_in import Done, SignIn, environ, sessions, sign_in
from tests.docs.pages import section
from tests.support.processes.command import bff
from tests.support.processes.fleet import running_fleet
from tests.support.processes.forked import BARE, Forked
from tests.support.processes.redis import RedisServer
from tests.support.providers.rotating import rotating_provider

DAY = 86400.0
PEOPLE = (
    SignIn("alice", "alice@example.com", ago=3 * DAY, sid="sid-1"),
    SignIn("alice", "alice@example.com", ago=60),
    SignIn("bob", "bob@example.com", ago=2 * DAY),
    SignIn("carol", provider="partners"),
)


def alive(server: RedisServer) -> set[str]:
    with server.client() as client:
        return {name.removeprefix("bff:session:") for name in client.scan_iter("bff:session:*")}


def audited(done: Done) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == "session_ended"]


@pytest.mark.requirement("B-22", "B-27", "S-05")
def test_one_is_ended_by_its_name(redis_server: RedisServer) -> None:
    """The session, its index entries and nothing else; with the reason for the page, and an audit event."""
    made = sign_in(redis_server, PEOPLE)
    done = sessions(redis_server, "end", made[0].id, "--reason", "lost phone", "--by", "olga")
    assert (0, "one session ended.\n") == (done.returncode, done.stdout)
    assert {session.key for session in made[1:]} == alive(redis_server)
    assert "operator" == redis_server.cli("GET", f"bff:ended:{made[0].key}")
    assert made[1].key == redis_server.cli("ZRANGE", "bff:user:main:alice", "0", "-1")
    assert "0" == redis_server.cli("EXISTS", "bff:sid:main:sid-1")
    (event,) = audited(done)
    told = {
        name: event[name] for name in ("sub", "session", "reason", "operator", "note", "provider_revoked")
    }
    assert {
        "sub": "alice",
        "session": made[0].id,
        "reason": "operator",
        "operator": "olga",
        "note": "lost phone",
        "provider_revoked": False,
    } == told


@pytest.mark.requirement("B-22")
@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (["--user", "alice"], {2, 3}),
        (["--claim", "email=ALICE@example.com"], {2, 3}),
        (["--provider", "partners"], {0, 1, 2}),
        (["--before", "1d"], {1, 3}),
        (["--user", "alice", "--before", "1d"], {1, 2, 3}),
        (["--all"], set()),
    ],
)
def test_many_are_ended(redis_server: RedisServer, arguments: list[str], left: set[int]) -> None:
    """All of a user, by `sub` or claim, of a provider, begun before a time, everything; and no others."""
    made = sign_in(redis_server, PEOPLE)
    shown = sessions(redis_server, "end", *arguments, "--dry-run")
    assert 0 == shown.returncode
    assert "None was ended" in shown.stdout
    assert 4 == len(alive(redis_server))
    done = sessions(redis_server, "end", *arguments, "--yes", "--json")
    facts = json.loads(done.stdout)
    assert (0, 4 - len(left), True) == (done.returncode, facts["ended"], facts["complete"])
    assert {made[number].key for number in left} == alive(redis_server)
    assert 4 - len(left) == len(audited(done))
    assert "olga" not in done.stderr
    assert all(event["operator"] for event in audited(done)), "the system's user, where nobody is named"
    assert 0 == sessions(redis_server, "end", *arguments, "--yes").returncode, "nothing to end is no mistake"


def test_more_than_one_is_asked_about(redis_server: RedisServer) -> None:
    """Where nobody can be asked, --yes is wanted; one is ended without a question."""
    made = sign_in(redis_server, PEOPLE)
    refused = sessions(redis_server, "end", "--user", "alice")
    assert (2, "") == (refused.returncode, refused.stdout)
    assert "--yes" in refused.stderr
    assert 2 == sessions(redis_server, "end", made[0].id, made[1].id).returncode
    assert 4 == len(alive(redis_server))
    assert 0 == sessions(redis_server, "end", "--user", "bob").returncode
    assert 3 == len(alive(redis_server))


@pytest.mark.parametrize(("answer", "left", "code"), [("y", 2, 0), ("n", 4, 1)])
def test_a_person_is_asked(redis_server: RedisServer, answer: str, left: int, code: int) -> None:
    """On a terminal the sessions are shown, then the question; anything but yes ends none."""
    sign_in(redis_server, PEOPLE)
    leader, follower = pty.openpty()
    command = ["bff", "sessions", "end", "--user", "alice"]
    child: Forked[str]
    with Forked(
        command, env=BARE | environ(redis_server), stdin=follower, stdout=follower, stderr=follower
    ) as child:
        os.close(follower)
        shown = b""
        while b"[y/N]" not in shown and select.select([leader], [], [], 60)[0]:
            shown += os.read(leader, 65536)
        os.write(leader, f"{answer}\n".encode())
        while select.select([leader], [], [], 60)[0]:
            try:
                shown += os.read(leader, 65536)
            except OSError:  # Linux says so when the other side is closed
                break
        assert code == child.wait(60)
    os.close(leader)
    assert b"alice@example.com" in shown
    assert b"End these 2 sessions?" in shown
    assert left == len(alive(redis_server))


def test_what_is_meant_must_be_clear(redis_server: RedisServer) -> None:
    """Nothing named, two ways at once, an ambiguous beginning, one of two that is not there: none ends."""
    made = sign_in(redis_server, PEOPLE[:1])
    with redis_server.client() as client:
        twin = made[0].key[:8] + "0" * 56
        client.copy(f"bff:session:{made[0].key}", f"bff:session:{twin}")
    for wrong in (
        [],
        [made[0].id, "--all"],
        ["--all", "--user", "alice"],
        [made[0].key[:8]],
        ["--before", "x"],
    ):
        done = sessions(redis_server, "end", *wrong, "--yes")
        assert (2, "") == (done.returncode, done.stdout), wrong
    assert 1 == sessions(redis_server, "end", made[0].id, "00000000").returncode
    assert {made[0].key, twin} == alive(redis_server)


@pytest.mark.requirement("T-15")
def test_a_sign_in_under_way_ends_with_all_of_its_user(redis_server: RedisServer) -> None:
    """It began before, and is written after: the note says that it is over."""
    made = sign_in(redis_server, PEOPLE[:1])
    assert 0 == sessions(redis_server, "end", "--user", "alice").returncode
    note = redis_server.cli("GET", "bff:ended:main:alice")
    moment, _, reason = note.partition(" ")
    assert (True, "operator") == (float(moment) >= made[0].created, reason)


@pytest.mark.requirement("T-15", "P-01")
@pytest.mark.parametrize(
    ("frontend", "left", "noted"), [("shop", 0, "%0Ashop"), ("default", 1, "%0Adefault")]
)
def test_the_end_of_a_user_at_one_frontend(
    redis_server: RedisServer, frontend: str, left: int, noted: str
) -> None:
    """Their other frontends' sessions go on; a sign-in under way there alone is told so."""
    made = sign_in(redis_server, [SignIn("alice"), SignIn("alice", frontend="shop")])
    shop = json.dumps([{"name": "shop", "public_url": "http://shop.localhost:8080"}])
    done = sessions(redis_server, "end", "--user", "alice", "--frontend", frontend, BFF_FRONTEND=shop)
    assert (0, [frontend]) == (done.returncode, [event["frontend"] for event in audited(done)])
    assert {made[left].key} == alive(redis_server)
    notes = redis_server.cli("--scan", "--pattern", "bff:ended:main:*").split()
    assert [f"bff:ended:main:alice{noted}"] == notes
    assert redis_server.cli("GET", notes[0]).endswith(" operator")


def test_trouble_in_the_middle_says_how_far_it_came(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has ended for sure is counted and audited, and the same command goes on with the rest."""
    sign_in(redis_server, [SignIn(f"user-{number}") for number in range(250)])
    leave = SessionIndex.leave
    parts: list[int] = []

    async def failing(self: SessionIndex, ended: Any) -> None:
        await leave(self, ended)
        parts.append(len(ended))
        if sum(parts) > parts[0]:
            redis_server.stop()

    with monkeypatch.context() as patched:
        patched.setattr(SessionIndex, "leave", failing)
        done = sessions(redis_server, "end", "--all", "--yes")
    assert 1 == done.returncode
    assert f"Broken off: at least {parts[0]:,} sessions ended" in done.stderr
    assert "redis.url" in done.stderr.splitlines()[-1]
    assert parts[0] == len(audited(done)), "of the others a serving process tells: their marks stand"
    redis_server.start()
    assert 250 - sum(parts) == len(alive(redis_server))
    assert 0 == sessions(redis_server, "end", "--all", "--yes").returncode
    assert set() == alive(redis_server)


def test_an_interruption_says_how_far_it_came(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C: the part under way is finished, told and audited; exit code 130."""
    sign_in(redis_server, [SignIn(f"user-{number}") for number in range(250)])
    leave = SessionIndex.leave
    parts: list[int] = []

    async def interrupting(self: SessionIndex, ended: Any) -> None:
        if not parts:
            signal.raise_signal(signal.SIGINT)
        await leave(self, ended)
        parts.append(len(ended))

    monkeypatch.setattr(SessionIndex, "leave", interrupting)
    done = sessions(redis_server, "end", "--all", "--yes")
    assert (130, 1) == (done.returncode, len(parts))
    assert f"Interrupted: {parts[0]:,} sessions ended" in done.stderr
    assert (parts[0], 250 - parts[0]) == (len(audited(done)), len(alive(redis_server)))


@pytest.mark.requirement("B-22", "S-05")
async def test_every_process_knows_at_once(redis_server: RedisServer, tmp_path: Path) -> None:
    """Two workers that had the session in memory refuse its next call, and say that an operator ended it."""
    with rotating_provider() as provider:
        async with running_fleet(redis_server, provider, tmp_path, workers=2, valves=False) as fleet:
            phone, laptop = await fleet.member(), await fleet.member()
            for worker in (0, 1):
                assert 200 == (await fleet.call(phone, worker)).status
            done = await asyncio.to_thread(
                bff, "sessions", "end", phone.key[:12], environ=environ(redis_server)
            )
            assert 0 == done.returncode, done.stderr
            for worker in (0, 1):
                answer = await fleet.call(phone, worker)
                assert (401, "session_ended", "operator") == (answer.status, answer.code, answer.reason)
                assert 200 == (await fleet.call(laptop, worker)).status


@pytest.mark.requirement("B-22", "S-05")
def test_a_lost_phone_takes_two_commands(redis_server: RedisServer) -> None:
    """The two lines of the operator's guide, word for word but for the name that the first one brings."""
    text = section("operate/sessions.md", "End a user's sessions")
    lines = [line for line in text.splitlines() if line.startswith("bff ")]
    find, end = (shlex.split(line, comments=True)[2:] for line in lines)
    phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X)"
    made = sign_in(redis_server, [*PEOPLE, SignIn("alice", "alice@example.com", user_agent=phone)])
    listed = sessions(redis_server, *find).stdout.splitlines()[1:]
    assert 3 == len(listed)
    [name] = (line.split()[0] for line in listed if "iPhone" in line)
    assert 0 == sessions(redis_server, end[0], name, *end[2:]).returncode
    assert {session.key for session in made[:-1]} == alive(redis_server)
