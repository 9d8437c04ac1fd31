"""One rotation, and what can come between."""

import asyncio
from typing import Any

import pytest

from bff.errors import Problem
from bff.refresh import Deferred, Over, Rotated, rotation
from bff.session.changes import steady_now
from bff.session.lock import LEASE
from bff.session.model import EndReason
from bff.session.sessions import Found, NoSession
from tests.refresh.desk import Desk, running_desk
from tests.support.redis import RedisServer
from tests.support.tasks import background
from tests.support.wait import until


@pytest.fixture(autouse=True)
def no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is a matter of seconds in earnest."""
    monkeypatch.setattr(rotation, "_REPEAT_AFTER", (0.0, 0.01))


async def version(desk: Desk, found: Found) -> int:
    """The version that is in Redis."""
    standing = await desk.processes[0].standing(found)
    assert isinstance(standing, Found)
    return standing.session.version


# An answer that got lost


@pytest.mark.requirement("T-09", "T-08")
@pytest.mark.parametrize("way", ["lost", "lost after"])
async def test_a_lost_answer_is_asked_for_once_more(desk: Desk, way: str) -> None:
    """Whether or not the provider had rotated: within its grace the session is saved, and it is counted."""
    desk.provider.grace = True
    (process,) = desk.processes
    process.client.plan = [way]
    found = await desk.signed_in()
    outcome = await process.rotate(found)
    assert isinstance(outcome, Rotated)
    assert ("a2", 2) == (outcome.found.session.tokens.access_token, await version(desk, found))
    assert ["1/r1", "1/r1"] == desk.provider.sent
    assert {"repeated": 1.0} == process.incidents()
    assert ("", []) == (desk.marker(found), desk.locks())


@pytest.mark.requirement("T-09")
async def test_a_repetition_that_is_refused_says_why_the_session_ends(desk: Desk) -> None:
    """Without a grace a rotated token is gone with its answer: `refresh_lost`, and a reuse is suspected."""
    (process,) = desk.processes
    process.client.plan = ["lost after"]
    found = await desk.signed_in()
    assert Over(Problem.SESSION_ENDED, EndReason.REFRESH_LOST) == await process.rotate(found)
    assert {"repeated": 1.0, "reuse_suspected": 1.0} == process.incidents()
    assert NoSession(Problem.SESSION_ENDED, EndReason.REFRESH_LOST) == await process.standing(found)


async def test_an_answer_that_is_lost_twice_is_left_to_later(two: Desk) -> None:
    """Marked as lost, so that no process sends the token within a second; the next one that does may."""
    here, there = two.processes
    here.client.plan = ["lost", "lost"]
    found = await two.signed_in()
    outcome = await here.rotate(found)
    assert isinstance(outcome, Deferred)
    assert ("answer_lost", True) == (outcome.why, bool(outcome.retry_after))
    assert two.marker(found).endswith(" lost")
    resting = await there.rotate(found)
    assert isinstance(resting, Deferred)
    assert "resting" == resting.why
    assert 2 == len(two.provider.sent)
    two.now += 1
    assert isinstance(await there.rotate(found), Rotated)
    assert {"resumed_lost": 1.0} == there.incidents()
    assert 3 == len(two.provider.sent)


@pytest.mark.parametrize("grace", [0, 0.001])
async def test_outside_the_grace_nothing_is_repeated(redis_server: RedisServer, grace: float) -> None:
    """The provider would take it for a theft."""
    async with running_desk(redis_server, grace=grace) as desk:
        (process,) = desk.processes
        process.client.plan = ["lost"]
        outcome = await process.rotate(await desk.signed_in())
        assert isinstance(outcome, Deferred)
        assert ("answer_lost", 1) == (outcome.why, len(desk.provider.sent))


@pytest.mark.requirement("T-04")
async def test_nothing_is_repeated_for_a_session_that_ended(desk: Desk) -> None:
    """It is read again before: a logout came between."""
    (process,) = desk.processes
    process.client.plan = ["lost"]
    process.client.may_answer.clear()
    found = await desk.signed_in()
    async with background(process.rotate(found)) as rotating:
        await until(lambda: len(desk.provider.sent) == 1)
        await process.sessions.end(found.session, EndReason.LOGOUT)
        process.client.may_answer.set()
        assert Over(Problem.SESSION_ENDED, EndReason.LOGOUT) == await rotating
    assert 1 == len(desk.provider.sent)


@pytest.mark.requirement("T-05")
async def test_nothing_is_repeated_once_another_process_has_rotated(
    two: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer was lost and so was the lock: what another process has saved meanwhile is the outcome."""
    monkeypatch.setattr(rotation, "SETTLE", 0.0)
    here, there = two.processes
    here.client.plan = ["lost"]
    here.client.may_answer.clear()
    found = await two.signed_in()
    async with background(here.rotate(found)) as first:
        await until(lambda: len(two.provider.sent) == 1)
        two.redis.cli("DEL", *two.locks())
        assert isinstance(await there.rotate(found), Rotated)
        here.client.may_answer.set()
        outcome = await first
    assert isinstance(outcome, Rotated)
    assert (False, 2) == (outcome.here, outcome.found.session.version)
    assert 2 == len(two.provider.sent)
    assert "" == two.marker(found)


