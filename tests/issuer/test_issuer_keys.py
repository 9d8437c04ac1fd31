"""The life of signing keys: the plan by itself, and the store on a real Redis."""

import contextlib
import json
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from joserfc import jwt
from structlog.testing import capture_logs

from bff.crypto import new_secret
from bff.issuer.grants.tokens import ACCESS_TOKEN_TYPE, ID_TOKEN_TYPE, Minter
from bff.issuer.keys.key_plan import (
    HINTS_READ,
    KeyLife,
    KeyWaitsError,
    Phase,
    add,
    forget,
    phase,
    published,
    signer,
)
from bff.issuer.keys.key_record import KeysUnusableError
from bff.issuer.keys.key_store import KeyStore
from bff.issuer.keys.keys import SigningKey
from bff.issuer.store.redis import IssuerRedis, connect
from bff.issuer.store.sealing import Sealer, open_with_token, seal_with_token
from tests.support.processes.redis import RedisServer

ISSUER = "https://id.example"
LEAD, OVERLAP = 100.0, 400.0
OLD, NEW = KeyLife("old", 0, 0, retires=1500), KeyLife("new", 1000, 1100)


def store(server: RedisServer, secret: str, issuer: str = ISSUER) -> KeyStore:
    return KeyStore(IssuerRedis(connect(server.url), "issuer"), Sealer([secret]), issuer, LEAD, OVERLAP)


# --- the plan


@pytest.mark.requirement("J-08")
def test_the_life_of_a_key() -> None:
    """Published at once, signing after the lead, kept while its tokens live, then gone."""
    first = add([], "old", 0, lead=LEAD, overlap=OVERLAP)
    assert [KeyLife("old", 0, 0)] == first  # the first one has nobody to wait for
    both = add(first, "new", 1000, lead=LEAD, overlap=OVERLAP)
    assert [OLD, NEW] == both
    phases = {at: [phase(key, both, at).value for key in both] for at in (1000, 1099, 1100, 1499, 1500)}
    assert {
        1000: ["signing", "waiting"],
        1099: ["signing", "waiting"],
        1100: ["retiring", "signing"],
        1499: ["retiring", "signing"],
        1500: ["retired", "signing"],
    } == phases
    assert [[OLD, NEW], [NEW]] == [published(both, 1499), published(both, 1500)]
    assert [both, [NEW]] == [forget(both, 1499 + HINTS_READ), forget(both, 1500 + HINTS_READ)]


def test_one_waits_at_a_time() -> None:
    """A second rotation within the lead is a mistake; afterwards it is not, and prolongs no older key."""
    with pytest.raises(KeyWaitsError):
        add([OLD, NEW], "newer", 1050, lead=LEAD, overlap=OVERLAP)
    three = add([OLD, NEW], "newer", 1200, lead=LEAD, overlap=OVERLAP)
    assert [1500, 1700, None] == [key.retires for key in three]


def test_who_signs() -> None:
    """The latest that may; before any may, the first to come; nobody where there is nobody."""
    assert signer([], 0) is None
    assert NEW == signer([NEW], 0)
    assert [OLD, NEW] == [signer([NEW, OLD], 1099), signer([NEW, OLD], 1100)]
    assert Phase.SIGNING is phase(NEW, [NEW], 0)


@pytest.mark.requirement("J-08")
@pytest.mark.parametrize("seed", range(20))
def test_every_token_alive_is_verifiable_whenever_keys_rotate(seed: int) -> None:
    """Whatever the moments of rotations and signatures: who fetched within the lead has the key."""
    dice = random.Random(seed)  # noqa: S311 - a walk to be repeated, no secret
    token_life = OVERLAP - 60
    alive: list[tuple[str, float]] = []
    keys, cached_at, cached = add([], "0", 0, lead=0, overlap=0), 0.0, {"0"}
    for number in range(1, 400):
        now = number * 10.0 + dice.random()
        if dice.random() < 0.05:
            with contextlib.suppress(KeyWaitsError):
                keys = add(keys, str(number), now, lead=LEAD, overlap=OVERLAP)
        if now - cached_at > LEAD - 15 or dice.random() < 0.2:
            cached_at, cached = now, {key.kid for key in published(keys, now)}
        signing = signer(keys, now)
        assert signing is not None
        alive = [(kid, end) for kid, end in alive if now < end] + [(signing.kid, now + token_life)]
        assert {kid for kid, _ in alive} <= cached


