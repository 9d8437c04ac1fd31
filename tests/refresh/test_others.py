"""What other processes, and people, do to a session while it is rotated."""

import pytest

from bff.errors import Problem
from bff.refresh import Over, Rotated, rotation
from bff.session.invalidation_feed import steady_now
from bff.session.model import EndReason
from bff.session.rotation_lock import LEASE
from tests.refresh.harness import RefreshHarness
from tests.support.tasks import background
from tests.support.wait import until


@pytest.mark.requirement("T-09")
async def test_a_left_marker_is_given_a_moment(two: RefreshHarness) -> None:
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
async def test_a_marker_that_nobody_clears_is_tried(
    harness: RefreshHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After that moment the token at hand is sent, and that is counted."""
    monkeypatch.setattr(rotation, "SETTLE", 0.05)
    (process,) = harness.processes
    found = await harness.signed_in()
    harness.leave_marker(found, f"{harness.now:.3f} dead/7")
    assert isinstance(await process.rotate(found), Rotated)
    assert {"resumed_left": 1.0} == process.incidents()


@pytest.mark.requirement("T-05")
async def test_who_was_stopped_before_it_sent_sends_nothing(
    two: RefreshHarness, monkeypatch: pytest.MonkeyPatch
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
        monkeypatch.setattr("bff.session.rotation_lock.steady_now", lambda: steady_now() + stopped_for)
        here.client.may_connect.set()
        outcome = await first
    assert isinstance(outcome, Rotated)
    assert (False, "a2") == (outcome.here, outcome.found.session.tokens.access_token)
    assert ["1/r1"] == two.provider.sent


async def test_who_was_stopped_and_alone_begins_anew(
    harness: RefreshHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was sent, so nothing is lost: the lock is taken again, and the token sent once."""
    (process,) = harness.processes
    process.client.may_connect.clear()
    found = await harness.signed_in()
    async with background(process.rotate(found)) as rotating:
        await until(lambda: process.client.connecting == 1)
        monkeypatch.setattr("bff.session.rotation_lock.steady_now", lambda: steady_now() + LEASE + 1)
        process.client.may_connect.set()
        assert isinstance(await rotating, Rotated)
    assert ["1/r1"] == harness.provider.sent
    assert {} == process.incidents()


async def test_a_token_that_left_late_is_counted(
    harness: RefreshHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped between the last look and the last byte: no fence can prevent it, and it is told."""
    (process,) = harness.processes
    looks = [0.0, LEASE + 1]
    found = await harness.signed_in()
    process.client.may_connect.clear()
    async with background(process.rotate(found)) as rotating:
        await until(lambda: process.client.connecting == 1)
        monkeypatch.setattr(
            "bff.session.rotation_lock.steady_now", lambda: steady_now() + (looks.pop(0) if looks else 0)
        )
        process.client.may_connect.set()
        assert isinstance(await rotating, Rotated)
    assert {"sent_late": 1.0} == process.incidents()


async def test_a_refusal_ends_no_session_that_has_newer_tokens(
    two: RefreshHarness, monkeypatch: pytest.MonkeyPatch
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
async def test_tokens_for_nobody_are_revoked(harness: RefreshHarness) -> None:
    """The session was deleted while the provider was asked."""
    (process,) = harness.processes
    process.client.may_answer.clear()
    found = await harness.signed_in()
    async with background(process.rotate(found)) as rotating:
        await until(lambda: len(harness.provider.sent) == 1)
        harness.redis.cli("DEL", f"bff:session:{found.session.key}")
        process.client.may_answer.set()
        assert Over(Problem.SESSION_ENDED, EndReason.UNKNOWN) == await rotating
    assert ["1/r2"] == harness.provider.revoked
    assert "0" == harness.redis.cli("EXISTS", f"bff:session:{found.session.key}")
