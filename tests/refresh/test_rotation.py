"""One rotation, and what can come between."""

from typing import Any

import pytest

from bff.errors import Problem
from bff.refresh import Deferred, Over, Rotated, rotation
from bff.session.model import EndReason
from bff.session.sessions import Found, NoSession
from tests.refresh.harness import RefreshHarness, running_harness
from tests.support.processes.redis import RedisServer
from tests.support.tasks import background
from tests.support.wait import until


async def version(harness: RefreshHarness, found: Found) -> int:
    """The version that is in Redis."""
    standing = await harness.processes[0].standing(found)
    assert isinstance(standing, Found)
    return standing.session.version


# An answer that got lost


@pytest.mark.requirement("T-09", "T-08")
@pytest.mark.parametrize("way", ["lost", "lost after"])
async def test_a_lost_answer_is_asked_for_once_more(harness: RefreshHarness, way: str) -> None:
    """Whether or not the provider had rotated: within its grace the session is saved, and it is counted."""
    harness.provider.grace = True
    (process,) = harness.processes
    process.client.plan = [way]
    found = await harness.signed_in()
    outcome = await process.rotate(found)
    assert isinstance(outcome, Rotated)
    assert ("a2", 2) == (outcome.found.session.tokens.access_token, await version(harness, found))
    assert ["1/r1", "1/r1"] == harness.provider.sent
    assert {"repeated": 1.0} == process.incidents()
    assert ("", []) == (harness.marker(found), harness.locks())


@pytest.mark.requirement("T-09")
async def test_a_repetition_that_is_refused_says_why_the_session_ends(harness: RefreshHarness) -> None:
    """Without a grace a rotated token is gone with its answer: `refresh_lost`, and a reuse is suspected."""
    (process,) = harness.processes
    process.client.plan = ["lost after"]
    found = await harness.signed_in()
    assert Over(Problem.SESSION_ENDED, EndReason.REFRESH_LOST) == await process.rotate(found)
    assert {"repeated": 1.0, "reuse_suspected": 1.0} == process.incidents()
    assert NoSession(Problem.SESSION_ENDED, EndReason.REFRESH_LOST) == await process.standing(found)


async def test_an_answer_that_is_lost_twice_is_left_to_later(two: RefreshHarness) -> None:
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
    async with running_harness(redis_server, grace=grace) as harness:
        (process,) = harness.processes
        process.client.plan = ["lost"]
        outcome = await process.rotate(await harness.signed_in())
        assert isinstance(outcome, Deferred)
        assert ("answer_lost", 1) == (outcome.why, len(harness.provider.sent))


@pytest.mark.requirement("T-04")
async def test_nothing_is_repeated_for_a_session_that_ended(harness: RefreshHarness) -> None:
    """It is read again before: a logout came between."""
    (process,) = harness.processes
    process.client.plan = ["lost"]
    process.client.may_answer.clear()
    found = await harness.signed_in()
    async with background(process.rotate(found)) as rotating:
        await until(lambda: len(harness.provider.sent) == 1)
        await process.sessions.end(found.session, EndReason.LOGOUT)
        process.client.may_answer.set()
        assert Over(Problem.SESSION_ENDED, EndReason.LOGOUT) == await rotating
    assert 1 == len(harness.provider.sent)


@pytest.mark.requirement("T-05")
async def test_nothing_is_repeated_once_another_process_has_rotated(
    two: RefreshHarness, monkeypatch: pytest.MonkeyPatch
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
        ("provider_busy", 7.0, "wait"),
        ("grant_refused", None, "refused"),
    ],
)
async def test_what_was_not_spent_leaves_no_trace(
    harness: RefreshHarness, why: str, retry_after: float | None, way: str
) -> None:
    """Put off, with the reason; no marker, no lock, and when it works again no incident."""
    (process,) = harness.processes
    process.client.plan = [way]
    found = await harness.signed_in()
    outcome = await process.rotate(found)
    assert isinstance(outcome, Deferred)
    assert (why, Problem.PROVIDER_UNAVAILABLE) == (outcome.why, outcome.problem)
    assert retry_after in (None, outcome.retry_after)
    assert ("", []) == (harness.marker(found), harness.locks())
    harness.now += 10
    assert isinstance(await process.rotate(found), Rotated)
    assert {} == process.incidents()