# --- the store


def test_several_processes_agree(redis_server: RedisServer) -> None:
    """Eight that start at once share one key; a rotation by one is seen by all before the lead is over."""
    secret = new_secret()
    stores = [store(redis_server, secret) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: one.begin(SigningKey.generate, 0), stores))
    (first,) = {one.signer(1).kid for one in stores}
    stores[0].rotate(SigningKey.generate(), 1000)
    later = 1000 + LEAD / 2
    assert {2} == {len(one.published(later)) for one in stores}
    assert {first} == {one.signer(1000 + LEAD - 1).kid for one in stores}
    (second,) = {one.signer(1000 + LEAD).kid for one in stores}
    assert first != second
    assert {second} == {key.kid for one in stores for key in one.published(1000 + LEAD + OVERLAP)}
    found = stores[3].find(first, 1000 + LEAD + OVERLAP)
    assert found is not None  # an ID token of that key can still be a hint
    assert stores[3].find(first, 1000 + LEAD + OVERLAP + HINTS_READ) is None


def test_two_operators_at_once_lose_no_key(redis_server: RedisServer) -> None:
    """Of many rotations at the same moment one is done, and the others say that a key waits."""
    secret = new_secret()
    store(redis_server, secret).begin(SigningKey.generate, 0)

    def rotate(_: int) -> bool:
        try:
            store(redis_server, secret).rotate(SigningKey.generate(), 1000)
        except KeyWaitsError:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert 1 == sum(pool.map(rotate, range(6)))
    assert 2 == len(store(redis_server, secret).lives(1001))


def test_private_keys_lie_sealed(redis_server: RedisServer) -> None:
    """Redis holds no private part in the clear; without the server key nothing opens, and it says so."""
    secret = new_secret()
    one = store(redis_server, secret)
    one.begin(SigningKey.generate, 0)
    private = one.signer(0).document()["d"]
    with redis_server.client() as client:
        assert private not in str(client.hgetall("issuer:keys"))
    for other in (store(redis_server, new_secret()), store(redis_server, secret, "https://other.example")):
        with pytest.raises(KeysUnusableError, match="does not open"):
            other.signer(0)


def test_a_planted_key_is_not_taken(redis_server: RedisServer) -> None:
    """Who writes to Redis can put no key among the published ones: not by a copy, not in the clear.

    Who knows the keys already goes on with them; who starts says that one does not open.
    """
    secret = new_secret()
    one = store(redis_server, secret)
    one.begin(SigningKey.generate, 0)
    with redis_server.client() as client:
        ((kid, text),) = client.hgetall("issuer:keys").items()
        planted = SigningKey.generate()
        for moment, name, record in (
            (100, "copy", json.loads(text)),
            (200, planted.kid, {**json.loads(text), "private": json.dumps(planted.document())}),
        ):
            client.hset("issuer:keys", name, json.dumps(record))
            assert (kid, [kid]) == (one.signer(moment).kid, [key.kid for key in one.published(moment)])
            with pytest.raises(KeysUnusableError):
                store(redis_server, secret).signer(moment)
            client.hdel("issuer:keys", name)
        assert kid == store(redis_server, secret).signer(300).kid


@pytest.mark.parametrize(
    "record",
    [
        "",
        "[]",
        "null",
        "{}",
        "[" * 100_000,
        '{"private": 1, "created": 0, "signs_from": 0}',
        '{"private": "x.y", "created": "0", "signs_from": 0}',
        '{"private": "x.y", "created": 0, "signs_from": NaN}',
        f'{{"private": "x.y", "created": 1{"0" * 400}, "signs_from": 0}}',
        '{"private": "x.y", "created": 0, "signs_from": 0, "retires": "soon"}',
        '{"private": "x.y", "created": 0, "signs_from": 0, "more": 1}',
    ],
    ids=lambda text: text[:60],
)
@pytest.mark.parametrize("whose", ["its own", "another"])
def test_a_record_that_cannot_be_read_is_outlived(redis_server: RedisServer, record: str, whose: str) -> None:
    """Who knows the keys goes on with them; who starts says so; a leaked key can be replaced all the same."""
    secret = new_secret()
    one = store(redis_server, secret)
    one.begin(SigningKey.generate, 0)
    kid = one.signer(0).kid
    with redis_server.client() as client:
        client.hset("issuer:keys", kid if whose == "its own" else "planted", record)
    with capture_logs() as lines:
        assert (kid, [kid]) == (one.signer(100).kid, [key.kid for key in one.published(100)])
    assert ["signing_keys_not_read"] == [line["event"] for line in lines]
    other = store(redis_server, secret)
    for act in (
        lambda: other.signer(100),
        lambda: other.rotate(SigningKey.generate(), 100),
        lambda: other.move("https://former.example", 100),
        lambda: other.take_server_keys(Sealer([secret])),
    ):
        with pytest.raises(KeysUnusableError):
            act()
    newest = SigningKey.generate()
    other.replace_leaked(newest, 100)
    assert [newest.kid] == [key.kid for key in store(redis_server, secret).published(100)]


