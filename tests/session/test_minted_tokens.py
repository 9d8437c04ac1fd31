"""Minted tokens: their claims, their keys, and how long they are kept."""

import math
from dataclasses import replace
from typing import Any

import pytest
from joserfc import jws, jwt
from joserfc.jwk import ECKey, KeySet

from bff.crypto import Keyring, new_secret
from bff.oidc.dpop import new_key, thumbprint_of
from bff.session import minted_tokens
from bff.session.minted_claims import Content, claims_of
from bff.session.minted_tokens import ALGORITHM, LEAD, Mint, MintingKeys, signing_key
from bff.session.model import OwnToken
from tests.issuer.flow import payload_of
from tests.session.sample import NOW, sample_session

CLIENTS = (("main", "spa-bff"), ("customers", "shop"))
CONTENT = Content("https://app.example.com", "orders", CLIENTS, ("email", "groups"), 60)
OLD, NEW = new_secret(), new_secret()


def kid_of(token: OwnToken) -> Any:
    return jws.extract_compact(token.access_token.encode()).headers()["kid"]


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


def mint(*keys: str) -> tuple[Mint, Clock, Keyring]:
    keyring, clock = Keyring(keys or [OLD]), Clock()
    return Mint(MintingKeys(keyring, clock), clock, thumbprint_of), clock, keyring


def test_the_claims_of_a_token() -> None:
    """Those of RFC 9068, those that the route names and the session knows, and no others."""
    told = {"email": "alice@example.com", "acr": "mfa", "auth_time": 7, "secret": "x", "groups": None}
    claims = claims_of(CONTENT, sample_session(claims=told), NOW + 0.9, "a-jti")
    assert {
        "iss": "https://app.example.com",
        "aud": "orders",
        "sub": "alice",
        "exp": NOW + 60,
        "iat": NOW,
        "jti": "a-jti",
        "client_id": "spa-bff",
        "sid": "000000000000",
        "email": "alice@example.com",
        "acr": "mfa",
        "auth_time": 7,
    } == claims


@pytest.mark.requirement("P-03", "P-09")
def test_it_is_bound_where_the_route_asks_for_it() -> None:
    """To the session's key, by its thumbprint; without one, or without the wish, it is a bearer token."""
    key = new_key("ES256")
    session = sample_session()
    keyed = replace(session, tokens=replace(session.tokens, proof_key=key))
    for content, one, expected in (
        (replace(CONTENT, bound=True), keyed, {"jkt": thumbprint_of(key)}),
        (replace(CONTENT, bound=True), session, None),
        (CONTENT, keyed, None),
    ):
        made, _, _ = mint()
        token = made.token(content, one)
        assert expected == payload_of(token.access_token).get("cnf")
        assert (expected is not None) is token.bound


@pytest.mark.requirement("P-09")
def test_it_ends_with_the_session_and_is_nobody_elses() -> None:
    """A session about to end shortens it; no claim of a sign-in takes the place of the token's own."""
    assert NOW + 20 == claims_of(CONTENT, sample_session(ends=NOW + 20.9), NOW, "j")["exp"]
    forged: dict[str, Any] = {
        "iss": "x",
        "aud": "x",
        "sub": "x",
        "exp": math.inf,
        "client_id": "x",
        "sid": "x",
    }
    content = Content("i", "a", CLIENTS, tuple(forged), 60)
    claims = claims_of(content, sample_session(claims=forged), NOW, "j")
    assert ("i", "a", "alice", NOW + 60, "spa-bff", "000000000000") == tuple(claims[name] for name in forged)


@pytest.mark.requirement("P-01")
def test_two_providers_users_are_two() -> None:
    """Alice of one provider is not the alice of the other, although one issuer names both."""
    theirs = claims_of(CONTENT, sample_session(provider="customers"), NOW, "j")
    assert ("customers:alice", "shop") == (theirs["sub"], theirs["client_id"])


