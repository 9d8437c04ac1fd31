"""A browser's proofs of its device: those that count, and the many that do not."""

import base64
import json
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey

from bff.policy.device_binding import (
    MAX_PROOF,
    ProofRefusedError,
    challenge_for,
    instructions,
    over,
    parse_proof,
    registration,
    verify,
)
from tests.support.device import new_key, public, signed
from tests.support.keys import rsa_key

pytestmark = pytest.mark.requirement("P-12")
URL = "https://app.example/bff/dbsc/refresh"
KEY = new_key()
RSA = rsa_key()
JWK = public(KEY)


def text(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def raw(header: Any, payload: Any) -> str:
    """A token with any header and payload, and a signature that is none."""
    return f"{text(header)}.{text(payload)}.{'A' * 86}"


def refused(token: str, *, key: str | None = None, url: str = URL) -> str:
    try:
        proof = parse_proof(token)
        verify(proof, key or proof.key or "{}", url)
    except ProofRefusedError as why:
        return why.reason
    raise AssertionError("it was taken")


@pytest.mark.parametrize(("key", "alg"), [(KEY, "ES256"), (RSA, "RS256")])
@pytest.mark.parametrize("claims", [{}, {"aud": URL}, {"iat": 1, "sub": "anything"}])
def test_a_good_proof(key: ECKey | RSAKey, alg: str, claims: dict[str, Any]) -> None:
    """As Chromium sends it, alone or as a structured field; the key in its header is the key of the next."""
    token = signed(key, "the-challenge", alg=alg, header={"jwk": public(key)}, **claims)
    for spelled in (token, f'"{token}"', f" {token} "):
        proof = parse_proof(spelled)
        assert ("the-challenge", alg) == (proof.challenge, proof.alg)
        assert proof.key is not None
        verify(proof, proof.key, URL)
        later = parse_proof(signed(key, "another", alg=alg, **claims))
        assert later.key is None
        verify(later, proof.key, URL)
        assert set(public(key)) == set(json.loads(proof.key))


def test_the_key_is_named_by_what_it_is_alone() -> None:
    """Further members of the header's key are not kept, and their order does not matter."""
    keys = [{**JWK, "kid": "x", "ext": True}, dict(reversed(JWK.items()))]
    proofs = [parse_proof(signed(KEY, "c", header={"jwk": each})) for each in keys]
    assert proofs[0].key == proofs[1].key


HEAD = {"alg": "ES256", "typ": "dbsc+jwt"}


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b.c",
        "é" * 10,
        signed(KEY, "c", pad="x" * MAX_PROOF),
        raw(HEAD, {"jti": 7}),
        raw(HEAD, {}),
        raw(HEAD, ["jti"]),
        raw({**HEAD, "typ": "JWT"}, {"jti": "c"}),
        raw({"alg": "ES256"}, {"jti": "c"}),
        raw({**HEAD, "crit": ["x"]}, {"jti": "c"}),
        raw([HEAD], {"jti": "c"}),
        f"{text(HEAD)}.{'[' * 2000}.x",
    ],
)
def test_what_is_no_proof(token: str) -> None:
    assert "malformed" == refused(token)


@pytest.mark.parametrize("alg", ["none", "HS256", "ES384", "EdDSA", "", None, ["ES256"]])
def test_another_algorithm(alg: Any) -> None:
    """None without a signature, and none with a shared secret, made of the public key or not."""
    assert refused(raw({**HEAD, "alg": alg}, {"jti": "c"})) in {"algorithm", "malformed"}
    secret = OctKey.import_key(json.dumps(JWK))
    if alg == "HS256":
        assert "algorithm" == refused(signed(secret, "c", alg="HS256", header={"jwk": JWK}))


@pytest.mark.parametrize(
    "jwk",
    [
        {},
        public(RSA),
        {**JWK, "d": JWK["x"]},
        {**JWK, "crv": "P-384"},
        {**JWK, "x": 7},
        {**JWK, "x": "é"},
        {name: value for name, value in JWK.items() if name != "y"},
        {**JWK, "y": JWK["x"]},
        {**JWK, "kty": "oct"},
    ],
)
def test_a_key_that_is_none(jwk: Any) -> None:
    """Of another type or curve, private, not whole, or off the curve."""
    assert "key" == refused(raw({**HEAD, "jwk": jwk}, {"jti": "c"}))


@pytest.mark.parametrize("jwk", [None, "key", [JWK], 7])
def test_a_key_of_another_shape(jwk: Any) -> None:
    """It is refused before anybody reads it."""
    assert refused(raw({**HEAD, "jwk": jwk}, {"jti": "c"})) in {"key", "malformed"}


@pytest.mark.parametrize("digits", [100, 341, 1025])
def test_a_key_of_a_wrong_size(digits: int) -> None:
    """A small one can be broken, a huge one takes long to check."""
    header = {**HEAD, "alg": "RS256", "jwk": {"kty": "RSA", "e": "AQAB", "n": "x" * digits}}
    assert "key" == refused(raw(header, {"jti": "c"}))


def test_another_signature() -> None:
    """Of another key, of another algorithm's key, cut, or of another payload."""
    mine = parse_proof(signed(KEY, "c", header={"jwk": JWK})).key
    assert mine is not None
    assert "signature" == refused(signed(new_key(), "c"), key=mine)
    assert "key" == refused(signed(RSA, "c", alg="RS256"), key=mine)
    token = signed(KEY, "c")
    head, _, signature = token.split(".")
    assert "signature" == refused(f"{head}.{text({'jti': 'd'})}.{signature}", key=mine)
    assert refused(token[:-10], key=mine) in {"signature", "malformed"}


@pytest.mark.parametrize("aud", ["https://evil.example/", [URL], 7, ""])
def test_another_audience(aud: Any) -> None:
    """Where a proof names one it is this endpoint."""
    assert "audience" == refused(signed(KEY, "c", header={"jwk": JWK}, aud=aud))


def test_the_words_of_the_answers() -> None:
    """The invitation, the next challenge, the description of a session, and its end."""
    assert '(ES256 RS256);path="/x/register";challenge="c"' == registration("/x/register", "c")
    assert '"c";id="s"' == challenge_for("s", "c")
    assert {"session_identifier": "s", "continue": False} == over("s")
    told = instructions(
        "s", origin="https://[::1]:8443", base_path="/x", cookie="name", attributes="Path=/; Secure"
    )
    assert ("s", "/x/bff/dbsc/refresh") == (told["session_identifier"], told["refresh_url"])
    assert [{"type": "cookie", "name": "name", "attributes": "Path=/; Secure"}] == told["credentials"]
    assert ("https://[::1]:8443", False) == (told["scope"]["origin"], told["scope"]["include_site"])
    rule = {"type": "exclude", "domain": "::1", "path": "/x/bff/dbsc/"}
    assert [rule] == told["scope"]["scope_specification"]
