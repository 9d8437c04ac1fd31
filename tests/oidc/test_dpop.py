"""Proofs of possession (RFC 9449), read by the check for backends, which shares no code with them."""

import json

import pytest

from bff.crypto import decode
from bff.oidc.dpop import ProofAlg, ProofKey, new_key, without_query
from bff.verify.dpop import Proof, check_proof

URL = "https://api.example/v1/orders"
ALGS: tuple[ProofAlg, ...] = ("ES256", "EdDSA")


@pytest.mark.requirement("P-03")
@pytest.mark.parametrize("alg", ALGS)
def test_a_proof_is_signed_by_the_key_in_its_header_for_one_request(alg: ProofAlg) -> None:
    """Method, URL, moment, token and nonce are in it, and the header's key has signed them."""
    key = ProofKey(new_key(alg))
    proof = key.proof("POST", URL, now=1700000000.9, jti="abc", token=b"token", nonce="n-1").decode()
    header, claims = (json.loads(decode(part) or b"") for part in proof.split(".")[:2])
    assert {"typ", "alg", "jwk"} == header.keys()
    assert "d" not in header["jwk"]
    checked = check_proof(proof, method="POST", url=URL, now=1700000000.9, access_token="token")
    assert Proof(key.jkt, "abc", 1700000000, "n-1") == checked
    assert {
        "jti": "abc",
        "htm": "POST",
        "htu": URL,
        "iat": 1700000000,
        "ath": "PEaenWxYddN6Q_NT1PiOYfz4EsZu7jRXRlpAsNpBU-A",  # of "token", by openssl
        "nonce": "n-1",
    } == claims


def test_what_is_not_there_is_not_named() -> None:
    """A token call has no `ath`, a first call no `nonce`; what a URL may hold cannot break out of it."""
    proof = ProofKey(new_key("ES256")).proof("GET", 'https://a/"\\', now=1, jti="j").decode()
    assert {"jti": "j", "htm": "GET", "htu": 'https://a/"\\', "iat": 1} == json.loads(
        decode(proof.split(".")[1]) or b""
    )


def test_a_key_is_found_again_by_its_text() -> None:
    """The text in a sealed record is the key, all of it."""
    for alg in ALGS:
        text = new_key(alg)
        assert ProofKey(text).jkt == ProofKey(text).jkt
        assert ProofKey(text).jkt != ProofKey(new_key(alg)).jkt


@pytest.mark.parametrize(
    "text", ["", "ES256", "ES256.", "ES256.AAAA", "RS256." + 43 * "A", "ES256." + 43 * "A"]
)
def test_another_text_is_no_key(text: str) -> None:
    """Nothing is guessed: an unknown kind, a wrong length, a number that is no key."""
    with pytest.raises(ValueError, match=r"."):
        ProofKey(text)


def test_an_endpoint_is_named_without_its_query() -> None:
    """`htu` has neither query nor fragment."""
    assert "https://id.example/token" == without_query("https://id.example/token?tenant=1#x")
