"""A refusal that repeats, and the names of what went wrong."""

from typing import get_args

import pytest

from bff.errors import Problem, ProviderUnavailableError
from bff.oidc.http import AnswerLateError, AnswerLostError
from bff.oidc.token_errors import BusyError, ClientRefusedError, FailedError, GrantRefusedError, PassingError
from bff.refresh import Deferred, Over, Rotated
from bff.refresh.outcome import Why
from bff.refresh.rotation_context import why_put_off
from bff.session.model import EndReason
from bff.session.sessions import NoSession
from tests.refresh.harness import RefreshHarness
from tests.support.wait import until


@pytest.mark.requirement("T-16")
async def test_a_refusal_that_repeats_ends_the_session(harness: RefreshHarness) -> None:
    """By its name, and the other session's tokens rotate before and after."""
    (process,) = harness.processes
    found, other = await harness.signed_in(), await harness.signed_in()
    for _ in range(2):
        process.client.plan = ["refused"]
        outcome = await process.rotate(found)
        assert isinstance(outcome, Deferred)
        assert "grant_refused" == outcome.why
        harness.now += 6
    process.client.plan = ["refused"]
    assert Over(Problem.SESSION_ENDED, EndReason.REFRESH_REFUSED) == await process.rotate(found)
    assert NoSession(Problem.SESSION_ENDED, EndReason.REFRESH_REFUSED) == await process.standing(found)
    assert isinstance(await process.rotate(other), Rotated)
    assert {} == process.incidents()


@pytest.mark.requirement("T-16")
async def test_nobody_is_signed_out_while_nobody_waits(harness: RefreshHarness) -> None:
    """A rotation in the background is refused, again and again: the token at hand serves to its end."""
    (process,) = harness.processes
    found = await harness.signed_in()
    for number in range(1, 6):
        process.client.plan = ["refused"]
        process.refresher.ahead(found)
        await until(lambda number=number: number == len(harness.provider.sent))  # type: ignore[misc] # binds this turn's
        await until(lambda: not process.refresher._flights)
        harness.now += 6
    assert not isinstance(await process.standing(found), NoSession)
    process.client.plan = ["refused"]
    assert Over(Problem.SESSION_ENDED, EndReason.REFRESH_REFUSED) == await process.rotate(found)


@pytest.mark.requirement("T-09")
async def test_one_that_may_have_been_spent_ends_as_lost(harness: RefreshHarness) -> None:
    """An answer got lost before: the provider may have taken the token for stolen since."""
    (process,) = harness.processes
    found = await harness.signed_in()
    process.client.plan = ["lost", "lost"]
    outcome = await process.rotate(found)
    for _ in range(3):
        assert isinstance(outcome, Deferred)
        harness.now += 6
        process.client.plan = ["refused"]
        outcome = await process.rotate(found)
    assert Over(Problem.SESSION_ENDED, EndReason.REFRESH_LOST) == outcome
    assert 1.0 == process.incidents()["reuse_suspected"]


NAMES: dict[str, ProviderUnavailableError] = {
    "provider_unreachable": ProviderUnavailableError("x"),
    "provider_busy": BusyError("x", 7.0),
    "provider_refused": ClientRefusedError("x"),
    "grant_refused": GrantRefusedError("x"),
    "answer_lost": AnswerLostError("x"),
    "answer_late": AnswerLateError("x"),
    "provider_error": FailedError("x"),
}


@pytest.mark.parametrize(
    ("expected", "failure"),
    [
        *NAMES.items(),
        ("provider_error", AnswerLostError("x", status=500)),
        ("provider_error", AnswerLateError("x", status=504)),
        ("grant_refused", PassingError("x")),
    ],
)
def test_the_audit_log_names_what_went_wrong(expected: str, failure: ProviderUnavailableError) -> None:
    """A provider's own trouble does not read like a refused client."""
    assert expected == why_put_off(failure)
    assert expected in get_args(Why)
