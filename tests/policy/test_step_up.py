"""The demand for another sign-in: read from a backend's challenge, asked for, and met."""

import math
from typing import Any

import pytest

from bff.policy.step_up import Demand, challenged

ERROR = b'Bearer error="insufficient_user_authentication"'


@pytest.mark.requirement("P-06")
@pytest.mark.parametrize(
    ("expected", "value"),
    [
        (Demand(("a", "b"), 60), ERROR + b', acr_values="a b", max_age="60"'),
        (Demand(("a",)), ERROR + b", acr_values=a"),
        (Demand((), 0), b"DPoP " + ERROR[7:] + b", max_age=0"),
        (None, ERROR),
        (None, ERROR + b', acr_values=" "'),
        (None, ERROR + b", max_age=1234567890"),
        (None, ERROR + b", max_age=-1"),
        (None, b'Bearer error="invalid_token", max_age=5'),
        (None, b'Bearer error_description="insufficient_user_authentication", max_age=5'),
    ],
)
def test_a_challenge(expected: Demand | None, value: bytes) -> None:
    """RFC 9470 3: what it asks for, in both spellings; nothing where it asks for nothing."""
    assert expected == challenged([(b"x", ERROR), (b"www-authenticate", value)])


@pytest.mark.parametrize(
    ("expected", "demand", "claims"),
    [
        (math.inf, Demand(("a",)), {"acr": "a"}),
        (-math.inf, Demand(("a",)), {"acr": "b"}),
        (-math.inf, Demand(("a",)), {}),
        (160, Demand((), 60), {"auth_time": 100}),
        (160, Demand(("a",), 60), {"auth_time": 100, "acr": "a"}),
        (-math.inf, Demand((), 60), {"auth_time": "100"}),
        (-math.inf, Demand((), 60), {"auth_time": True}),
        (-math.inf, Demand((), 60), {"auth_time": math.nan}),
        (-math.inf, Demand((), 60), {"auth_time": 10**400}),
        (-math.inf, Demand((), 60), {}),
    ],
)
def test_until_when_a_sign_in_does(expected: float, demand: Demand, claims: dict[str, Any]) -> None:
    """A claim that is not told meets nothing."""
    assert expected == demand.met_until(claims)


def test_how_it_is_asked_for() -> None:
    """By the parameters of the sign-in, where these may be sent at all."""
    demand = Demand(("urn:x:mfa", "b&c"), 60)
    assert "step_up=1&acr_values=urn%3Ax%3Amfa+b%26c&max_age=60" == demand.query()
    assert demand.can_be_asked(("acr_values", "max_age"))
    assert not demand.can_be_asked(("max_age",))
    assert not demand.can_be_asked(("acr_values",))
    assert "step_up=1" == Demand().query()
    assert Demand().can_be_asked(())
