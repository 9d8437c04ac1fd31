"""Quotas, and the header fields that tell a client of them."""

import pytest
from pydantic import TypeAdapter, ValidationError

from bff.policy.quota import Limited, Quota
from bff.policy.rate_limiter import RateLimiter
from bff.settings.value_types import Frequency, Rate

pytestmark = pytest.mark.requirement("S-08")


@pytest.mark.parametrize(
    ("limited", "policy", "state"),
    [
        (Limited(Quota("login", 60, 60.0), 0.2), b'"login";q=60;w=60', b'"login";r=0;t=1'),
        (Limited(Quota("session:/api", 5, 3600.0), 719.1), b'"session:/api";q=5;w=3600', b"r=0;t=720"),
        (Limited(Quota('a"b\\c', 1, 1.5), 1.0), b'"a\\"b\\\\c";q=1;w=2', b'"a\\"b\\\\c";r=0;t=1'),
    ],
)
def test_the_fields_are_structured(limited: Limited, policy: bytes, state: bytes) -> None:
    """A quoted name, the quota, its window and the time to wait, in whole seconds (RFC 9651)."""
    fields = dict(limited.fields())
    assert {b"ratelimit-policy", b"ratelimit"} == set(fields)
    assert policy == fields[b"ratelimit-policy"]
    assert fields[b"ratelimit"].endswith(state)


def test_a_process_keeps_a_quota_by_itself() -> None:
    """All of it at once, then one for each interval, for windows of any length."""
    limiter = RateLimiter.of(Quota("x", 3, 30.0))
    assert [None, None, None, 10.0] == [limiter.allow("a", 0.0) for _ in range(4)]
    rare = RateLimiter.of(Quota("x", 1, 3600.0))
    assert [None, 3600.0] == [rare.allow("a", 0.0) for _ in range(2)]


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("600/m", Rate(600, 60.0)),
        ("20/s", Rate(20, 1.0)),
        ("5/10m", Rate(5, 600.0)),
        (" 1 / 1.5 h ", Rate(1, 5400.0)),
        ("1/1d", Rate(1, 86400.0)),
    ],
)
def test_a_rate_is_read(text: str, rate: Rate) -> None:
    """So many times within a second, a minute, an hour, or several of them."""
    assert rate == TypeAdapter(Frequency).validate_python(text)


@pytest.mark.parametrize(
    "text", ["", "600", "m", "0/s", "1000001/s", "1/0.5s", "1/2d", "-1/s", "5/m/s", "²/s"]
)
def test_other_rates_are_refused(text: str) -> None:
    """What is no rate, or none that can be counted."""
    with pytest.raises(ValidationError):
        TypeAdapter(Frequency).validate_python(text)


def test_a_quota_is_a_setting_with_a_name() -> None:
    """Of "600/m"."""
    assert Quota("login", 600, 60.0) == Quota.of("login", Rate(600, 60.0))
