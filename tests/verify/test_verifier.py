"""The verifier: each way in which an access token can be bad."""

import hmac
import json
import time
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from bff.issuer.keys.keys import SigningKey
from bff.verify import PLAIN_JWT, Claims, Refusal, TokenRefusedError, TokenVerifier
from bff.verify.claims import MAX_TOKEN, check_claims, check_header
from tests.issuer.flow import Person
from tests.support.keys import rsa_key
from tests.support.processes.redis import RedisServer
from tests.support.providers.issuer import AUDIENCE, running_issuer
from tests.verify.tokens import (
    CLAIMS,
    HEADER,
    ISSUER,
    KEY,
    NOW,
    OTHER,
    Documents,
    b64,
    refusal_of,
    token,
    verifier,
)


async def test_a_good_token_says_who() -> None:
    """A good token gives its claims."""
    claims = await verifier().verify(token(role="admin", tid="acme", more=1))
    assert ("alice", "the-sid", "spa-bff") == (claims.sub, claims.sid, claims.client_id)
    assert ("admin", "acme") == (claims.role, claims.tid)
    assert frozenset({"openid", "orders"}) == claims.scope
    assert {"iss": ISSUER, "aud": AUDIENCE, "more": 1} == claims.rest
    plain = await verifier().verify(token())
    assert (None, None) == (plain.role, plain.tid)


@pytest.mark.requirement("J-02", "J-12")
@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"exp": NOW - 6}, Refusal.EXPIRED),
        ({"iat": NOW + 6}, Refusal.NOT_YET),
        ({"nbf": NOW + 6}, Refusal.NOT_YET),
        ({"nbf": "soon"}, Refusal.CLAIMS),
        ({"iss": ISSUER + "/"}, Refusal.ISSUER),
        ({"iss": None}, Refusal.ISSUER),
        ({"aud": "another"}, Refusal.AUDIENCE),
        ({"aud": ["another"]}, Refusal.AUDIENCE),
        ({"aud": None}, Refusal.AUDIENCE),
        ({"exp": None}, Refusal.CLAIMS),
        ({"exp": True}, Refusal.CLAIMS),
        ({"exp": "9999999999"}, Refusal.CLAIMS),
        ({"exp": float("inf")}, Refusal.CLAIMS),
        ({"exp": float("nan")}, Refusal.CLAIMS),
        ({"iat": None}, Refusal.CLAIMS),
        ({"sub": None}, Refusal.CLAIMS),
        ({"sub": 7}, Refusal.CLAIMS),
        ({"sub": ""}, Refusal.CLAIMS),
        ({"sid": 7}, Refusal.CLAIMS),
        ({"jti": None}, Refusal.CLAIMS),
        ({"client_id": None}, Refusal.CLAIMS),
        ({"scope": ["a"]}, Refusal.CLAIMS),
        ({"role": ["admin"]}, Refusal.CLAIMS),
        ({"role": True}, Refusal.CLAIMS),
        ({"tid": 7}, Refusal.CLAIMS),
    ],
)
def test_bad_claims_are_refused(changes: dict[str, Any], refusal: Refusal) -> None:
    """Each required claim is checked: missing, of another type, or not ours."""
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not None}
    assert refusal == check_claims(claims, issuer=ISSUER, audience=AUDIENCE, now=NOW, leeway=5)


def test_a_token_without_a_sign_in() -> None:
    """A client's own token has no `sid` (RFC 9068 2.2); it stands there empty."""
    claims = {name: value for name, value in CLAIMS.items() if name != "sid"}
    outcome = check_claims(claims, issuer=ISSUER, audience=AUDIENCE, now=NOW, leeway=5)
    assert isinstance(outcome, Claims)
    assert "" == outcome.sid


def test_clocks_may_differ_a_little() -> None:
    """Within the leeway a token is good, at its very end and a little before its beginning."""
    for changes in ({"exp": NOW - 4}, {"iat": NOW + 5}, {"aud": ["x", AUDIENCE]}):
        outcome = check_claims({**CLAIMS, **changes}, issuer=ISSUER, audience=AUDIENCE, now=NOW, leeway=5)
        assert isinstance(outcome, Claims)


