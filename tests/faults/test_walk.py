"""A short random walk; `python3 -m tests.tools.soak walk` goes further."""

import time

import pytest

from tests.faults.parties import Person, Signed
from tests.support.processes.fleet import Answered, Member
from tests.support.providers.token_ledger import Family
from tests.tools.soak.walk import walked

SEED = 11
SECONDS = 14.0


@pytest.mark.requirement("T-04", "T-05", "T-10")
async def test_a_walk_breaks_no_invariant() -> None:
    """Sign-ins, calls, rotations, endings, kill -9, lost servers: nobody is lost, nobody comes back."""
    walk = await walked(SEED, SECONDS)
    assert [] == walk.broken, list(walk.steps)
    assert 5 <= walk.counts["token rotated"]  # a slow machine walks slowly
    assert 25 <= walk.counts["status 200"]


def _answered(status: int) -> Answered:
    return Answered(status, "", "", 0.0, 0)


def _signed() -> Signed:
    person = Person("alice")
    person.signed_in(Member("handle", Family("alice", "sid")))
    assert person.now is not None
    return person.now


def test_a_refusal_of_who_is_signed_in_is_a_breach() -> None:
    """One that came before anybody ended the session; a later one is none."""
    signed = _signed()
    assert signed.contradicted_by(_answered(200), 1, 2, lease=2) is None
    assert "401" in (signed.contradicted_by(_answered(401), 3, 4, lease=2) or "")
    signed.leaving_at = 5.0
    assert signed.contradicted_by(_answered(401), 4, 6, lease=2) is None


def test_a_session_that_comes_back_is_a_breach() -> None:
    """Answered 200 later than the lease after its end, or after a 401."""
    signed = _signed()
    signed.leaving_at, signed.over_at = 5.0, 6.0
    assert signed.contradicted_by(_answered(200), 7, 8, lease=2) is None
    assert "after the end" in (signed.contradicted_by(_answered(200), 8.5, 9, lease=2) or "")
    signed.over_at = None
    assert signed.contradicted_by(_answered(401), 9, 10, lease=2) is None
    assert "after a 401" in (signed.contradicted_by(_answered(200), 12.5, 13, lease=2) or "")


def test_who_leaves_is_tried_afterwards() -> None:
    """The last session that is over is called with, until the next sign-in."""
    person = Person("alice")
    assert [] == list(person.tries())
    person.signed_in(Member("one", Family("alice", "sid")))
    gone = person.leaves()
    gone.left(sure=True)
    assert gone.over_at is not None
    assert gone.over_at <= time.monotonic()
    assert ["one"] == [signed.member.handle for signed in person.tries()]
    person.signed_in(Member("two", Family("alice", "sid")))
    assert ["two"] == [signed.member.handle for signed in person.tries()]