# What the provider says


@pytest.mark.requirement("T-07", "T-08")
@pytest.mark.parametrize(
    ("why", "retry_after", "way"),
    [
        ("provider_unreachable", None, "unreachable"),
        ("provider_refused", 7.0, "wait"),
        ("grant_refused", None, "refused"),
    ],
)
async def test_what_was_not_spent_leaves_no_trace(
    desk: Desk, why: str, retry_after: float | None, way: str
) -> None:
    """Put off, with the reason; no marker, no lock, and when it works again no incident."""
    (process,) = desk.processes
    process.client.plan = [way]
    found = await desk.signed_in()
    outcome = await process.rotate(found)
    assert isinstance(outcome, Deferred)
    assert (why, Problem.PROVIDER_UNAVAILABLE) == (outcome.why, outcome.problem)
    assert retry_after in (None, outcome.retry_after)
    assert ("", []) == (desk.marker(found), desk.locks())
    desk.now += 10
    assert isinstance(await process.rotate(found), Rotated)
    assert {} == process.incidents()


@pytest.mark.requirement("T-13")
async def test_tokens_of_somebody_else_are_revoked(desk: Desk) -> None:
    """The session ends, and nobody keeps what came."""
    desk.provider.id_token = "mallory"
    found = await desk.signed_in()
    outcome = await desk.processes[0].rotate(found)
    assert Over(Problem.SESSION_ENDED, EndReason.IDENTITY_CHANGED) == outcome
    assert ["1/r2"] == desk.provider.revoked


