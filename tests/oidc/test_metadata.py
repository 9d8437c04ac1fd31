"""What the provider publishes about itself is read with suspicion."""

from typing import Any

import pytest
from joserfc.jwk import ECKey, JWKRegistry, OctKey, OKPKey, RSAKey

from bff.oidc.metadata import ENDPOINTS, MetadataRejectedError, discovery_url, parse_jwks, parse_metadata
from tests.support.keys import rsa_key

ISSUER = "https://id.example"
GOOD = {
    "issuer": ISSUER,
    "authorization_endpoint": "https://id.example/authorize",
    "token_endpoint": "https://id.example/token",
    "jwks_uri": "https://id.example/jwks",
}
RSA = rsa_key({"kid": "rsa", "use": "sig"})
EC = ECKey.generate_key("P-256", {"kid": "ec"})
ED = OKPKey.generate_key("Ed25519", {"kid": "ed"})


def test_where_the_document_is() -> None:
    """A slash at the issuer's end is not doubled (Discovery 4.1)."""
    assert discovery_url("https://id.example/t/") == "https://id.example/t/.well-known/openid-configuration"
    assert discovery_url("https://id.example/t") == "https://id.example/t/.well-known/openid-configuration"


def test_what_is_optional_may_be_missing() -> None:
    """Without revocation, end-session and the iss parameter the document is still good."""
    metadata = parse_metadata(GOOD, ISSUER)
    assert (None, None, False) == (
        metadata.revocation_endpoint,
        metadata.end_session_endpoint,
        metadata.iss_parameter_supported,
    )


def test_what_is_there_is_read() -> None:
    """All that the proxy goes by."""
    document = GOOD | {
        "revocation_endpoint": "https://id.example/revoke",
        "end_session_endpoint": "https://id.example/end",
        "authorization_response_iss_parameter_supported": True,
    }
    metadata = parse_metadata(document, ISSUER)
    assert metadata.revocation_endpoint == "https://id.example/revoke"
    assert metadata.end_session_endpoint == "https://id.example/end"
    assert metadata.iss_parameter_supported


@pytest.mark.requirement("O-14")
def test_pushed_requests_are_known_by_the_document() -> None:
    """RFC 9126 5: where they go, and whether there is another way; nothing odd is believed."""
    endpoint = {"pushed_authorization_request_endpoint": "https://id.example/par"}
    metadata = parse_metadata(GOOD | endpoint | {"require_pushed_authorization_requests": True}, ISSUER)
    assert "https://id.example/par" == metadata.pushed_authorization_endpoint
    assert metadata.pushed_authorization_required
    assert not parse_metadata(
        GOOD | {"require_pushed_authorization_requests": "yes"}, ISSUER
    ).pushed_authorization_required


def test_the_algorithms_of_assertions_are_read() -> None:
    """Only names, and nothing where there is no list."""
    name = "token_endpoint_auth_signing_alg_values_supported"
    assert ("PS256",) == parse_metadata(GOOD | {name: ["PS256", 5]}, ISSUER).client_assertion_algs
    assert () == parse_metadata(GOOD | {name: "PS256"}, ISSUER).client_assertion_algs


@pytest.mark.requirement("O-06")
@pytest.mark.parametrize(
    "issuer", ["https://id.example/", "https://ID.example", "https://evil.example", None]
)
def test_the_issuer_has_to_be_ours_exactly(issuer: str | None) -> None:
    """A document of another issuer is refused, however alike the names are."""
    with pytest.raises(MetadataRejectedError):
        parse_metadata(GOOD | {"issuer": issuer}, ISSUER)


@pytest.mark.parametrize(
    "endpoint",
    [
        None,
        7,
        "",
        "/token",
        "http://id.example/token",
        "ftp://id.example/token",
        "https://user@id.example/token",
        "https://id.example/token#x",
        "https://id.example/to ken",
        "https://id.example\\token",
        "https://id.example/t\u00f6ken",
        "https://id.example/\x00",
        "https://id.example:port/token",
        "https://[/token",
        "http://127.0.0.1.evil.example/token",
        "https:///token",
    ],
)
def test_an_endpoint_is_an_https_url(endpoint: Any) -> None:
    """Secrets are sent there: nothing else will do."""
    with pytest.raises(MetadataRejectedError):
        parse_metadata(GOOD | {"token_endpoint": endpoint}, ISSUER)


