"""The token of a call without a session, and the name by which limits count its user."""

import pytest

from bff.credentials.credential import TokenOnly


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
