"""DPoP proofs: each way in which one can be bad (RFC 9449 4.3), and the spellings of a URL."""

import hmac
import json
from typing import Any

import pytest
from joserfc.jwk import ECKey, OKPKey

from bff.verify import Refusal
from bff.verify.dpop import Proof, check_proof
from bff.verify.http_url import normal_url, url_of
from tests.support.keys import rsa_key
from tests.verify.proofs import PROVER, proof
from tests.verify.tokens import NOW, b64

URL = "https://api.example.com/orders/7"
TOKEN = "the-access-token"


def judged(text: str, **options: Any) -> Proof | Refusal:
    asked: dict[str, Any] = {"method": "GET", "url": URL, "now": NOW, "access_token": TOKEN, **options}
    return check_proof(text, **asked)


def made(url: str = URL, **changes: Any) -> str:
    return proof(url, "GET", **{"iat": NOW, "token": TOKEN, **changes})


@pytest.mark.requirement("P-03")
@pytest.mark.parametrize(
    ("key", "alg"),
    [
        (PROVER, "ES256"),
        (rsa_key(), "PS256"),
        (OKPKey.generate_key("Ed25519"), "EdDSA"),
        (OKPKey.generate_key("Ed25519"), "Ed25519"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_good_proof_names_its_key(key: Any, alg: str) -> None:
    """By each algorithm: the thumbprint of the key, the name of the proof, and its nonce."""
    found = judged(made(key=key, alg=alg, nonce="n", jti="one"))
    assert Proof(key.thumbprint(), "one", NOW, "n") == found
    assert isinstance(judged(made(f"{URL}?q=1#x")), Proof)
    assert isinstance(judged(made(), access_token=None), Proof)


@pytest.mark.requirement("P-03")
@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"method": "POST"}, Refusal.PROOF_METHOD),
        ({"htm": "get"}, Refusal.PROOF_METHOD),
        ({"htm": None}, Refusal.PROOF_METHOD),
        ({"htu": "https://api.example.com/orders/8"}, Refusal.PROOF_URL),
        ({"htu": "http://api.example.com/orders/7"}, Refusal.PROOF_URL),
        ({"htu": "https://evil.example/orders/7"}, Refusal.PROOF_URL),
        ({"htu": None}, Refusal.PROOF_URL),
        ({"htu": 7}, Refusal.PROOF_URL),
        ({"iat": NOW - 66}, Refusal.PROOF_TIME),
        ({"iat": NOW + 6}, Refusal.PROOF_TIME),
        ({"iat": None}, Refusal.PROOF_MALFORMED),
        ({"iat": str(NOW)}, Refusal.PROOF_MALFORMED),
        ({"iat": True}, Refusal.PROOF_MALFORMED),
        ({"jti": None}, Refusal.PROOF_MALFORMED),
        ({"jti": ""}, Refusal.PROOF_MALFORMED),
        ({"jti": "x" * 257}, Refusal.PROOF_MALFORMED),
        ({"jti": 7}, Refusal.PROOF_MALFORMED),
        ({"nonce": 7}, Refusal.PROOF_MALFORMED),
        ({"ath": None}, Refusal.PROOF_TOKEN),
        ({"ath": 7}, Refusal.PROOF_TOKEN),
        ({"ath": "é"}, Refusal.PROOF_TOKEN),
        ({"token": "another-token"}, Refusal.PROOF_TOKEN),
    ],
    ids=str,
)
def test_claims_of_another_request_are_refused(changes: dict[str, Any], refusal: Refusal) -> None:
    """Another method, URL, time or token, and what is missing or of another type."""
    method = changes.pop("method", None)
    if method is not None:
        assert refusal == judged(proof(URL, method, iat=NOW, token=TOKEN))
    else:
        assert refusal == judged(made(**changes))


