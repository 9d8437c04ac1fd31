"""The security event token: whom each subject means, and each way in which a token can be bad."""

from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from bff.oidc.security_event import (
    MAX_AGE,
    VERIFICATION,
    Expected,
    Signal,
    validate_security_event,
)
from bff.oidc.signed_event import SignedEventRejectedError
from bff.oidc.transmitter import configuration_url
from tests.support.keys import rsa_key

TRANSMITTER, PROVIDER, NOW, SKEW = "https://ssf.example/a", "https://id.example", 1_800_000_000.0, 30.0
KEY = rsa_key({"kid": "one"})
EXPECTED = Expected(TRANSMITTER, ("spa-bff", "https://app.example"), PROVIDER, ("RS256", "HS256"), SKEW)
CAEP = "https://schemas.openid.net/secevent/caep/event-type/"
RISC = "https://schemas.openid.net/secevent/risc/event-type/"
REVOKED, CHANGED, DISABLED = f"{CAEP}session-revoked", f"{CAEP}credential-change", f"{RISC}account-disabled"
ALICE = {"format": "iss_sub", "iss": PROVIDER, "sub": "alice"}
CLAIMS: dict[str, Any] = {
    "iss": TRANSMITTER,
    "aud": ["spa-bff", "another"],
    "iat": NOW - 1,
    "jti": "the-jti",
    "sub_id": ALICE,
    "events": {REVOKED: {"event_timestamp": NOW - 2}},
}


def token(header: dict[str, Any] | None = None, key: Any = KEY, **changes: Any) -> str:
    claims = {name: value for name, value in (CLAIMS | changes).items() if value is not None}
    whole = {"alg": "RS256", "kid": "one", "typ": "secevent+jwt"} | (header or {})
    whole = {name: value for name, value in whole.items() if value is not None}
    return jwt.encode(whole, claims, key, [whole["alg"]])


def read(text: str) -> Signal:
    return validate_security_event(text, [KEY], EXPECTED, NOW)


def session(id_: Any) -> dict[str, Any]:
    return {"format": "opaque", "id": id_}


@pytest.mark.requirement("P-11")
@pytest.mark.parametrize(
    ("subject", "sub", "sid"),
    [
        (ALICE, "alice", None),
        (session("alice"), "alice", None),
        ({"subject_type": "iss-sub", "iss": PROVIDER, "sub": "alice"}, "alice", None),
        ({"format": "aliases", "identifiers": [{"format": "email", "email": "a@x"}, ALICE]}, "alice", None),
        ({"format": "complex", "user": ALICE, "session": session("s1")}, "alice", "s1"),
        ({"user": ALICE, "device": session("d")}, "alice", None),
        ({"user": ALICE, "session": {"format": "jwt_id", "iss": PROVIDER, "jti": "j"}}, "alice", None),
        ({"session": session("s1")}, None, "s1"),
    ],
)
def test_whom_a_subject_means(subject: dict[str, Any], sub: str | None, sid: str | None) -> None:
    """RFC 9493's formats that name a `sub`, SSF's complex subjects, and what older transmitters send."""
    assert Signal("the-jti", "session-revoked", None, sub, sid) == read(token(sub_id=subject))
    within = token(sub_id=None, events={REVOKED: {"subject": subject}})
    assert (sub, sid) == (read(within).sub, read(within).sid)


@pytest.mark.requirement("P-11")
@pytest.mark.parametrize(
    "subject",
    [
        None,
        "alice",
        {},
        {"format": "iss_sub", "iss": "https://another.example", "sub": "alice"},
        {"format": "iss_sub", "iss": PROVIDER, "sub": 1},
        {"format": "email", "email": "alice@example.com"},
        {"format": "email", "id": "alice"},
        {"format": "aliases", "identifiers": "alice"},
        {"format": "aliases", "identifiers": [{"format": "aliases", "identifiers": [ALICE]}, 1]},
        {"format": "complex"},
        {"format": "complex", "device": session("d")},
        {"user": {"format": "email", "email": "alice@example.com"}, "session": session("s1")},
        {"user": "alice", "session": session("s1")},
        {"session": session("")},
        {"session": "s1"},
        session("a\nb"),
    ],
)
def test_nobody_whom_we_could_know(subject: Any) -> None:
    """A subject that is none of ours, or only partly so, ends nothing, and never somebody else's session."""
    assert Signal("the-jti", "session-revoked", "subject") == read(token(sub_id=subject))


