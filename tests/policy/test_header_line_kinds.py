"""The kinds of header lines: which may be kept in memory, and how they fare."""

import pytest

from bff.policy.header_line_kinds import CONNECTION, HOST, KEPT, ORIGIN, SINGLE
from bff.policy.header_rules import FROM_BROWSERS
from bff.settings.dropped_headers import TO_BACKEND, row_of


def test_of_the_fields_with_a_meaning_only_those_of_a_host_are_kept() -> None:
    """The line of a cookie, a credential, an address, an id or a length is one client's, or one call's."""
    assert {HOST, ORIGIN, CONNECTION} == {SINGLE[name] for name in KEPT if name in SINGLE}


@pytest.mark.requirement("H-15")
@pytest.mark.parametrize("name", sorted(KEPT))
def test_the_fields_of_blocks_fare_alike_at_all_routes(name: bytes) -> None:
    """Each passes at any route or at none: so a route that sets fields of its own need not look for it."""
    assert name in FROM_BROWSERS or row_of(TO_BACKEND, name.decode()) is not None
