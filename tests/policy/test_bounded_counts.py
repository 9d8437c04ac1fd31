"""The counts of things under way at once (H-12)."""

from contextlib import suppress

import pytest

from bff.policy.bounded_counts import Counts


@pytest.mark.requirement("H-12")
def test_a_count_is_given_back() -> None:
    """So many at once for each key, and nothing is kept of a key that has none."""
    counts = Counts(2)
    assert [True, True, False] == [counts.enter("a") for _ in range(3)]
    assert counts.enter("b")
    counts.leave("a")
    assert [True, False] == [counts.enter("a") for _ in range(2)]
    for key in "aab":
        counts.leave(key)
    assert 0 == len(counts)


@pytest.mark.requirement("H-12")
def test_a_block_holds_a_place() -> None:
    """The place is given back at the end, after an error too; a block without one gives nothing back."""
    counts = Counts(1)
    with suppress(LookupError), counts.holding("a") as entered:
        assert entered
        with counts.holding("a") as twice:
            assert not twice
        assert not counts.enter("a")
        raise LookupError
    assert 0 == len(counts)
