"""What `bff check` says of the clocks."""

from email.utils import formatdate

import pytest

from bff.serve.provider_clock_check import compare_clocks
from bff.settings.model import ProviderSettings

NOW = 1_800_000_000.0


def found(headers: dict[str, str], skew: float = 30.0) -> list[str]:
    """The findings, each of which is advice."""
    settings = ProviderSettings(issuer="https://id.example", client_id="spa", clock_skew=skew)
    checks = compare_clocks(headers, settings, NOW)
    assert all(check.ok and check.fix for check in checks)
    return [check.detail for check in checks]


@pytest.mark.parametrize(
    ("seconds", "age", "skew", "expected"),
    [
        (0, "", 30, []),
        (30, "", 30, []),
        (-30, "", 30, []),
        (31, "", 30, ["this clock is 31 s behind the provider's"]),
        (-600, "", 30, ["this clock is 600 s ahead of the provider's"]),
        (-600, "590", 30, []),
        (-600, "x", 30, ["this clock is 600 s ahead of the provider's"]),
        (15, "", 0, []),
        (16, "", 0, ["this clock is 16 s behind the provider's"]),
        (200, "", 300, []),
    ],
)
def test_clocks_that_differ_are_named(seconds: float, age: str, skew: float, expected: list[str]) -> None:
    """Beyond `clock_skew`, and beyond the time that an answer may take; the age of a cached one counts."""
    assert expected == found({"date": formatdate(NOW + seconds, usegmt=True), "age": age}, skew)


@pytest.mark.parametrize(
    "headers", [{}, {"date": ""}, {"date": "yesterday"}, {"date": "Mon, 99 Jan 2024 00:00:00 GMT"}]
)
def test_no_date_is_no_finding(headers: dict[str, str]) -> None:
    """A missing or unreadable Date says nothing."""
    assert [] == found(headers)