@pytest.mark.requirement("J-03")
@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"alg": "none"}, Refusal.ALGORITHM),
        ({"alg": "HS256"}, Refusal.ALGORITHM),
        ({"alg": "ES384"}, Refusal.ALGORITHM),
        ({"alg": "es256"}, Refusal.ALGORITHM),
        ({"alg": None}, Refusal.ALGORITHM),
        ({"typ": "JWT"}, Refusal.TYPE),
        ({"typ": None}, Refusal.TYPE),
        ({"typ": 5}, Refusal.TYPE),
        ({"typ": "logout+jwt"}, Refusal.TYPE),
        ({"alg": ["ES256"]}, Refusal.ALGORITHM),
        ({"kid": 5}, Refusal.MALFORMED),
        ({"jku": "https://evil.example"}, Refusal.MALFORMED),
        ({"jwk": {}}, Refusal.MALFORMED),
        ({"x5u": "https://evil.example"}, Refusal.MALFORMED),
        ({"x5c": []}, Refusal.MALFORMED),
        ({"crit": ["exp"]}, Refusal.MALFORMED),
        ({"typ": "application/at+jwt"}, None),
        ({"typ": "AT+JWT"}, None),
    ],
)
def test_headers_are_judged_first(changes: dict[str, Any], refusal: Refusal | None) -> None:
    """Other algorithms and types, and headers that bring keys along, are refused before any key is used."""
    header = {name: value for name, value in {**HEADER, **changes}.items() if value is not None}
    assert refusal == check_header(header, ("ES256", "RS256"))


@pytest.mark.requirement("J-12")
@pytest.mark.parametrize(
    ("refusal", "header"),
    [
        (None, {"alg": "ES256"}),
        (None, {"alg": "ES256", "typ": "JWT"}),
        (Refusal.TYPE, {"alg": "ES256", "typ": None}),
        (Refusal.TYPE, {"alg": "ES256", "typ": 5}),
        (Refusal.TYPE, {"alg": "ES256", "typ": ["at+jwt"]}),
        (Refusal.TYPE, {"alg": "ES256", "typ": ""}),
    ],
)
def test_no_type_is_another_thing_than_a_null_one(refusal: Refusal | None, header: dict[str, Any]) -> None:
    """Where an issuer may leave `typ` out, what is no text in its place is refused all the same."""
    assert refusal == check_header(header, ("ES256",), PLAIN_JWT)


@pytest.mark.requirement("J-12")
async def test_a_tampered_token_is_refused() -> None:
    """A changed payload, another key under the same name, or a cut signature do not pass."""
    head, payload, signature = token().split(".")
    forged = b64(json.dumps({**CLAIMS, "sub": "bob"}).encode())
    assert Refusal.SIGNATURE == await refusal_of(f"{head}.{forged}.{signature}")
    assert Refusal.SIGNATURE == await refusal_of(token(key=OTHER))
    assert Refusal.SIGNATURE == await refusal_of(f"{head}.{payload}.{signature[:-4]}")
    assert Refusal.SIGNATURE == await refusal_of(f"{head}.{payload}.")


@pytest.mark.requirement("J-03")
async def test_the_public_key_is_no_hmac_secret() -> None:
    """A token signed by HMAC with the public key, and one without a signature, are refused."""
    head = b64(json.dumps({**HEADER, "alg": "HS256"}).encode())
    signed = f"{head}.{token().split('.')[1]}"
    mac = hmac.digest(KEY.as_pem(private=False), signed.encode(), "sha256")
    assert Refusal.ALGORITHM == await refusal_of(f"{signed}.{b64(mac)}")
    none = b64(b'{"alg":"none","typ":"at+jwt","kid":"one"}')
    assert Refusal.ALGORITHM == await refusal_of(f"{none}.{token().split('.')[1]}.")


@pytest.mark.requirement("J-03")
@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "é.é.é",
        "e30.e30.e30",
        "W10.e30.e30",
        "IngiCg.e30.e30",
        "x" * (MAX_TOKEN + 1),
    ],
)
async def test_what_is_no_token_is_refused(text: str) -> None:
    """Nonsense is a refusal, never a crash."""
    assert (await refusal_of(text)) in (Refusal.MALFORMED, Refusal.ALGORITHM)


async def test_a_key_of_another_kind_is_refused() -> None:
    """ES256 with an RSA key of that name is refused."""
    rsa = rsa_key({"kid": "one"})
    assert Refusal.SIGNATURE == await refusal_of(token(), documents=Documents(rsa))


async def test_an_issuer_that_was_never_reached_is_no_refusal_of_the_token() -> None:
    """Without any keys the answer is 503, not 401."""
    documents = Documents(KEY)
    documents.down = True
    assert Refusal.UNAVAILABLE == await refusal_of(token(), documents=documents)
    assert (503, None) == (Refusal.UNAVAILABLE.status, Refusal.UNAVAILABLE.error)


