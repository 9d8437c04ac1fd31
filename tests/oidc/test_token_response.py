"""The token endpoint's answer."""

import base64
import json
import math
from typing import Any

import pytest

from bff.oidc.token_response import (
    MAX_LIFETIME,
    TokenAnswerError,
    names_other_certificate,
    parse_token_answer,
)
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
    kept = Tokens("a", 1000.0, 1060.0, "old-refresh", 3.0, "old-id", "s1", refresh_end_moves=False)
    assert kept == answer.tokens(FORMER)


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


def jwt(**claims: Any) -> str:
    """A token that can be read; nobody checks its signature here."""
    return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.c2ln"


@pytest.mark.requirement("T-19")
@pytest.mark.parametrize(
    ("expected", "token", "expires_in"),
    [
        (1004.0, jwt(iat=1000, exp=1005), 4),
        (1005.0, jwt(iat=1000, exp=1005), 5.9),  # whole seconds: it ends before `expires_in` is over
        (1060.0, jwt(exp=1060), 3600),
        (1060.0, jwt(exp=1060), None),
        (1060.5, jwt(exp=1060.5), 0),
        (1060.0, jwt(exp=5000), 60),
        (1300.0, jwt(iat=500, exp=800), None),  # another clock than ours: the life counts
        (1060.0, jwt(iat=5000, exp=5300), 60),
        (1060.0, jwt(exp=999), 60),  # over as it comes: each call would rotate
        (None, jwt(exp=999), None),
        (None, jwt(), None),
        (None, jwt(exp="soon"), None),
        (None, jwt(exp=True), None),
        (None, jwt(exp=1e300), None),
        (None, "e30.WzFd.c2ln", None),  # a list
        (None, "e30.!!!.c2ln", None),
        (None, "e30./w.c2ln", None),  # no UTF-8
        (None, "e30.a.b.c.d", None),  # sealed: RFC 7516
        (None, "opaque", None),
    ],
)
def test_a_jwt_ends_by_its_own_word_too(expected: float | None, token: str, expires_in: float | None) -> None:
    """The end is the earlier one of `expires_in` and of the token's `exp`, where that can be read."""
    document = GOOD | {"access_token": token} | ({} if expires_in is None else {"expires_in": expires_in})
    assert expected == parse_token_answer(document, NOW).access_expires_at


@pytest.mark.requirement("T-18")
@pytest.mark.parametrize(
    ("expected", "former_end", "end", "before"),
    [
        (True, 1060.0, 1100.0, True),  # a minute more with each rotation
        (True, 1060.0, 1099.0, True),  # in whole seconds
        (False, 1060.0, 1060.0, True),  # the end of the whole sign-in
        (False, 1060.0, 1061.0, True),
        (True, 1060.0, 1100.0, False),
        (True, None, 1100.0, True),
        (False, 1060.0, None, True),  # no new token came: the former one's end
        (True, 4600.0, 1080.0, True),  # the provider has shortened its lifetimes
        (False, 4600.0, 1080.0, False),
    ],
)
def test_whether_a_rotation_moves_the_refresh_tokens_end(
    expected: bool, former_end: float | None, end: float | None, before: bool
) -> None:
    """An end that stays where it is when tokens are rotated is no reason to rotate."""
    former = Tokens("a", NOW - 40, None, "r", former_end, refresh_end_moves=before)
    document = GOOD if end is None else GOOD | {"refresh_token": "r2", "refresh_expires_in": end - NOW}
    assert expected == parse_token_answer(document, NOW).tokens(former).refresh_end_moves


@pytest.mark.parametrize("before", [True, False])
def test_two_rotations_at_once_tell_nothing_of_an_end(before: bool) -> None:
    """Too little time has passed to see it move."""
    former = Tokens("a", NOW - 1.5, None, "r", NOW + 60, refresh_end_moves=before)
    answer = parse_token_answer(GOOD | {"refresh_token": "r2", "refresh_expires_in": 60}, NOW)
    assert before == answer.tokens(former).refresh_end_moves


@pytest.mark.requirement("P-04")
@pytest.mark.parametrize(
    ("expected", "claims"),
    [
        (True, {"sub": "alice"}),
        (True, {"sub": "alice", "cnf": {"jkt": "x"}}),
        (True, {"sub": "alice", "cnf": "x5t#S256"}),
        (True, {"sub": "alice", "cnf": {"x5t#S256": "z"}}),
        (True, {"sub": "alice", "cnf": {"x5t#S256": ["x"]}}),
        (False, {"sub": "alice", "cnf": {"x5t#S256": "x"}}),
        (False, {}),
        (False, None),
    ],
)
def test_a_token_that_is_bound_to_no_certificate_of_ours(
    *, expected: bool, claims: dict[str, Any] | None
) -> None:
    """By its own word alone: an opaque token does not say (RFC 8705 3.1)."""
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    assert expected is names_other_certificate(
        "opaque" if claims is None else f"e30.{payload}.c2ln", {"x", "y"}
    )