@pytest.mark.requirement("P-11")
def test_what_each_event_does() -> None:
    """An account's end is all sessions of the user, whatever session is named; a new credential is none."""
    both = {"user": ALICE, "session": session("s1")}
    assert (None, "alice", None) == _meant(token(sub_id=both, events={DISABLED: {}}))
    assert ("subject", None, None) == _meant(token(sub_id={"session": session("s")}, events={DISABLED: {}}))
    assert (None, "alice", None) == _meant(token(events={CHANGED: {"change_type": "revoke"}}))
    assert ("credential_added", None, None) == _meant(token(events={CHANGED: {"change_type": "create"}}))
    assert ("verification", None, None) == _meant(token(sub_id=None, events={VERIFICATION: {"state": "x"}}))
    assert ("event", None, None) == _meant(token(events={f"{CAEP}assurance-level-change": {}}))


def _meant(text: str) -> tuple[str | None, str | None, str | None]:
    found = read(text)
    return found.ignored, found.sub, found.sid


@pytest.mark.requirement("P-11")
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": PROVIDER}, "iss"),
        ({"iss": None}, "iss"),
        ({"aud": "another"}, "aud"),
        ({"aud": None}, "aud"),
        ({"aud": [["spa-bff"], 1]}, "aud"),
        ({"iat": None}, "iat"),
        ({"iat": NOW + SKEW + 1}, "iat"),
        ({"iat": NOW - MAX_AGE - SKEW - 1}, "iat"),
        ({"exp": NOW - SKEW}, "exp"),
        ({"exp": "soon"}, "exp"),
        ({"jti": None}, "jti"),
        ({"jti": 7}, "jti"),
        ({"events": None}, "events"),
        ({"events": {}}, "events"),
        ({"events": {REVOKED: {}, DISABLED: {}}}, "events"),
        ({"events": {REVOKED: None}}, "events"),
        ({"events": [REVOKED]}, "events"),
    ],
)
def test_claims_that_are_refused(changes: dict[str, Any], reason: str) -> None:
    """Another signer, another receiver, too old or of the future, no name of its own, not one event."""
    assert reason == _reason(token(**changes))


@pytest.mark.requirement("P-11")
def test_signatures_that_are_refused() -> None:
    """No other kind of token, no shared secret, no foreign key, no `none`."""
    for typ in (None, "", "JWT", "logout+jwt", "at+jwt"):
        assert "typ" == _reason(token({"typ": typ}))
    assert "the-jti" == read(token({"typ": "application/SecEvent+JWT"}, exp=NOW + 1, aud="spa-bff")).jti
    stranger = rsa_key({"kid": "one"}, number=1)
    assert ("signature", True) == _rejected(token(key=stranger))
    assert ("unknown_key", True) == _rejected(token({"kid": "two"}))
    assert ("signature", False) == _rejected(token({"alg": "HS256"}, OctKey.import_key("x" * 32)))
    assert ("signature", False) == _rejected("a.b.c")
    assert ("signature", False) == _rejected(token({"jwk": KEY.as_dict(private=False)}))


def _reason(text: str) -> str:
    return _rejected(text)[0]


def _rejected(text: str) -> tuple[str, bool]:
    with pytest.raises(SignedEventRejectedError) as caught:
        read(text)
    return caught.value.reason, caught.value.key_may_be_new


def test_the_configuration_lies_before_the_path() -> None:
    """SSF 1.0, 6.2."""
    assert "https://t.example/.well-known/ssf-configuration" == configuration_url("https://t.example")
    assert "https://t.example/.well-known/ssf-configuration/a/b" == configuration_url(
        "https://t.example/a/b/"
    )