def test_a_retired_key_signs_no_access_token_that_counts(redis_server: RedisServer) -> None:
    """It is kept for hints alone: whoever has got hold of it is answered as by any verifier."""
    keys = store(redis_server, new_secret())
    keys.begin(SigningKey.generate, 0)
    retired = keys.signer(0)
    keys.rotate(SigningKey.generate(), 1000)
    minter = Minter("http://localhost:9000", "api", keys, 300)
    claims = {"iss": "http://localhost:9000", "exp": 9999}

    def signed(typ: str) -> str:
        return jwt.encode(retired.header(typ), claims, retired.private, ["ES256"])

    token, hint = signed(ACCESS_TOKEN_TYPE), signed(ID_TOKEN_TYPE)
    last = int(1000 + LEAD + OVERLAP)
    assert claims == minter.read_access_token(token, last - 1)
    assert None is minter.read_access_token(token, last)
    assert claims == minter.read_id_token_hint(hint, last)


def test_a_leaked_key_goes_at_once(redis_server: RedisServer) -> None:
    """The new one signs, and nothing that the others signed is read any more."""
    one = store(redis_server, new_secret())
    one.begin(SigningKey.generate, 0)
    leaked = one.signer(0).kid
    one.replace_leaked(SigningKey.generate("RS256"), 1000)
    assert ["RS256"] == [key.algorithm for key in one.published(1000)]
    assert one.find(leaked, 1000) is None


def test_server_keys_rotate_too(redis_server: RedisServer) -> None:
    """With the old server key behind the new one all opens; the next rotation seals for the new alone."""
    old, new = new_secret(), new_secret()
    store(redis_server, old).begin(SigningKey.generate, 0)
    both = KeyStore(
        IssuerRedis(connect(redis_server.url), "issuer"), Sealer([new, old]), ISSUER, LEAD, OVERLAP
    )
    kid = both.signer(0).kid
    both.rotate(SigningKey.generate(), 1000)
    assert kid == store(redis_server, new).signer(1001).kid
    with pytest.raises(KeysUnusableError):
        store(redis_server, old).signer(1001)


def test_an_outage_of_redis_is_outlived(redis_server: RedisServer) -> None:
    """What is known signs on and is published on while Redis is away."""
    one = store(redis_server, new_secret())
    one.begin(SigningKey.generate, 0)
    kid = one.signer(0).kid
    redis_server.stop()
    assert (kid, [kid]) == (one.signer(1000).kid, [key.kid for key in one.published(2000)])
    redis_server.start()
    assert kid == one.signer(3000).kid


def test_what_is_sealed_opens_for_its_key_alone() -> None:
    """Another token, another binding, another spelling: nothing opens, and nothing is raised."""
    sealed = seal_with_token("predecessor", "successor")
    assert "successor" == open_with_token("predecessor", sealed)
    assert [None] * 4 == [open_with_token("predecessor", bad) for bad in ("", "x", sealed[:-1], sealed + "A")]
    assert open_with_token("other", sealed) is None
    sealer = Sealer([new_secret()])
    assert "k" == sealer.open(sealer.seal("k", b"a"), b"a")
    assert sealer.open(sealer.seal("k", b"a"), b"b") is None
    for keys in ([], ["short"], ["!" * 43]):
        with pytest.raises(ValueError, match="32 bytes"):
            Sealer(keys)
