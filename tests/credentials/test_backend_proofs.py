"""The proofs that go to backends: what they name, and what a process keeps for them."""

import json

import pytest

from bff.credentials.backend_proofs import BackendProofs, NewestNonce, ProofKeys, ProofSource
from bff.crypto import decode
from bff.oidc.dpop import new_key
from bff.policy.routes import Upstream, compile_route
from bff.settings.model import ProviderSettings, RouteSettings
from bff.verify.dpop import Proof, check_proof

NOW = 1_700_000_000.0
KEY = new_key("ES256").encode()
ASKS = (b"www-authenticate", b'DPoP error="use_dpop_nonce"')


def claims_of(proof: bytes) -> dict[str, object]:
    claims: dict[str, object] = json.loads(decode(proof.split(b".")[1].decode()) or b"")
    return claims


@pytest.mark.requirement("P-03")
@pytest.mark.parametrize(
    ("expected", "upstream"),
    [
        ("http://orders:8000/v1/7", "http://orders:8000/v1"),
        ("https://orders/v1/7", "https://orders:443/v1"),
        ("http://[::1]:8000/v1/7", "http://[::1]:8000/v1"),
        ("http://localhost/v1/7", "http://unix:/run/orders.sock:/v1"),
    ],
)
def test_a_proof_names_the_url_as_the_backend_sees_it(expected: str, upstream: str) -> None:
    """Scheme, Host and the path that it is asked for, prefix included."""
    route = compile_route(RouteSettings(path="/api/orders", upstream=upstream, dpop=True))
    (proofs,) = ProofSource(lambda: NOW).for_routes([route], []).values()
    target = route.target(b"/api/orders/7")
    found = proofs.fields(KEY, b"token", b"PUT", target)
    assert [(b"authorization", b"DPoP token"), b"dpop"] == [found[0], found[1][0]]
    assert expected == claims_of(found[1][1])["htu"]
    checked = check_proof(found[1][1].decode(), method="PUT", url=expected, now=NOW, access_token="token")
    assert isinstance(checked, Proof)


@pytest.mark.requirement("P-03")
def test_routes_to_one_backend_share_its_nonce() -> None:
    """Other settings find it as well; another backend has its own."""
    source = ProofSource(lambda: NOW)
    provider = ProviderSettings(issuer="https://id.example", client_id="a", token_binding="dpop")
    upstreams = {"/a": "http://one:1/a", "/b": "http://one:1/b", "/c": "http://two:1"}
    routes = [compile_route(RouteSettings(path=path, upstream=url)) for path, url in upstreams.items()]
    assert {} == source.for_routes(routes, [])
    made = source.for_routes(routes, [provider])
    assert None is made[b"/a"].answered(200, [(b"dpop-nonce", b"n")])
    again = source.for_routes(routes, [provider])
    told = [
        claims_of(again[path].proof(KEY, b"t", b"GET", b"/")).get("nonce") for path in (b"/a", b"/b", b"/c")
    ]
    assert ["n", "n", None] == told


@pytest.mark.requirement("P-03")
def test_what_an_answer_says_about_a_proof() -> None:
    """A 401 is repeated where it brings a nonce; one that cannot be repeated in a proof is none."""
    proofs = BackendProofs(Upstream("http", "b", 80), ProofKeys(), NewestNonce(), lambda: NOW)
    assert "repeat" == proofs.answered(401, [ASKS, (b"dpop-nonce", b"n")])
    assert "refused" == proofs.answered(401, [ASKS])
    assert "refused" == proofs.answered(401, [ASKS, (b"dpop-nonce", b'n"')])
    assert None is proofs.answered(403, [ASKS])
    assert None is proofs.answered(401, [(b"www-authenticate", b'DPoP error="invalid_token"')])
    proofs.take(b'x"')
    assert "n" == claims_of(proofs.proof(KEY, b"t", b"GET", b"/"))["nonce"]
    proofs.take(b"newer")
    first, second = (claims_of(proofs.proof(KEY, b"t", b"GET", b"/")) for _ in range(2))
    assert ("newer", "newer") == (first["nonce"], second["nonce"])
    assert first["jti"] != second["jti"]


def test_few_keys_are_kept_ready() -> None:
    """The oldest goes first, and is read again when it is asked for."""
    keys, texts = ProofKeys(most=2), [new_key("EdDSA").encode() for _ in range(3)]
    first = [keys.of(text) for text in texts[:2]]
    assert first == [keys.of(text) for text in texts[:2]]
    keys.of(texts[2])
    assert keys.of(texts[1]) is first[1]
    assert keys.of(texts[0]) is not first[0]
    assert keys.of(texts[0]).jkt == first[0].jkt