async def test_new_tokens_do_not_wait_for_a_key_set(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """They exist nowhere else: an ID token that cannot be checked in time is left out."""
    monkeypatch.setattr(rotation, "_KEYS_PATIENCE", 0.01)
    desk.provider.id_token = "hangs"
    outcome = await desk.processes[0].rotate(await desk.signed_in())
    assert isinstance(outcome, Rotated)
    assert ("id-token-1", {"sub": "alice"}) == (
        outcome.found.session.tokens.id_token,
        outcome.found.session.claims,
    )


async def test_a_provider_that_states_no_time_makes_no_call_rotate(desk: Desk) -> None:
    """Lifetimes of nothing, and below nothing, are used until a backend says 401."""
    desk.provider.lifetime = 0
    outcome = await desk.processes[0].rotate(await desk.signed_in())
    assert isinstance(outcome, Rotated)
    tokens = outcome.found.session.tokens
    assert tokens.access_expires_at == tokens.obtained_at


# Other processes


@pytest.mark.requirement("T-09")
async def test_a_left_marker_is_given_a_moment(two: Desk) -> None:
    """Whoever was cut off from Redis, and comes back with new tokens, finds the session as it was."""
    here, there = two.processes
    here.client.may_answer.clear()
    found = await two.signed_in()
    async with background(here.rotate(found)) as first:
        await until(lambda: len(two.provider.sent) == 1)
        two.redis.cli("DEL", *two.locks())
        async with background(there.rotate(found)) as second:
            await until(lambda: len(two.locks()) == 1)
            here.client.may_answer.set()
            outcomes = [await first, await second]
    assert [True, False] == [isinstance(each, Rotated) and each.here for each in outcomes]
    assert 1 == len(two.provider.sent)
    assert ({}, {}) == (here.incidents(), there.incidents())


@pytest.mark.requirement("T-09")
async def test_a_marker_that_nobody_clears_is_tried(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """After that moment the token at hand is sent, and that is counted."""
    monkeypatch.setattr(rotation, "SETTLE", 0.05)
    (process,) = desk.processes
    found = await desk.signed_in()
    desk.leave_marker(found, f"{desk.now:.3f} dead/7")
    assert isinstance(await process.rotate(found), Rotated)
    assert {"resumed_left": 1.0} == process.incidents()


@pytest.mark.requirement("T-05")
async def test_who_was_stopped_before_it_sent_sends_nothing(
    two: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped for longer than the lease, while another rotated: its last look tells, and it follows."""
    here, there = two.processes
    here.client.may_connect.clear()
    found = await two.signed_in()
    async with background(here.rotate(found)) as first:
        await until(lambda: here.client.connecting == 1)
        two.redis.cli("DEL", *two.locks())  # as the lease's end would have
        monkeypatch.setattr(rotation, "SETTLE", 0.0)
        assert isinstance(await there.rotate(found), Rotated)
        stopped_for = LEASE + 1
        monkeypatch.setattr("bff.session.lock.steady_now", lambda: steady_now() + stopped_for)
        here.client.may_connect.set()
        outcome = await first
    assert isinstance(outcome, Rotated)
    assert (False, "a2") == (outcome.here, outcome.found.session.tokens.access_token)
    assert ["1/r1"] == two.provider.sent


async def test_who_was_stopped_and_alone_begins_anew(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was sent, so nothing is lost: the lock is taken again, and the token sent once."""
    (process,) = desk.processes
    process.client.may_connect.clear()
    found = await desk.signed_in()
    async with background(process.rotate(found)) as rotating:
        await until(lambda: process.client.connecting == 1)
        monkeypatch.setattr("bff.session.lock.steady_now", lambda: steady_now() + LEASE + 1)
        process.client.may_connect.set()
        assert isinstance(await rotating, Rotated)
    assert ["1/r1"] == desk.provider.sent
    assert {} == process.incidents()


async def test_a_token_that_left_late_is_counted(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped between the last look and the last byte: no fence can prevent it, and it is told."""
    (process,) = desk.processes
    looks = [0.0, LEASE + 1]
    found = await desk.signed_in()
    process.client.may_connect.clear()
    async with background(process.rotate(found)) as rotating:
        await until(lambda: process.client.connecting == 1)
        monkeypatch.setattr(
            "bff.session.lock.steady_now", lambda: steady_now() + (looks.pop(0) if looks else 0)
        )
        process.client.may_connect.set()
        assert isinstance(await rotating, Rotated)
    assert {"sent_late": 1.0} == process.incidents()


async def test_a_refusal_ends_no_session_that_has_newer_tokens(
    two: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process has spent the token and saved what came: `invalid_grant` is about the past."""
    monkeypatch.setattr(rotation, "SETTLE", 0.0)
    here, there = two.processes
    here.client.may_answer.clear()
    there.client.may_answer.clear()
    found = await two.signed_in()
    async with background(here.rotate(found)) as first:
        await until(lambda: len(two.provider.sent) == 1)
        two.redis.cli("DEL", *two.locks())
        async with background(there.rotate(found)) as second:
            await until(lambda: len(two.provider.sent) == 2)
            here.client.may_answer.set()
            assert isinstance(await first, Rotated)
            there.client.may_answer.set()
            outcome = await second
    assert isinstance(outcome, Rotated)
    assert 2 == outcome.found.session.version
    assert "" == two.redis.cli("GET", f"bff:ended:{found.session.key}")
    assert {"resumed_left": 1.0, "reuse_suspected": 1.0} == there.incidents()


@pytest.mark.requirement("T-04")
async def test_tokens_for_nobody_are_revoked(desk: Desk) -> None:
    """The session was deleted while the provider was asked."""
    (process,) = desk.processes
    process.client.may_answer.clear()
    found = await desk.signed_in()
    async with background(process.rotate(found)) as rotating:
        await until(lambda: len(desk.provider.sent) == 1)
        desk.redis.cli("DEL", f"bff:session:{found.session.key}")
        process.client.may_answer.set()
        assert Over(Problem.SESSION_ENDED, EndReason.UNKNOWN) == await rotating
    assert ["1/r2"] == desk.provider.revoked
    assert "0" == desk.redis.cli("EXISTS", f"bff:session:{found.session.key}")


# Redis


@pytest.mark.requirement("T-10")
async def test_nothing_is_sent_while_redis_is_away(desk: Desk) -> None:
    """The session cannot be marked: it waits for Redis, and the provider hears nothing."""
    (process,) = desk.processes
    found = await desk.signed_in()
    desk.redis.stop()
    assert Deferred(Problem.STORE_UNAVAILABLE, None, "store_unavailable") == await process.rotate(found)
    assert [] == desk.provider.sent
    desk.redis.start()
    assert isinstance(await process.rotate(found), Rotated)


@pytest.mark.requirement("T-10", "T-14")
@pytest.mark.parametrize("way", ["taken", "lost", "refused", "invalid"])
async def test_redis_is_away_when_the_answer_comes(desk: Desk, way: str) -> None:
    """New tokens and an end are written when it is back; whatever else came, the session lives on."""
    (process,) = desk.processes
    process.client.plan = [] if way == "invalid" else [way]
    process.client.may_answer.clear()
    desk.provider.killed = way == "invalid"
    found = await desk.signed_in()
    async with background(process.rotate(found)) as rotating:
        await until(lambda: len(desk.provider.sent) == 1)
        desk.redis.stop()
        process.client.may_answer.set()
        if way in {"lost", "refused"}:
            assert isinstance(await rotating, Deferred)
        desk.redis.start()
        outcome = await rotating
    expected: dict[str, type[Any]] = {"taken": Rotated, "invalid": Over}
    assert isinstance(outcome, expected.get(way, Deferred))
    standing = await process.standing(found)
    assert isinstance(standing, NoSession if way == "invalid" else Found)
    assert 1 == len(desk.provider.sent)


async def test_tokens_that_nobody_takes_are_told_of(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Redis stayed away for too long: an audit event, and an incident."""
    monkeypatch.setattr(rotation, "_PATIENCE", 0.0)
    (process,) = desk.processes
    process.client.may_answer.clear()
    found = await desk.signed_in()
    async with background(process.rotate(found)) as rotating:
        await until(lambda: len(desk.provider.sent) == 1)
        desk.redis.stop()
        process.client.may_answer.set()
        assert Deferred(Problem.STORE_UNAVAILABLE, None, "tokens_lost") == await rotating
    assert {"rotation_lost": 1.0} == process.incidents()
    assert "rotation_lost" in "".join(capsys.readouterr())
    desk.redis.start()


# The end of the process


@pytest.mark.requirement("T-03", "T-09")
@pytest.mark.parametrize("moment", ["before it was sent", "after"])
async def test_a_process_that_is_cut_short(two: Desk, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """The lock is free, the marker says what may be, who waited is told to come back, another goes on."""
    monkeypatch.setattr(rotation, "SETTLE", 0.05)
    two.provider.grace = True
    here, there = two.processes
    gate = here.client.may_connect if moment == "before it was sent" else here.client.may_answer
    gate.clear()
    found = await two.signed_in()
    async with background(here.rotate(found)) as waiting:
        await until(lambda: here.client.connecting == 1)
        await asyncio.sleep(0)
        await here.tasks.cancel_all()
        assert isinstance(await waiting, Deferred)
    assert [] == two.locks()
    assert "" != two.marker(found)
    assert isinstance(await there.rotate(found), Rotated)
    assert {"resumed_left": 1.0} == there.incidents()


async def test_tokens_that_a_stop_takes_are_told_of(desk: Desk) -> None:
    """The process ends while it still offers them to a Redis that is away."""
    (process,) = desk.processes
    process.client.may_answer.clear()
    found = await desk.signed_in()
    async with background(process.rotate(found)):
        await until(lambda: len(desk.provider.sent) == 1)
        desk.redis.stop()
        process.client.may_answer.set()
        await until(lambda: process.counted("bff_store_errors_total") > 0)
        await process.tasks.cancel_all()
    assert {"rotation_lost": 1.0} == process.incidents()
    desk.redis.start()