@pytest.mark.requirement("P-03")
@pytest.mark.parametrize(
    ("header", "refusal"),
    [
        ({"typ": None}, Refusal.PROOF_TYPE),
        ({"typ": "JWT"}, Refusal.PROOF_TYPE),
        ({"typ": "at+jwt"}, Refusal.PROOF_TYPE),
        ({"jwk": None}, Refusal.PROOF_KEY),
        ({"jwk": "x"}, Refusal.PROOF_KEY),
        ({"jwk": {"kty": "EC", "crv": "P-256"}}, Refusal.PROOF_KEY),
        ({"jwk": {"kty": "oct", "k": "AAAA"}}, Refusal.PROOF_KEY),
        ({"jwk": {"kty": "x"}}, Refusal.PROOF_KEY),
        ({"jwk": PROVER.as_dict(private=True)}, Refusal.PROOF_KEY),
        ({"jwk": {**PROVER.as_dict(private=False), "p": "AA"}}, Refusal.PROOF_KEY),
        ({"jwk": {**PROVER.as_dict(private=False), "use": "enc"}}, Refusal.PROOF_KEY),
        ({"jwk": ECKey.generate_key("P-384").as_dict(private=False)}, Refusal.PROOF_KEY),
        ({"jwk": rsa_key().as_dict(private=False)}, Refusal.PROOF_KEY),
        ({"jwk": OKPKey.generate_key("Ed25519").as_dict(private=False)}, Refusal.PROOF_KEY),
        ({"jwk": ECKey.generate_key("P-256").as_dict(private=False)}, Refusal.PROOF_SIGNATURE),
    ],
    ids=lambda value: value.reason if isinstance(value, Refusal) else "",
)
def test_headers_and_keys_that_are_refused(header: dict[str, Any], refusal: Refusal) -> None:
    """Another type, a key that is private, symmetric, unreadable, of another kind, or another's."""
    assert refusal == judged(made(header=header))


def test_a_short_rsa_key_is_refused() -> None:
    """Fewer than 2048 bits prove nothing."""
    modulus = b64(b"\xc1" + b"\xff" * 127)
    short = {"kty": "RSA", "n": modulus, "e": "AQAB"}
    assert Refusal.PROOF_KEY == judged(made(key=rsa_key(), alg="PS256", header={"jwk": short}))


@pytest.mark.requirement("P-03", "J-03")
def test_none_and_hmac_prove_nothing() -> None:
    """`none`, an HMAC by the public key, and an algorithm that is not in the list."""
    text = made()
    _, payload, signature = text.split(".")
    told = {"typ": "dpop+jwt", "jwk": PROVER.as_dict(private=False)}
    for alg, sign in (("none", ""), ("HS256", "mac"), ("ES512", signature), (7, signature)):
        head = b64(json.dumps({**told, "alg": alg}).encode())
        mac = hmac.digest(PROVER.as_pem(private=False), f"{head}.{payload}".encode(), "sha256")
        ending = b64(mac) if sign == "mac" else sign
        assert Refusal.PROOF_ALGORITHM == judged(f"{head}.{payload}.{ending}")
    assert Refusal.PROOF_ALGORITHM == judged(text, algorithms=["PS256"])


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "e30.e30", "é.é.é", "W10.e30.e30", "x" * 9000, "a,b"])
def test_what_is_no_proof_is_refused(text: str) -> None:
    """Nonsense is a refusal, never a crash."""
    assert judged(text) in (Refusal.PROOF_MALFORMED, Refusal.PROOF_TYPE)


def test_a_payload_that_is_no_object_is_refused() -> None:
    """However well it is signed; and odd characters in a name are no crash."""
    from joserfc import jws  # noqa: PLC0415 - of this test alone

    told = {"typ": "dpop+jwt", "alg": "ES256", "jwk": PROVER.as_dict(private=False)}
    assert Refusal.PROOF_MALFORMED == judged(jws.serialize_compact(told, "[]", PROVER, ["ES256"]))
    odd = judged(made(jti="\ud800"))
    assert isinstance(odd, Proof)
    assert 43 == len(odd.memory_key())


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("https://API.example.com", "https://api.example.com/"),
        ("HTTPS://api.example.com:443/a?b#c", "https://api.example.com/a"),
        ("http://api.example.com:80/a", "http://api.example.com/a"),
        ("http://api.example.com:8080/a", "http://api.example.com:8080/a"),
        ("https://[::1]:8443/a", "https://[::1]:8443/a"),
        ("https://a.example/%7euser/%2f", "https://a.example/~user/%2F"),
        ("https://a.example/a/./b/../c", "https://a.example/a/c"),
        ("https://a.example/a/..", "https://a.example/"),
        ("https://a.example/../a/.", "https://a.example/a/"),
        ("https://a.example/%2e%2e/b", "https://a.example/b"),
        ("https://a.example//b", "https://a.example//b"),
        ("ftp://a.example/", None),
        ("/orders", None),
        ("https://", None),
        ("https://u@a.example/", None),
        ("https://a.example:port/", None),
        ("https://a.example/é", None),
        ("https://a.example/ b", None),
        ("https://a.example\\b", None),
        ("https://a.example/" + "x" * 9000, None),
    ],
)
def test_a_url_is_normalised(text: str, normal: str | None) -> None:
    """RFC 3986 6.2.2 and 6.2.3: two spellings of one URL are one, and what is no http(s) URL is none."""
    assert normal == normal_url(text)


def test_a_path_is_encoded_once() -> None:
    """What a server hands on encoded stays as it is; what it decoded is encoded again."""
    assert "http://a/x%20y/%2F" == url_of("http", "a", "/x y/%2F")