@pytest.mark.requirement("T-13")
async def test_tokens_of_somebody_else_are_revoked(harness: RefreshHarness) -> None:
    """The session ends, and nobody keeps what came."""
    harness.provider.id_token = "mallory"
    found = await harness.signed_in()
    outcome = await harness.processes[0].rotate(found)
    assert Over(Problem.SESSION_ENDED, EndReason.IDENTITY_CHANGED) == outcome
    assert ["1/r2"] == harness.provider.revoked


@pytest.mark.requirement("P-07")
@pytest.mark.parametrize(
    ("claims", "ends"),
    [
        ({"groups": ["partners"]}, True),
        ({"groups": None}, True),
        ({"groups": ["staff", "partners"]}, False),
        ({}, False),
    ],
)
async def test_the_rule_about_sign_ins_is_judged_anew(
    harness: RefreshHarness, claims: dict[str, Any], *, ends: bool
) -> None:
    """By the claims that came: the session of a user who may not sign in any more ends, with its tokens."""
    (process,) = harness.processes
    process.client.let_in({"groups": ["staff"]})
    harness.provider.id_token, harness.provider.claims = "alice", claims
    found = await harness.signed_in()
    outcome = await process.rotate(found)
    assert ends is (Over(Problem.SESSION_ENDED, EndReason.NOT_ALLOWED) == outcome)
    assert ends is isinstance(await process.standing(found), NoSession)
    assert (["1/r2"] if ends else []) == harness.provider.revoked


async def test_a_provider_that_does_not_rotate_is_given_back_the_grant(harness: RefreshHarness) -> None:
    """The session ends here: its own refresh token is revoked, for no other came."""
    (process,) = harness.processes
    process.client.let_in({"groups": ["staff"]})
    harness.provider.rotates, harness.provider.id_token = False, "alice"
    harness.provider.claims = {"groups": []}
    outcome = await process.rotate(await harness.signed_in())
    assert Over(Problem.SESSION_ENDED, EndReason.NOT_ALLOWED) == outcome
    assert ["1/r1"] == harness.provider.revoked


@pytest.mark.requirement("T-04")
async def test_an_access_token_that_came_too_late_is_revoked(harness: RefreshHarness) -> None:
    """The session is gone, and no refresh token came that would take the access token along."""
    (process,) = harness.processes
    harness.provider.rotates = False
    process.client.may_answer.clear()
    found = await harness.signed_in()
    async with background(process.rotate(found)) as rotation_:
        await until(lambda: len(harness.provider.sent) == 1)
        await process.sessions.end(found.session, EndReason.OPERATOR)
        process.client.may_answer.set()
        assert Over(Problem.SESSION_ENDED, EndReason.OPERATOR) == await rotation_
    assert ["a2"] == harness.provider.revoked


async def test_a_refresh_without_claims_judges_nobody(harness: RefreshHarness) -> None:
    """Neither an ID token nor userinfo came: the session goes on, whatever the rule is now."""
    (process,) = harness.processes
    process.client.let_in({"sub": "somebody else"})
    assert isinstance(await process.rotate(await harness.signed_in()), Rotated)
    assert [] == harness.provider.revoked


async def test_new_tokens_do_not_wait_for_a_key_set(
    harness: RefreshHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They exist nowhere else: an ID token that cannot be checked in time is left out."""
    monkeypatch.setattr(rotation, "_KEYS_PATIENCE", 0.01)
    harness.provider.id_token = "hangs"
    outcome = await harness.processes[0].rotate(await harness.signed_in())
    assert isinstance(outcome, Rotated)
    assert ("id-token-1", {"sub": "alice"}) == (
        outcome.found.session.tokens.id_token,
        outcome.found.session.claims,
    )


async def test_a_provider_that_states_no_time_makes_no_call_rotate(harness: RefreshHarness) -> None:
    """Lifetimes of nothing, and below nothing, are used until a backend says 401."""
    harness.provider.lifetime = 0
    outcome = await harness.processes[0].rotate(await harness.signed_in())
    assert isinstance(outcome, Rotated)
    tokens = outcome.found.session.tokens
    assert tokens.access_expires_at == tokens.obtained_at
