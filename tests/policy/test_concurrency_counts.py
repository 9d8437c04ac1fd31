"""The counts of things under way at once (H-12)."""

import pytest

from bff.policy.concurrency_counts import Counts


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
