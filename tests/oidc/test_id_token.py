"""ID tokens: what is believed, and what is not."""

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey

from bff.oidc.id_token import MAX_ID_TOKEN, Expected, IdTokenRejectedError, validate_id_token
from bff.oidc.metadata import SigningKey, parse_jwks
from tests.support.keys import rsa_key

NOW = 1_700_000_000.0
RSA = rsa_key({"kid": "rsa"})
OTHER = rsa_key({"kid": "rsa"}, number=1)
EC = ECKey.generate_key("P-256", {"kid": "ec"})
EC384 = ECKey.generate_key("P-384", {"kid": "ec384"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})
ALL = (RSA, EC, EC384, ED)
EXPECTED = Expected(
    issuer="https://id.example",
    client_id="spa-bff",
    algs=("RS256", "ES256", "PS256", "EdDSA"),
    clock_skew=30.0,
    nonce="the-nonce",
)
CLAIMS: dict[str, Any] = {
    "iss": "https://id.example",
    "sub": "alice",
    "aud": "spa-bff",
    "exp": NOW + 300,
    "iat": NOW,
    "nonce": "the-nonce",
}


def published(*keys: Any) -> tuple[SigningKey, ...]:
    return parse_jwks({"keys": [key.as_dict(private=False) for key in keys or ALL]}).keys


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(
    claims: dict[str, Any], key: Any = RSA, alg: str = "RS256", *, kid: str | None = "rsa", **header: Any
) -> str:
    named = {"kid": kid} if kid is not None else {}
    registry = jws.JWSRegistry(algorithms=[alg], strict_check_header=False)
    return jws.serialize_compact(
        {"alg": alg, **named, **header}, json.dumps(claims).encode(), key, registry=registry
    )


def raw(header: dict[str, Any], claims: Any, signature: bytes = b"") -> str:
    return ".".join([b64(json.dumps(header).encode()), b64(json.dumps(claims).encode()), b64(signature)])


def refused(token: str, expected: Expected = EXPECTED, keys: tuple[SigningKey, ...] | None = None) -> str:
    with pytest.raises(IdTokenRejectedError) as caught:
        validate_id_token(token, published() if keys is None else keys, expected, NOW)
    assert str(caught.value) == f"ID token rejected: {caught.value.reason}"  # and nothing of the token
    return caught.value.reason


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize(
    ("key", "alg", "kid"),
    [(RSA, "RS256", "rsa"), (RSA, "PS256", "rsa"), (EC, "ES256", "ec"), (ED, "EdDSA", "ed")],
)
def test_a_good_token_is_believed(key: Any, alg: str, kid: str) -> None:
    """Each allowed algorithm verifies, and the claims come back."""
    assert CLAIMS == validate_id_token(signed(CLAIMS, key, alg, kid=kid), published(), EXPECTED, NOW)


def test_a_token_without_kid_is_tried_with_the_keys_that_fit() -> None:
    """A provider may name no key; what verifies it is still one of its own."""
    token = signed(CLAIMS, kid=None)
    assert CLAIMS == validate_id_token(token, published(OTHER, EC, RSA), EXPECTED, NOW)
    assert refused(token, keys=published(OTHER, EC)) == "bad_signature"


@pytest.mark.requirement("O-08")
@pytest.mark.parametrize(
    "alg", ["none", "None", "NONE", "nOnE", "", "HS256", "RS512", "ES384", None, 5, ["RS256"]]
)
def test_an_algorithm_that_is_not_listed_is_refused(alg: Any) -> None:
    """`none` in any spelling, HMAC, and what the settings do not name, before any key is looked at."""
    assert refused(raw({"alg": alg, "kid": "rsa"}, CLAIMS)) == "alg_not_allowed"


@pytest.mark.requirement("O-08")
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_hmac_with_the_public_key_is_refused() -> None:
    """The classic confusion, even if the settings were to list HS256 and none."""
    for secret in (RSA.as_pem(private=False), json.dumps(RSA.as_dict(private=False)).encode()):
        try:
            token = signed(CLAIMS, OctKey.import_key(secret), "HS256")
        except Exception:  # noqa: BLE001 - joserfc refuses PEM as a secret: an attacker would not ask it
            unsigned = raw({"alg": "HS256", "kid": "rsa"}, CLAIMS).rpartition(".")[0]
            token = f"{unsigned}.{b64(hmac.new(secret, unsigned.encode(), hashlib.sha256).digest())}"
        lax = replace(EXPECTED, algs=("RS256", "HS256", "none"))
        assert refused(token) == "alg_not_allowed"
        assert refused(token, lax) == "alg_not_allowed"
    assert refused(raw({"alg": "none"}, CLAIMS), replace(EXPECTED, algs=("none",))) == "alg_not_allowed"


