"""The token endpoint's answer."""

import math
from typing import Any

import pytest

from bff.oidc.tokens import MAX_LIFETIME, TokenAnswerError, parse_token_answer
from bff.session.model import Tokens

NOW = 1000.0
GOOD = {"access_token": "a", "token_type": "Bearer"}
FORMER = Tokens("old", 1.0, 2.0, "old-refresh", 3.0, "old-id", "s1")


def test_a_full_answer() -> None:
    """Lifetimes count from when the request was sent."""
    answer = parse_token_answer(
        {
            "access_token": "a",
            "token_type": "bEARER",
            "expires_in": 60,
            "refresh_token": "r",
            "refresh_expires_in": "3600",
            "id_token": "i",
            "scope": "openid",
        },
        NOW,
    )
    assert Tokens("a", 1000.0, 1060.0, "r", 4600.0, "i", "openid") == answer.tokens()


@pytest.mark.requirement("T-06")
def test_what_a_refresh_leaves_out_stays_as_it_was() -> None:
    """Refresh token, its end, ID token and scope are kept."""
    answer = parse_token_answer(GOOD | {"expires_in": 60}, NOW)
    assert Tokens("a", 1000.0, 1060.0, "old-refresh", 3.0, "old-id", "s1") == answer.tokens(FORMER)


def test_an_answer_to_a_refresh_is_not_thrown_away_for_little() -> None:
    """Its refresh token exists nowhere else: a missing type, and a malformed ID token, are left out."""
    answer = parse_token_answer(
        {"access_token": "a", "refresh_token": "new", "id_token": "\x00"}, NOW, refreshed=True
    )
    assert Tokens("a", NOW, None, "new", None, "old-id", "s1") == answer.tokens(FORMER)
    with pytest.raises(TokenAnswerError):
        parse_token_answer({"access_token": "a", "token_type": "DPoP"}, NOW, refreshed=True)


def test_a_rotated_refresh_token_does_not_inherit_the_former_end() -> None:
    """A new token's end is what is stated for it, or unknown."""
    answer = parse_token_answer(GOOD | {"refresh_token": "new"}, NOW)
    assert answer.tokens(FORMER).refresh_expires_at is None
    assert answer.tokens(FORMER).refresh_token == "new"


def test_an_answer_says_little() -> None:
    """Only an access token and its type are needed."""
    assert Tokens("a", NOW, None) == parse_token_answer(GOOD, NOW).tokens()


@pytest.mark.parametrize(
    ("seconds", "stated"),
    [
        (60.0, 60),
        (60.0, "60"),
        (1.5, 1.5),
        (0.0, 0),
        (0.0, -5),
        (MAX_LIFETIME, 1e300),
        (MAX_LIFETIME, 10**400),
        (None, None),
        (None, True),
        (None, "soon"),
        (None, "\u0661"),
        (None, "9" * 13),
        (None, math.nan),
        (None, math.inf),
        (None, [60]),
    ],
)
def test_lifetimes(seconds: float | None, stated: Any) -> None:
    """A number or digits count; what cannot be read counts as not stated, and the answer as good."""
    answer = parse_token_answer(GOOD | {"expires_in": stated}, NOW)
    assert (None if seconds is None else NOW + seconds) == answer.access_expires_at


@pytest.mark.requirement("B-16")
@pytest.mark.parametrize(
    ("ends", "members", "configured"),
    [
        (None, {}, None),
        (1050.0, {"refresh_token": "r"}, 50.0),
        (1040.0, {"refresh_token": "r", "refresh_expires_in": 40}, 50.0),
        (1050.0, {"refresh_token": "r", "refresh_token_expires_in": 60}, 50.0),
        (1030.0, {"refresh_token": "r", "refresh_token_expires_in": 60, "refresh_expires_in": 30}, None),
        (None, {"refresh_token": "r", "refresh_expires_in": 0}, None),
        (None, {}, 50.0),
    ],
)
def test_the_end_of_a_refresh_token(
    ends: float | None, members: dict[str, Any], configured: float | None
) -> None:
    """The earliest of what is stated and configured; 0 states nothing, as Keycloak means it."""
    answer = parse_token_answer(GOOD | members, NOW, refresh_lifetime=configured)
    assert ends == answer.refresh_expires_at


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "x",
        {},
        {"access_token": "a"},
        {"access_token": "a", "token_type": "DPoP"},
        {"access_token": "a", "token_type": 1},
        {"token_type": "Bearer"},
        GOOD | {"access_token": ""},
        GOOD | {"access_token": 7},
        GOOD | {"access_token": "a b"},
        GOOD | {"access_token": "a\r\nX: y"},
        GOOD | {"access_token": "\u00e4"},
        GOOD | {"access_token": "a" * (128 * 1024 + 1)},
        GOOD | {"refresh_token": ["r"]},
        GOOD | {"id_token": "\x00"},
    ],
)
def test_an_answer_without_a_bearer_token_is_none(document: Any) -> None:
    """No token that could break out of a header, and none of another kind, is kept."""
    with pytest.raises(TokenAnswerError):
        parse_token_answer(document, NOW)


@pytest.mark.requirement("B-24")
def test_an_answer_hides_its_tokens() -> None:
    """Its repr holds none."""
    answer = parse_token_answer(
        GOOD | {"access_token": "s3cr3t", "refresh_token": "s3cr3t", "id_token": "s3cr3t"}, NOW
    )
    assert "s3cr3t" not in repr(answer)


def test_a_scope_that_is_no_text_is_not_stated() -> None:
    """It counts as left out."""
    assert parse_token_answer(GOOD | {"scope": 1}, NOW).scope is None
