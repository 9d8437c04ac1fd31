"""The verifier: each way in which an access token can be bad, and the keys it is checked with."""

import base64
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, RSAKey

from bff.issuer.keys import SigningKey
from bff.verify import BearerAuth, Claims, Refusal, TokenRefusedError, TokenVerifier
from bff.verify.claims import MAX_TOKEN, challenge, check_claims, check_header
from bff.verify.fetch import Fetcher, FetchError
from bff.verify.keys import IssuerKeys, KeysUnavailableError, read_keys
from tests.issuer.flow import Person
from tests.support.issuer import AUDIENCE, running_issuer
from tests.support.redis import RedisServer

ISSUER = "https://id.example.com"
NOW = 1_800_000_000.0
KEY = ECKey.generate_key("P-256", {"kid": "one"})
OTHER = ECKey.generate_key("P-256", {"kid": "one"})
HEADER = {"alg": "ES256", "kid": "one", "typ": "at+jwt"}
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": "alice",
    "sid": "the-sid",
    "client_id": "spa-bff",
    "jti": "the-jti",
    "iat": NOW - 10,
    "exp": NOW + 50,
    "scope": "openid orders",
}


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Documents:
    """The issuer's documents, and how often they were asked for."""

    def __init__(self, *keys: Any) -> None:
        self.keys = list(keys)
        self.asked: list[str] = []
        self.down = False

    async def get(self, url: str) -> Mapping[str, Any]:
        self.asked.append(url)
        if self.down:
            raise FetchError("down")
        if url.endswith("/.well-known/openid-configuration"):
            return {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/jwks"}
        return {"keys": [key.as_dict(private=False) for key in self.keys]}


def token(header: dict[str, Any] | None = None, key: Any = KEY, **changes: Any) -> str:
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not None}
    header = header or HEADER
    return jwt.encode(header, claims, key, [header["alg"]])


def verifier(documents: Documents | None = None, **options: Any) -> TokenVerifier:
    return TokenVerifier(
        issuer=ISSUER,
        audience=AUDIENCE,
        fetch=(documents or Documents(KEY)).get,
        clock=lambda: NOW,
        **options,
    )


async def refusal_of(text: str, **options: Any) -> Refusal:
    with pytest.raises(TokenRefusedError) as caught:
        await verifier(**options).verify(text)
    return caught.value.refusal


async def test_a_good_token_says_who() -> None:
    """A good token gives its claims."""
    claims = await verifier().verify(token(role="admin"))
    assert ("alice", "the-sid", "spa-bff") == (claims.sub, claims.sid, claims.client_id)
    assert frozenset({"openid", "orders"}) == claims.scope
    assert {"iss": ISSUER, "aud": AUDIENCE, "role": "admin"} == claims.rest


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
        ({"sid": None}, Refusal.CLAIMS),
        ({"jti": None}, Refusal.CLAIMS),
        ({"client_id": None}, Refusal.CLAIMS),
        ({"scope": ["a"]}, Refusal.CLAIMS),
    ],
)
def test_bad_claims_are_refused(changes: dict[str, Any], refusal: Refusal) -> None:
    """Each required claim is checked: missing, of another type, or not ours."""
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not None}
    assert refusal == check_claims(claims, issuer=ISSUER, audience=AUDIENCE, now=NOW, leeway=5)


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
    "text", ["", ".", "..", "a.b", "a.b.c", "a.b.c.d", "é.é.é", "e30.e30.e30", "x" * (MAX_TOKEN + 1)]
)
async def test_what_is_no_token_is_refused(text: str) -> None:
    """Nonsense is a refusal, never a crash."""
    assert (await refusal_of(text)) in (Refusal.MALFORMED, Refusal.ALGORITHM)


async def test_a_key_of_another_kind_is_refused() -> None:
    """ES256 with an RSA key of that name is refused."""
    rsa = RSAKey.generate_key(2048, {"kid": "one"})
    assert Refusal.SIGNATURE == await refusal_of(token(), documents=Documents(rsa))


@pytest.mark.requirement("J-03")
def test_weak_and_foreign_keys_are_left_out() -> None:
    """RSA below 2048 bits, encryption keys, secrets and nonsense are not taken; the rest is."""
    with pytest.warns(SecurityWarning):
        weak = RSAKey.generate_key(1024, {"kid": "weak"}).as_dict(private=False)
    good = KEY.as_dict(private=False)
    entries = [
        weak,
        {**good, "use": "enc", "kid": "enc"},
        {"kty": "oct", "k": "AAAA", "kid": "oct"},
        5,
        {},
        good,
    ]
    assert ["one"] == list(read_keys({"keys": entries}))
    assert {} == read_keys({"keys": "none"})


@pytest.mark.requirement("J-06", "J-12")
async def test_revocation_is_asked_last_and_believed() -> None:
    """A revoked jti is refused; a list that fails refuses with 503; a bad token does not reach it."""
    asked: list[str] = []

    async def revoked(claims: Claims) -> bool:
        asked.append(claims.jti)
        if claims.jti == "broken":
            raise ConnectionError
        return claims.jti == "revoked"

    claims = await verifier(revoked=revoked).verify(token(jti="fine"))
    assert "fine" == claims.jti
    assert Refusal.REVOKED == await refusal_of(token(jti="revoked"), revoked=revoked)
    assert Refusal.UNAVAILABLE == await refusal_of(token(jti="broken"), revoked=revoked)
    assert Refusal.EXPIRED == await refusal_of(token(jti="old", exp=NOW - 60), revoked=revoked)
    assert ["fine", "revoked", "broken"] == asked