@pytest.mark.parametrize("host", ["localhost:9000", "127.0.0.1", "[::1]:9000", "id.localhost"])
def test_http_is_accepted_on_loopback(host: str) -> None:
    """For development."""
    document = GOOD | {"token_endpoint": f"http://{host}/token"}
    assert f"http://{host}/token" == parse_metadata(document, ISSUER).token_endpoint


@pytest.mark.parametrize("document", [None, [], "x", 1])
def test_a_document_is_an_object(document: Any) -> None:
    """Whatever else the provider answers is refused."""
    with pytest.raises(MetadataRejectedError):
        parse_metadata(document, ISSUER)
    with pytest.raises(MetadataRejectedError):
        parse_jwks(document)


@pytest.mark.parametrize("keys", [None, {}, [{}] * 101])
def test_a_key_set_has_a_list_of_keys_of_sane_length(keys: Any) -> None:
    """No list, or one that would cost seconds to read, is refused."""
    with pytest.raises(MetadataRejectedError):
        parse_jwks({"keys": keys})


def test_public_keys_for_signatures_are_kept() -> None:
    """RSA, EC and Ed25519."""
    keys = parse_jwks({"keys": [key.as_dict(private=False) for key in (RSA, EC, ED)]}).keys
    assert ["rsa", "ec", "ed"] == [key.kid for key in keys]


@pytest.mark.timeout(10)
def test_a_key_that_takes_long_to_read_is_not_read() -> None:
    """Of 100 large private keys each would take seconds to find the primes of, with all requests waiting."""
    large = {"kty": "RSA", "n": "_" * 1400, "e": "AQAB", "d": "V" * 1400}
    assert () == parse_jwks({"keys": [large] * 100}).keys