async def test_a_token_without_kid_fits_an_only_key() -> None:
    """Where there is one key a token need not name it; where there are two it must."""
    header = {"alg": "ES256", "typ": "at+jwt"}
    claims = await verifier().verify(token(header))
    assert "alice" == claims.sub
    second = ECKey.generate_key("P-256", {"kid": "two"})
    assert Refusal.UNKNOWN_KEY == await refusal_of(token(header), documents=Documents(KEY, second))


@pytest.mark.parametrize("names", [[], ["none"], ["HS256"], ["ES256", "HS512"]])
def test_secret_algorithms_cannot_be_allowed(names: list[str]) -> None:
    """An allowlist with `none` or an HMAC is a mistake that is said at once."""
    with pytest.raises(ValueError, match="public key"):
        verifier(algorithms=names)


async def test_tokens_of_our_issuer_pass_on_real_sockets(redis_server: RedisServer) -> None:
    """Discovery, keys and token of the issuer, over HTTP; after a change of keys too, without a restart."""
    with running_issuer(redis_server.url) as issuer:
        async with TokenVerifier(issuer=issuer.url, audience=AUDIENCE, cooldown=0.0) as real:
            with Person(issuer) as person:
                tokens = person.tokens()
                assert "alice" == (await real.verify(tokens["access_token"])).sub
                with pytest.raises(TokenRefusedError, match="type"):
                    await real.verify(tokens["id_token"])
                issuer.restart(SigningKey.generate())
                renewed = person.refresh(tokens["refresh_token"]).json()["access_token"]
                assert time.time() < (await real.verify(renewed)).exp
                with pytest.raises(TokenRefusedError, match="unknown_key"):
                    await real.verify(tokens["access_token"])


@pytest.mark.requirement("J-03")
async def test_issuers_that_do_not_mark_their_tokens_need_a_word() -> None:
    """With `PLAIN_JWT` a token without a type of its own passes, and nothing that looks like another kind."""
    header = {"alg": "ES256", "kid": "one"}
    checks = verifier(profile=PLAIN_JWT)
    for extra in ({}, {"typ": "JWT"}, {"typ": "at+jwt"}):
        assert "alice" == (await checks.verify(token({**header, **extra}))).sub
    assert "spa-bff" == (await checks.verify(token(header, client_id=None, azp="spa-bff"))).client_id
    for claim in ("nonce", "at_hash", "c_hash", "events"):
        assert Refusal.TYPE == await refusal_of(token(header, **{claim: "x"}), profile=PLAIN_JWT)
    for typ in ("logout+jwt", "dpop+jwt", "secevent+jwt", "id_token"):
        assert Refusal.TYPE == await refusal_of(token({**header, "typ": typ}), profile=PLAIN_JWT)


@pytest.mark.requirement("J-03")
async def test_a_key_signs_by_its_own_algorithm_only() -> None:
    """A key that was published for RS256 does not verify PS256, allowed or not."""
    rsa = rsa_key({"kid": "one", "alg": "RS256"})
    signer = RSAKey.import_key({**rsa.as_dict(private=True), "alg": "PS256"})
    text = token({**HEADER, "alg": "PS256"}, key=signer)
    options: dict[str, Any] = {"documents": Documents(rsa), "algorithms": ["RS256", "PS256"]}
    assert Refusal.SIGNATURE == await refusal_of(text, **options)
    good = token({**HEADER, "alg": "RS256"}, key=rsa)
    assert "alice" == (await verifier(**options).verify(good)).sub


@pytest.mark.requirement("J-02")
@pytest.mark.parametrize("payload", ["[]", '"x"', '{"exp": 1e999}', '{"exp": NaN}', "{"])
async def test_a_payload_that_is_no_object_is_refused(payload: str) -> None:
    """However well it is signed."""
    text = jws.serialize_compact(HEADER, payload, KEY, ["ES256"])
    assert Refusal.MALFORMED == await refusal_of(text)


@pytest.mark.requirement("J-12")
async def test_a_token_is_good_for_what_it_says() -> None:
    """A scope that it lacks is refused as such, a token that was seen before as well."""
    checks = verifier()
    assert "alice" == (await checks.verify(token_once, {"orders"})).sub
    with pytest.raises(TokenRefusedError, match="scope"):
        await checks.verify(token_once, {"orders", "admin"})


token_once = token()