@pytest.mark.requirement("J-09")
async def test_unknown_keys_cost_one_fetch_per_cooldown() -> None:
    """Tokens with invented keys do not make the verifier hammer the issuer; a new key is found afterwards."""
    documents = Documents(KEY)
    keys = IssuerKeys(ISSUER, documents.get, jwks_uri="jwks", cooldown=10)
    assert await keys.find("one", 0) is not None
    for moment in (1.0, 2.0, 9.0):
        assert await keys.find("two", moment) is None
    assert 1 == len(documents.asked)
    documents.keys.append(ECKey.generate_key("P-256", {"kid": "two"}))
    assert await keys.find("two", 11) is not None
    assert 2 == len(documents.asked)


@pytest.mark.requirement("J-09")
async def test_known_keys_serve_through_an_outage_but_not_for_ever() -> None:
    """While the issuer is down the keys at hand work, until they are too old."""
    documents = Documents(KEY)
    keys = IssuerKeys(ISSUER, documents.get, cooldown=10, fresh=60, stale=1000)
    assert await keys.find("one", 0) is not None
    documents.down = True
    assert await keys.find("one", 500) is not None
    with pytest.raises(KeysUnavailableError):
        await keys.find("one", 1001)
    documents.down = False
    assert await keys.find("one", 1012) is not None


async def test_an_issuer_that_was_never_reached_is_no_refusal_of_the_token() -> None:
    """Without any keys the answer is 503, not 401."""
    documents = Documents(KEY)
    documents.down = True
    assert Refusal.UNAVAILABLE == await refusal_of(token(), documents=documents)
    assert (503, None) == (Refusal.UNAVAILABLE.status, Refusal.UNAVAILABLE.error)


async def test_metadata_of_somebody_else_are_not_followed() -> None:
    """A document whose issuer differs leads to no keys."""

    async def get(url: str) -> Mapping[str, Any]:
        return {"issuer": "https://evil.example", "jwks_uri": url}

    with pytest.raises(KeysUnavailableError):
        await IssuerKeys(ISSUER, get).find("one", 0)


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


def test_challenges_follow_rfc_6750() -> None:
    """No error code where no token came, else one that says what to do."""
    assert "Bearer" == challenge(Refusal.MISSING)
    assert 'Bearer error="invalid_token", error_description="expired"' == challenge(Refusal.EXPIRED)
    assert {401, 400, 403, 503} == {refusal.status for refusal in Refusal}


async def _app(scope: Any, receive: Any, send: Any) -> None:
    del receive
    body = scope["claims"].sub.encode() if "claims" in scope else b"open"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


@pytest.mark.parametrize(
    ("headers", "status", "challenge_start"),
    [
        ([], 401, "Bearer"),
        ([("Authorization", "Basic abc")], 401, "Bearer"),
        ([("Authorization", "Bearer ")], 401, "Bearer"),
        ([("Authorization", "Bearer é".encode())], 401, 'Bearer error="invalid_token"'),
        ([("Authorization", "Bearer x.y.z")], 401, 'Bearer error="invalid_token"'),
        (
            [("Authorization", "Bearer a"), ("Authorization", "Bearer b")],
            400,
            'Bearer error="invalid_request"',
        ),
    ],
)
async def test_the_middleware_answers_what_it_refuses(
    headers: list[tuple[str, Any]], status: int, challenge_start: str
) -> None:
    """A request without exactly one good token gets RFC 6750's answer and not the app."""
    transport = httpx.ASGITransport(BearerAuth(_app, verifier()))
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        raw = [
            (name.encode(), value if isinstance(value, bytes) else value.encode()) for name, value in headers
        ]
        answer = await client.get("/", headers=raw)
    assert status == answer.status_code
    assert answer.headers["www-authenticate"].startswith(challenge_start)


async def test_the_middleware_lets_good_tokens_through() -> None:
    """The app sees the claims; open paths need no token."""
    transport = httpx.ASGITransport(BearerAuth(_app, verifier(), lambda path: path == "/open"))
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        good = await client.get("/", headers={"Authorization": f"bearer {token()}"})
        assert "alice" == good.text
        assert "open" == (await client.get("/open")).text


async def test_a_refused_websocket_is_closed() -> None:
    """A WebSocket without a token is closed before it opens."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    await BearerAuth(_app, verifier())({"type": "websocket", "path": "/", "headers": []}, receive, send)
    assert [("websocket.close", 1008)] == [(message["type"], message["code"]) for message in sent]


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


async def test_fetching_fails_in_one_way(redis_server: RedisServer) -> None:
    """404, pages instead of JSON and closed ports are all FetchError."""
    fetcher = Fetcher()
    with running_issuer(redis_server.url) as issuer:
        for url in (f"{issuer.url}/nothing", f"{issuer.url}/end-session", "http://127.0.0.1:1/", "nonsense"):
            with pytest.raises(FetchError):
                await fetcher.get(url)
    await fetcher.close()