@pytest.mark.requirement("O-08")
@pytest.mark.filterwarnings("ignore:Key size")
def test_keys_that_must_not_verify_are_left_out() -> None:
    """Symmetric, small, encryption and private keys, and nonsense, spoil nothing and verify nothing."""
    bad = [
        OctKey.generate_key(256).as_dict(),
        RSAKey.generate_key(1024).as_dict(private=False),
        RSA.as_dict(private=False) | {"use": "enc"},
        EC.as_dict(private=False) | {"key_ops": ["encrypt"]},
        EC.as_dict(private=False) | {"key_ops": "verify"},
        RSA.as_dict(private=True),
        EC.as_dict(private=True),
        {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"},
        {"kty": "RSA", "n": "!!", "e": "AQAB"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "RSA"},
        {},
        "key",
        None,
    ]
    found = parse_jwks({"keys": [*bad, EC.as_dict(private=False)]})
    assert ["ec"] == [key.kid for key in found.keys]
    assert len(bad) == len(found.dropped)
    assert "key 2 is private or symmetric" not in found.dropped
    assert "key 1 is private or symmetric" in found.dropped
    assert "key 2 has fewer than 2048 bits" in found.dropped
    assert "key 3 (rsa) is for another use" in found.dropped
    assert "key 4 (ec) is for other operations" in found.dropped
    assert "key 9 cannot be read" in found.dropped


@pytest.mark.parametrize("key", [RSA, EC, ED])
@pytest.mark.parametrize(
    "member",
    [
        {"alg": None}, {"use": None}, {"key_ops": None}, {"x5c": None}, {"x5t": None}, {"d": None},
        {"alg": ""}, {"use": ""}, {"key_ops": []}, {"x5c": []}, {"x5c": "no list"},
    ],
)  # fmt: skip
def test_a_member_that_says_nothing_spoils_no_key(key: Any, member: dict[str, Any]) -> None:
    """Null and empty members count as absent, and certificates are not looked at."""
    (read,) = parse_jwks({"keys": [key.as_dict(private=False) | member]}).keys
    assert key.kid == read.kid


def test_a_null_name_is_no_name() -> None:
    """A key without `kid`."""
    (read,) = parse_jwks({"keys": [EC.as_dict(private=False) | {"kid": None}]}).keys
    assert read.kid is None


@pytest.mark.parametrize("key", [RSA, EC, ED])
def test_padded_base64_is_read(key: Any) -> None:
    """Some providers pad what RFC 7515 wants without padding."""
    data = key.as_dict(private=False)
    padded = {
        name: data[name] + "=" * (-len(data[name]) % 4) for name in ("n", "e", "x", "y") if name in data
    }
    (read,) = parse_jwks({"keys": [data | padded]}).keys
    assert data == read.as_dict(private=False)


@pytest.mark.parametrize("value", ["", "/path", "http://id.example/x", "https://u@id.example/", 7, ["x"]])
def test_an_optional_endpoint_that_cannot_be_used_counts_as_absent(value: Any) -> None:
    """It is named, so that it can be logged, and does not keep anybody from signing in."""
    names = (
        "revocation_endpoint", "end_session_endpoint", "userinfo_endpoint",
        "pushed_authorization_request_endpoint",
    )  # fmt: skip
    for name in names:
        metadata = parse_metadata(GOOD | {name: value}, ISSUER)
        assert (name,) == metadata.ignored
    everything = parse_metadata(GOOD | dict.fromkeys(names, value), ISSUER)
    assert set(names) == set(everything.ignored)
    assert everything.revocation_endpoint is everything.end_session_endpoint is None
    assert everything.userinfo_endpoint is everything.pushed_authorization_endpoint is None
    assert () == parse_metadata(GOOD | dict.fromkeys(names), ISSUER).ignored


def test_endpoints_can_be_set_by_hand() -> None:
    """What the settings name stands in for what is missing, and wins over what is there."""
    own = {name: f"https://elsewhere.example/{name}" for name in ENDPOINTS}
    metadata = parse_metadata({"issuer": ISSUER}, ISSUER, own)
    assert own["revocation_endpoint"] == metadata.revocation_endpoint
    assert own["pushed_authorization_request_endpoint"] == metadata.pushed_authorization_endpoint
    assert own["token_endpoint"] == parse_metadata(GOOD, ISSUER, own).token_endpoint


def test_both_issuers_are_shown() -> None:
    """Whoever has to correct one needs to see both; what is unprintable is not repeated."""
    with pytest.raises(MetadataRejectedError, match=r"https://id\.example/\?x.*https://id\.example\)"):
        parse_metadata(GOOD | {"issuer": "https://id.example/\x1bx"}, ISSUER)


@pytest.mark.requirement("O-08")
def test_a_kind_of_key_that_only_the_library_knows_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library may learn kinds of keys that this proxy has no rules for: they verify nothing."""
    monkeypatch.setitem(JWKRegistry.key_types, "AKP", NewKey)
    read = parse_jwks(
        {"keys": [{"kty": "AKP", "alg": "ML-DSA-44", "kid": "new"}, RSA.as_dict(private=False)]}
    )
    assert ["rsa"] == [key.kid for key in read.keys]
    assert ("key 1 (new) is of a kind that is not used here",) == read.dropped


class NewKey:
    @classmethod
    def import_key(cls, *_: Any, **__: Any) -> "NewKey":
        return cls()


@pytest.mark.requirement("P-04")
def test_endpoints_for_certificates() -> None:
    """They are for clients with one (RFC 8705 5); the settings win over both; nonsense is nothing."""
    alias = {"token_endpoint": "https://mtls.id.example/token"}
    document = GOOD | {"mtls_endpoint_aliases": alias}
    assert GOOD["token_endpoint"] == parse_metadata(document, ISSUER).token_endpoint
    assert alias["token_endpoint"] == parse_metadata(document, ISSUER, mtls=True).token_endpoint
    own = {"token_endpoint": "https://id.example/own"}
    assert own["token_endpoint"] == parse_metadata(document, ISSUER, own, mtls=True).token_endpoint
    nonsense = GOOD | {"mtls_endpoint_aliases": ["https://id.example"]}
    assert GOOD["token_endpoint"] == parse_metadata(nonsense, ISSUER, mtls=True).token_endpoint
    with pytest.raises(MetadataRejectedError):
        parse_metadata(GOOD | {"mtls_endpoint_aliases": {"token_endpoint": "http://x"}}, ISSUER, mtls=True)