@pytest.mark.requirement("O-08")
@pytest.mark.parametrize(
    "header",
    [
        {"jku": "https://evil.example/jwks"},
        {"x5u": "https://evil.example/cert"},
        {"jwk": RSA.as_dict(private=False)},
        {"crit": ["exp"], "exp": 1},
        {"b64": True},
        {"typ": "at+jwt"},
        {"typ": "application/AT+JWT"},
        {"typ": "logout+jwt"},
    ],
)
def test_a_header_that_leads_elsewhere_is_refused(header: dict[str, Any]) -> None:
    """Keys named by the token, critical extensions, and tokens of another kind."""
    unsigned = raw({"alg": "RS256", "kid": "rsa", **header}, CLAIMS).rpartition(".")[0]
    signature = jws.JWSRegistry(algorithms=["RS256"]).get_alg("RS256").sign(unsigned.encode(), RSA)
    assert refused(f"{unsigned}.{b64(signature)}") == "header_not_allowed"


def test_header_fields_that_mean_nothing_to_us_are_ignored() -> None:
    """RFC 7515 4: providers add fields of their own."""
    token = signed(CLAIMS, x5t="abc", typ="JWT", **{"pi.atm": "1"})
    assert CLAIMS == validate_id_token(token, published(), EXPECTED, NOW)


@pytest.mark.requirement("O-08")
def test_a_signature_by_another_key_is_refused() -> None:
    """Same kid, other key; and one bit changed in the signature or the claims."""
    assert refused(signed(CLAIMS, OTHER)) == "bad_signature"
    head, payload, signature = signed(CLAIMS).split(".")
    forged = b64(json.dumps(CLAIMS | {"sub": "bob"}).encode())
    assert refused(f"{head}.{forged}.{signature}") == "bad_signature"
    assert refused(f"{head}.{payload}.") == "bad_signature"
    assert refused(raw({"alg": "RS256", "kid": "rsa", "x5t": 5}, CLAIMS)) == "bad_signature"
    assert (
        refused(f"{head}.{payload}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}") == "bad_signature"
    )


@pytest.mark.requirement("O-08", "O-09")
def test_a_key_that_is_not_published_verifies_nothing() -> None:
    """An unknown kid, a key published for another algorithm, one of another type."""
    assert refused(signed(CLAIMS, kid="new")) == "unknown_key"
    assert refused(signed(CLAIMS), keys=()) == "unknown_key"
    only_pss = parse_jwks({"keys": [RSA.as_dict(private=False) | {"alg": "PS256"}]}).keys
    assert refused(signed(CLAIMS), keys=only_pss) == "unknown_key"
    assert refused(signed(CLAIMS, EC, "ES256", kid="rsa")) == "unknown_key"
    assert refused(raw({"alg": "ES256", "kid": "ec384"}, CLAIMS, b"x" * 64)) == "unknown_key"


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a",
        "a.b",
        "a.b.c",
        "a.b.c.d.e",
        "\u00e4.b.c",
        raw({"alg": "RS256"}, "text"),
        raw({"alg": "RS256"}, ["list"]),
        raw({"alg": "RS256"}, None),
        raw({}, CLAIMS),
        b64(b'"alg"') + "." + b64(b"{}") + ".",
        b64(b"[1]") + "." + b64(b"{}") + ".",
        b64(b'{"alg":"RS256"}') + "." + b64(b"[" * 20_000) + ".",
        b64(b'{"alg":"RS256"}') + "." + b64(b"\xff") + ".",
        b64(b'{"alg":"RS256"}') + ".!!!.",
    ],
)
def test_what_is_no_jws_is_malformed(token: str) -> None:
    """It is refused, and never an error of another kind."""
    assert refused(token) == "malformed"


def test_a_token_has_a_limit() -> None:
    """64 KiB, looked at before anything is decoded."""
    assert refused("a" * (MAX_ID_TOKEN + 1)) == "too_long"
    large = CLAIMS | {"groups": ["x" * 30_000]}
    assert large == validate_id_token(signed(large), published(), EXPECTED, NOW)