@pytest.mark.requirement("P-01")
def test_no_sub_of_the_default_provider_reads_as_anothers() -> None:
    """A provider chooses its own `sub`s: one may look like what we make of another's."""
    people = [
        ("main", sub) for sub in ("alice", "customers:alice", "main:alice", "main", "urn:alice", "customers")
    ]
    people += [("customers", sub) for sub in ("alice", "customers:alice")]
    subs = [
        claims_of(CONTENT, sample_session(provider=provider, sub=sub), NOW, "j")["sub"]
        for provider, sub in people
    ]
    assert ["alice", "main:customers:alice", "main:main:alice", "main", "urn:alice", "customers"] == subs[:6]
    assert len(people) == len(set(subs))
    alone = Content("i", "orders", CLIENTS[:1], (), 60)
    assert "main:alice" == claims_of(alone, sample_session(sub="main:alice"), NOW, "j")["sub"]


def test_a_token_is_made_once_and_in_time_anew() -> None:
    """Ten calls have the same one; near its end, for another version, after a refusal there is another."""
    tokens, clock, _ = mint()
    session = sample_session()
    first = tokens.token(CONTENT, session)
    assert {first} == {tokens.token(CONTENT, session) for _ in range(10)}
    assert first == tokens.at_hand(CONTENT, session.key, 1)
    assert None is tokens.at_hand(CONTENT, session.key, 2)
    other = tokens.token(Content("i", "stock", CLIENTS, (), 60), session)
    assert ("orders", "stock") == tuple(payload_of(one.access_token)["aud"] for one in (first, other))
    again = tokens.token(CONTENT, session, refused=first.access_token)
    assert first != again == tokens.token(CONTENT, session, refused=first.access_token)
    clock.now = NOW + 50
    assert again != tokens.token(CONTENT, session)


def test_few_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound the oldest goes."""
    monkeypatch.setattr(minted_tokens, "MOST_KEPT", 2)
    tokens, _, _ = mint()
    for version in (1, 2, 3):
        tokens.token(CONTENT, sample_session(version=version))
    assert [False, True, True] == [
        tokens.at_hand(CONTENT, "0" * 64, version) is not None for version in (1, 2, 3)
    ]


def test_keys_come_of_the_server_keys() -> None:
    """The same in each process; the next is published before it signs, the former after; none is private."""
    tokens, clock, keyring = mint(OLD)
    session = sample_session()
    former = tokens.token(CONTENT, session)
    keyring.replace([OLD, NEW])  # as with a key that is to sign later
    assert kid_of(former) == kid_of(tokens.token(CONTENT, session))
    keyring.replace([NEW, OLD])  # it is to sign now, and nobody may have heard of it yet
    assert kid_of(former) == kid_of(tokens.token(CONTENT, session))
    published: Any = MintingKeys(keyring, clock).published()
    assert 2 == len(published["keys"])
    assert not any("d" in key for key in published["keys"])
    assert {("sig", ALGORITHM, "P-256")} == {
        (key["use"], key["alg"], key["crv"]) for key in published["keys"]
    }
    clock.now += LEAD
    later = tokens.token(CONTENT, session)
    keys = KeySet.import_key_set(published)
    for one in (former, later):
        assert "alice" == jwt.decode(one.access_token, keys, [ALGORITHM]).claims["sub"]
    names = [kid_of(one) for one in (former, later)]
    assert set(names) == {key["kid"] for key in published["keys"]}
    keyring.replace([NEW])  # the former has leaked
    assert names[1:] == [key["kid"] for key in MintingKeys(keyring, clock).published()["keys"]]


def test_a_seed_gives_a_good_key() -> None:
    """Whatever the seed: a scalar from 1 to the order less 1, and the thumbprint as its name."""
    for seed in (bytes(64), b"\xff" * 64):
        key = signing_key(seed)
        assert isinstance(key, ECKey)
        assert key.thumbprint() == key.kid
