"""The logout token: each way in which it can be bad."""

from base64 import urlsafe_b64encode
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from bff.oidc.logout_token import (
    EVENT,
    MAX_AGE,
    ProviderLogout,
    validate_logout_token,
)
from bff.oidc.signed_event import SignedEventRejectedError, stated_issuer
from tests.support.keys import rsa_key

ISSUER, CLIENT, NOW, SKEW = "https://id.example", "spa-bff", 1_800_000_000.0, 30.0
KEY = rsa_key({"kid": "one"})
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": CLIENT,
    "iat": NOW - 1,
    "exp": NOW + 120,
    "jti": "the-jti",
    "events": {EVENT: {}},
    "sub": "alice",
    "sid": "the-sid",
}


def token(header: dict[str, Any] | None = None, key: Any = KEY, **changes: Any) -> str:
    claims = {name: value for name, value in (CLAIMS | changes).items() if value is not None}
    whole = {"alg": "RS256", "kid": "one", "typ": "logout+jwt"} | (header or {})
    whole = {name: value for name, value in whole.items() if value is not None}
    return jwt.encode(whole, claims, key, [whole["alg"]])


def read(text: str) -> ProviderLogout:
    return validate_logout_token(
        text, [KEY], issuer=ISSUER, client_id=CLIENT, algs=("RS256", "ES256"), clock_skew=SKEW, now=NOW
    )


def read_lax(text: str) -> ProviderLogout:
    return validate_logout_token(
        text,
        [KEY],
        issuer=ISSUER,
        client_id=CLIENT,
        algs=("RS256",),
        clock_skew=SKEW,
        now=NOW,
        exp_required=False,
    )


def reason(text: str) -> str:
    with pytest.raises(SignedEventRejectedError) as caught:
        read(text)
    return caught.value.reason


@pytest.mark.requirement("L-04")
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ProviderLogout("the-jti", "alice", "the-sid")),
        ({"sid": None}, ProviderLogout("the-jti", "alice", None)),
        ({"sub": None}, ProviderLogout("the-jti", None, "the-sid")),
        ({"aud": ["other", CLIENT]}, ProviderLogout("the-jti", "alice", "the-sid")),
        ({"iat": NOW + SKEW, "exp": NOW - SKEW + 1}, ProviderLogout("the-jti", "alice", "the-sid")),
        ({"iat": NOW - MAX_AGE - SKEW + 1}, ProviderLogout("the-jti", "alice", "the-sid")),
    ],
)
def test_a_good_token_says_who(changes: dict[str, Any], expected: ProviderLogout) -> None:
    """By `sid`, by `sub`, or by both; clocks may differ by the skew."""
    assert expected == read(token(**changes))


@pytest.mark.requirement("L-04")
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"iss": "https://evil.example"}, "iss"),
        ({"iss": None}, "iss"),
        ({"aud": "another"}, "aud"),
        ({"aud": None}, "aud"),
        ({"iat": None}, "iat"),
        ({"iat": NOW + SKEW + 1}, "iat"),
        ({"iat": NOW - MAX_AGE - SKEW}, "iat"),
        ({"iat": True}, "iat"),
        ({"exp": None}, "exp"),
        ({"exp": NOW - SKEW}, "exp"),
        ({"jti": None}, "jti"),
        ({"jti": 7}, "jti"),
        ({"jti": ""}, "jti"),
        ({"events": None}, "events"),
        ({"events": [EVENT]}, "events"),
        ({"events": {}}, "events"),
        ({"events": {EVENT: None}}, "events"),
        ({"events": {"http://schemas.example/other": {}}}, "events"),
        ({"nonce": "n"}, "nonce"),
        ({"sub": None, "sid": None}, "subject"),
        ({"sub": 7}, "subject"),
        ({"sid": ["the-sid"]}, "subject"),
        ({"sid": "line\nbreak"}, "subject"),
        ({"sub": ""}, "subject"),
    ],
)
def test_a_bad_claim_is_refused(changes: dict[str, Any], expected: str) -> None:
    """Each claim of Back-Channel Logout 1.0, 2.4 and 2.6."""
    assert expected == reason(token(**changes))


@pytest.mark.requirement("L-04")
@pytest.mark.parametrize(
    ("typ", "expected"),
    [("JWT", None), (None, None), ("application/logout+jwt", None), ("Logout+JWT", None)]
    + [(typ, "typ") for typ in ("at+jwt", "dpop+jwt", "secevent+jwt", "id_token")],
)
def test_its_type_is_its_own_or_none(typ: Any, expected: str | None) -> None:
    """Where `typ` is there it says logout token, or nothing in particular."""
    text = token({"typ": typ})
    if expected is None:
        assert "the-jti" == read(text).jti
    else:
        assert expected == reason(text)


@pytest.mark.requirement("L-04")
def test_exp_may_be_missing_where_the_settings_say_so() -> None:
    """Only missing: an `exp` that has passed or is no time is refused all the same, and `iat` counts."""
    assert ProviderLogout("the-jti", "alice", "the-sid") == read_lax(token(exp=None))
    for changes in ({"exp": NOW - 120}, {"exp": "soon"}, {"exp": None, "iat": NOW - MAX_AGE - 60}):
        with pytest.raises(SignedEventRejectedError):
            read_lax(token(**changes))


@pytest.mark.requirement("L-04")
def test_only_the_provider_signs_it() -> None:
    """Another key, a tampered payload, HMAC, `none` and nonsense are refused before a claim is looked at."""
    other = rsa_key({"kid": "one"}, number=1)
    assert "signature" == reason(token(key=other))
    assert "unknown_key" == reason(token({"kid": "two"}))
    assert "unknown_key" == reason(token({"alg": "ES256"}, key=ECKey.generate_key("P-256")))
    assert "signature" == reason(token({"alg": "HS256"}, key=OctKey.generate_key(256)))
    head, payload, signature = token().split(".")
    assert "signature" == reason(f"{head}.{token(sub='bob').split('.')[1]}.{signature}")
    for text in ("", "a.b.c", f"eyJhbGciOiJub25lIn0.{payload}.", head):
        assert "signature" == reason(text)


@pytest.mark.parametrize(
    ("payload", "issuer"),
    [
        (b'{"iss":"https://id.example"}', ISSUER),
        (b'{"iss":7}', None),
        (b"[]", None),
        (b"\xff{", None),
        (b"[" * 5000, None),
    ],
)
def test_the_issuer_that_a_token_states(payload: bytes, issuer: str | None) -> None:
    """Read without any belief in it; anything that is no such token states none."""
    assert issuer == stated_issuer(f"h.{urlsafe_b64encode(payload).decode().rstrip('=')}.s")


@pytest.mark.parametrize("token", ["", "h", "h.é.s", "h.a.s"])
def test_no_token_states_no_issuer(token: str) -> None:
    """Whatever a stranger sends."""
    assert stated_issuer(token) is None