@pytest.mark.requirement("O-03", "O-05", "O-08")
@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("iss", {"iss": "https://evil.example"}),
        ("iss", {"iss": "https://id.example/"}),
        ("iss", {"iss": None}),
        ("iss", {"iss": ["https://id.example"]}),
        ("sub", {"sub": None}),
        ("sub", {"sub": ""}),
        ("sub", {"sub": 7}),
        ("sub", {"sub": "a" * 256}),
        ("sub", {"sub": "a\nb"}),
        ("sid", {"sid": "\ud800"}),  # has no UTF-8, and so no name in Redis
        ("sid", {"sid": "a\r\nb"}),
        ("aud", {"aud": None}),
        ("aud", {"aud": "other"}),
        ("aud", {"aud": []}),
        ("aud", {"aud": ["other", "spa"]}),
        ("aud", {"aud": "spa-bff-2"}),
        ("aud", {"aud": {"spa-bff": 1}}),
        ("azp", {"aud": ["spa-bff", "other"]}),
        ("azp", {"aud": ["spa-bff", "other"], "azp": "other"}),
        ("azp", {"azp": "other"}),
        ("azp", {"azp": 1}),
        ("exp", {"exp": None}),
        ("exp", {"exp": NOW - 30}),
        ("exp", {"exp": str(NOW + 300)}),
        ("exp", {"exp": True}),
        ("malformed", {"exp": float("nan")}),
        ("malformed", {"exp": float("inf")}),
        ("malformed", {"score": [float("-inf")]}),  # would be no JSON any more in the answer to the page
        ("exp", {"exp": 10**400}),
        ("iat", {"iat": None}),
        ("iat", {"iat": NOW + 31}),
        ("iat", {"iat": "now"}),
        ("iat", {"iat": -1}),
        ("nonce", {"nonce": None}),
        ("nonce", {"nonce": "other"}),
        ("nonce", {"nonce": ["the-nonce"]}),
        ("nonce", {"nonce": "\ud800"}),
    ],
)
def test_a_claim_that_does_not_agree_is_refused(reason: str, changes: dict[str, Any]) -> None:
    """Each of the checks of Core 3.1.3.7, with missing values and wrong types as well."""
    claims = {name: value for name, value in (CLAIMS | changes).items() if value is not None}
    assert reason == refused(signed(claims))


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": ["spa-bff"]},
        {"aud": ["other", "spa-bff"], "azp": "spa-bff"},
        {"azp": "spa-bff"},
        {"exp": NOW - 29},
        {"iat": NOW + 30},
        {"iat": NOW - 86400},
        {"exp": NOW + 0.5},
    ],
)
def test_a_claim_at_the_edge_agrees(changes: dict[str, Any]) -> None:
    """Clocks may differ by `clock_skew`, and an audience may be a list."""
    claims = CLAIMS | changes
    assert claims == validate_id_token(signed(claims), published(), EXPECTED, NOW)


@pytest.mark.requirement("O-17")
@pytest.mark.parametrize(
    ("reason", "claims"),
    [
        ("auth_time", {}),
        ("auth_time", {"auth_time": NOW - 191}),
        ("auth_time", {"auth_time": "now"}),
        ("acr", {"auth_time": NOW - 190}),
        ("acr", {"auth_time": NOW, "acr": "low"}),
        ("acr", {"auth_time": NOW, "acr": ["high"]}),
        (None, {"auth_time": NOW - 190, "acr": "higher"}),
    ],
)
def test_what_was_asked_about_the_authentication_is_checked(
    reason: str | None, claims: dict[str, Any]
) -> None:
    """`max_age` counts back from the request, not from the callback; `acr` is one of those required."""
    asked = replace(EXPECTED, max_age=60, requested_at=NOW - 100, acr_required=("high", "higher"))
    token = signed(CLAIMS | claims)
    if reason is None:
        assert CLAIMS | claims == validate_id_token(token, published(), asked, NOW)
    else:
        assert reason == refused(token, asked)


@pytest.mark.requirement("O-08")
@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize(
    ("key", "alg", "kid", "digest"),
    [
        (RSA, "RS256", "rsa", hashlib.sha256),
        (EC384, "ES384", "ec384", hashlib.sha384),
        (RSA, "PS512", "rsa", hashlib.sha512),
        (ED, "EdDSA", "ed", hashlib.sha512),
    ],
)
def test_the_access_token_belongs_to_the_id_token(key: Any, alg: str, kid: str, digest: Any) -> None:
    """`at_hash` is the left half of the hash that the algorithm names (Core 3.1.3.6)."""
    whole = digest(b"the-access-token").digest()
    claims = CLAIMS | {"at_hash": b64(whole[: len(whole) // 2])}
    token = signed(claims, key, alg, kid=kid)
    expected = replace(EXPECTED, algs=(alg,), access_token="the-access-token")
    assert claims == validate_id_token(token, published(), expected, NOW)
    assert refused(token, replace(expected, access_token="another")) == "at_hash"


def test_an_at_hash_by_a_hash_that_we_do_not_know_is_not_judged() -> None:
    """secp256k1 is no hash; without a rule there is nothing to compare."""
    key = ECKey.generate_key("secp256k1", {"kid": "k1"})
    claims = CLAIMS | {"at_hash": "x"}
    expected = replace(EXPECTED, algs=("ES256K",), access_token="a")
    assert claims == validate_id_token(signed(claims, key, "ES256K", kid="k1"), published(key), expected, NOW)


@pytest.mark.requirement("T-13")
def test_a_refreshed_token_needs_no_nonce_but_the_same_subject() -> None:
    """Core 12.2: same `iss`, same `sub`."""
    claims = {name: value for name, value in CLAIMS.items() if name != "nonce"}
    expected = replace(EXPECTED, nonce=None, sub="alice")
    assert claims == validate_id_token(signed(claims), published(), expected, NOW)
    assert refused(signed(claims | {"sub": "bob"}), expected) == "sub"
    assert refused(signed(claims | {"iss": "https://evil.example"}), expected) == "iss"
