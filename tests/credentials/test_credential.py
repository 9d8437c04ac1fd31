"""The credential of a call: with a session in memory, or of a token alone, whose user limits name."""

import math
from types import SimpleNamespace
from typing import Any

import pytest

from bff.credentials.credential import TokenOnly
from bff.credentials.session_credentials import Credentials
from bff.session.cached_session import CachedSession
from bff.settings.model import RefreshSettings


def holder(**claims: str) -> str | None:
    return TokenOnly("a-token", claims=claims).holder


@pytest.mark.requirement("P-10")
def test_limits_know_a_user_by_issuer_and_sub() -> None:
    """Two issuers may call different people the same; neither uses up the other's limit."""
    alice = holder(iss="https://a.example", sub="alice")
    assert alice == holder(iss="https://a.example", sub="alice", jti="another")
    assert 3 == len(
        {alice, holder(iss="https://b.example", sub="alice"), holder(iss="https://a.example", sub="bob")}
    )
    assert None is holder(iss="https://a.example")


def test_a_sub_of_any_text_has_a_name() -> None:
    """A lone surrogate, which JSON can spell and UTF-8 cannot, is no fault of ours."""
    assert (holder(sub="\ud800") or "").isascii()


class Shut(Credentials):
    """Credentials with a rule that lets nobody in."""

    def quiet(self, cached: CachedSession | None) -> None:
        """Returns None."""


@pytest.mark.requirement("P-07")
def test_no_session_in_memory_goes_past_a_rule() -> None:
    """The short way to a session is for routes that ask nothing: where `quiet` asks more, it is asked."""
    near = SimpleNamespace(near=lambda _: SimpleNamespace(quiet_until=math.inf))
    common: dict[str, Any] = {
        "refresher": None,
        "refresh_settings": RefreshSettings(),
        "clock": lambda: 0.0,
    }
    sessions: Any = SimpleNamespace(nearby=near)
    assert Credentials(sessions=sessions, **common).ready(b"bff=a") is not None
    assert Shut(sessions=sessions, **common).ready(b"bff=a") is None
