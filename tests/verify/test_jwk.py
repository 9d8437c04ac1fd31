"""Which part of a published key is used, and why another key is not."""

from typing import Any

import pytest

from bff.verify.jwk import key_label, public_part

KEY = {"kty": "EC", "crv": "P-256", "x": "eA", "y": "eQ"}


@pytest.mark.parametrize(
    ("expected", "beside"),
    [
        ({}, {}),
        ({"kid": "one", "alg": "ES256", "use": "sig"}, {"kid": "one", "alg": "ES256", "use": "sig"}),
        ({}, {"alg": None, "use": None, "key_ops": None, "x5c": None, "kid": None, "d": None}),
        ({}, {"alg": "", "use": "", "key_ops": [], "x5c": [], "kid": "", "d": ""}),
        ({}, {"key_ops": ["sign", "verify"]}),
        ({}, {"x5c": ["MIIB"], "x5u": "https://evil.example", "jku": "https://evil.example", "ext": True}),
        ({"x": "eHg", "y": "eXl5"}, {"x": "eHg=", "y": "eXl5"}),
        ({"n": "AQ", "e": "AQAB", "kty": "RSA"}, {"kty": "RSA", "n": "AQ==", "e": "AQAB"}),
    ],
)
def test_what_is_taken_of_a_key(expected: dict[str, Any], beside: dict[str, Any]) -> None:
    """The public members with a meaning: what says nothing counts as absent, and padding is dropped."""
    assert KEY | expected == public_part(KEY | beside)


@pytest.mark.parametrize(
    ("reason", "data"),
    [
        ("is private or symmetric", KEY | {"d": "ZA"}),
        ("is private or symmetric", {"kty": "oct", "k": "aw"}),
        ("is for another use", KEY | {"use": "enc"}),
        ("is for another use", KEY | {"use": ["sig"]}),
        ("is for other operations", KEY | {"key_ops": ["sign"]}),
        ("is for other operations", KEY | {"key_ops": "verify"}),
        ("is no JSON object", ["EC"]),
        ("is no JSON object", None),
    ],
)
def test_why_a_key_is_not_used(reason: str, data: Any) -> None:
    """Its reason is for the log, and names no value of the key."""
    assert reason == public_part(data)


@pytest.mark.parametrize(
    ("expected", "data"),
    [
        ("key 2 (one)", {"kid": "one"}),
        ("key 2 (" + "k" * 64 + ")", {"kid": "k" * 64}),
        ("key 2", {"kid": "k" * 65}),
        ("key 2", {"kid": "a\nb"}),
        ("key 2", {"kid": "ä"}),
        ("key 2", {"kid": ""}),
        ("key 2", {"kid": 5}),
        ("key 2", "one"),
    ],
)
def test_what_a_log_calls_a_key(expected: str, data: Any) -> None:
    """A name that is short and printable, or its place alone."""
    assert expected == key_label(data, 2)
