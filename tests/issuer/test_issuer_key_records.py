"""The times of signing keys in Redis: sealed with each key, and read in the form of version 0.1 as well."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from bff.crypto import new_secret
from bff.issuer.keys.key_record import KeysUnusableError
from bff.issuer.keys.key_store import KeyStore
from bff.issuer.keys.keys import SigningKey
from bff.issuer.store.redis import IssuerRedis, connect
from bff.issuer.store.sealing import Sealer
from tests.issuer.flow import REDIRECT_URI
from tests.support.processes.redis import RedisServer
from tests.support.providers.issuer import RunningIssuer, running_issuer

ISSUER, FORMER = "https://id.example", "https://login.example"
LEAD, OVERLAP = 100.0, 400.0
NOW = 1000.0

pytestmark = pytest.mark.requirement("J-08")

Records = dict[str, dict[str, Any]]


def store(server: RedisServer, secret: str, issuer: str = ISSUER) -> KeyStore:
    return KeyStore(IssuerRedis(connect(server.url), "issuer"), Sealer([secret]), issuer, LEAD, OVERLAP)


def kept(server: RedisServer) -> Records:
    with server.client() as client:
        return {kid: json.loads(text) for kid, text in client.hgetall("issuer:keys").items()}


def put(server: RedisServer, records: Records) -> None:
    """Writes these records in place of all that are there."""
    with server.client() as client:
        client.delete("issuer:keys")
        client.hset("issuer:keys", mapping={kid: json.dumps(record) for kid, record in records.items()})


def of_version_01(key: SigningKey, secret: str, issuer: str = ISSUER, **times: float | None) -> Records:
    """A record as version 0.1 wrote it: sealed for issuer and kid alone."""
    sealed = Sealer([secret]).seal(json.dumps(key.document()), f"{issuer}\n{key.kid}".encode())
    return {key.kid: {"created": 0, "signs_from": 0, "retires": None, **times, "private": sealed}}


@pytest.mark.parametrize(
    "change",
    [
        {"signs_from": NOW},  # a leaked key that waits signs at once
        {"signs_from": NOW * 1000},
        {"retires": None},  # one that retires stays
        {"retires": NOW},
        {"created": NOW - 1},
    ],
    ids=str,
)
def test_a_writer_of_redis_changes_no_time(
    redis_server: RedisServer, change: dict[str, float | None]
) -> None:
    """A process goes on by the times that it knows, and says so; none starts by the changed ones."""
    secret = new_secret()
    one = store(redis_server, secret)
    one.begin(SigningKey.generate, 0)
    one.rotate(SigningKey.generate(), NOW)
    before, lives = kept(redis_server), one.lives(NOW)
    for kid in before:
        put(redis_server, {**before, kid: {**before[kid], **change}})
        if kept(redis_server) == before:
            continue  # the change is none for this one of the two
        with capture_logs() as lines:
            one.signer(NOW + 50)
        assert ["signing_keys_not_read"] == [line["event"] for line in lines]
        with pytest.raises(KeysUnusableError, match=f"{kid} does not open"):
            store(redis_server, secret).signer(NOW)
        put(redis_server, before)
        assert lives == one.lives(NOW + 100)


def test_a_name_cannot_hold_the_times(redis_server: RedisServer) -> None:
    """The binding of one form, in parts or as a whole, is not that of the other under another name."""
    secret = new_secret()
    one = store(redis_server, secret)
    one.begin(SigningKey.generate, 0)
    ((kid, record),) = kept(redis_server).items()
    times = json.dumps({name: record[name] for name in ("created", "retires", "signs_from")})
    changed = {**record, "signs_from": 9999.0}
    for name in (f"{kid}\n{times}", f"{ISSUER}\n{kid}\n{times}"):
        put(redis_server, {name: changed})
        for issuer in (ISSUER, "times"):
            with pytest.raises(KeysUnusableError):
                store(redis_server, secret, issuer).signer(0)


def test_a_key_of_another_name_is_not_taken(redis_server: RedisServer) -> None:
    """A key is known by its own thumbprint, which its tokens name."""
    secret, key = new_secret(), SigningKey.generate()
    sealed = Sealer([secret]).seal(json.dumps(key.document()), f"{ISSUER}\nother".encode())
    put(redis_server, {"other": {"created": 0, "signs_from": 0, "retires": None, "private": sealed}})
    with pytest.raises(KeysUnusableError, match="another one"):
        store(redis_server, secret).signer(0)


def test_keys_of_version_01_are_used_and_sealed_anew(redis_server: RedisServer) -> None:
    """Reading changes nothing, so that 0.1 can go on; a rotation binds all of them to their times."""
    secret, key = new_secret(), SigningKey.generate()
    put(redis_server, of_version_01(key, secret))
    before = kept(redis_server)
    one = store(redis_server, secret)
    one.begin(SigningKey.generate, NOW)
    assert (key.kid, False, before) == (one.signer(NOW).kid, one.has_sealed_times, kept(redis_server))
    one.rotate(SigningKey.generate(), NOW)
    assert [True, True] == [each.has_sealed_times for each in (one, started(redis_server, secret))]
    changed = kept(redis_server)
    changed[key.kid]["retires"] = None
    put(redis_server, changed)
    with pytest.raises(KeysUnusableError, match=f"{key.kid} does not open"):
        store(redis_server, secret).signer(NOW)


def started(server: RedisServer, secret: str) -> KeyStore:
    one = store(server, secret)
    one.begin(SigningKey.generate, NOW)
    return one


def test_a_move_seals_all_times(redis_server: RedisServer) -> None:
    """Of keys as 0.1 wrote them, those of this issuer already are sealed anew with the others."""
    secret, theirs, ours = new_secret(), SigningKey.generate(), SigningKey.generate()
    put(
        redis_server,
        of_version_01(theirs, secret, FORMER) | of_version_01(ours, secret, created=1, signs_from=1),
    )
    taken = store(redis_server, secret)
    assert [theirs.kid] == taken.move(FORMER, NOW)
    assert (ours.kid, True) == (taken.signer(NOW).kid, started(redis_server, secret).has_sealed_times)


@pytest.mark.parametrize(
    "act",
    [
        lambda keys: keys.signer(NOW),
        lambda keys: keys.rotate(SigningKey.generate(), NOW),
        lambda keys: keys.move(FORMER, NOW),
    ],
    ids=["start", "rotation", "move"],
)
def test_the_form_of_version_01_is_refused_beside_sealed_times(
    redis_server: RedisServer, act: Callable[[KeyStore], object]
) -> None:
    """An old copy of a record, with other times, does not come back."""
    secret, key = new_secret(), SigningKey.generate()
    old = of_version_01(key, secret, signs_from=NOW, retires=None)
    put(redis_server, old)
    store(redis_server, secret).rotate(SigningKey.generate(), NOW)
    before = {**kept(redis_server), **old}
    put(redis_server, before)
    with pytest.raises(KeysUnusableError, match=f"{key.kid} is not sealed for its times"):
        act(store(redis_server, secret))
    assert before == kept(redis_server)


def test_who_knows_sealed_times_never_reads_the_former_form_again(redis_server: RedisServer) -> None:
    """Not alone either, not behind a moment without any key."""
    secret, key = new_secret(), SigningKey.generate()
    old = of_version_01(key, secret)
    put(redis_server, old)
    one = store(redis_server, secret)
    one.rotate(SigningKey.generate(), NOW)
    with redis_server.client() as client:
        client.delete("issuer:keys")
    assert [] == one.lives(NOW)
    put(redis_server, old)
    with pytest.raises(KeysUnusableError, match="not sealed for its times"):
        one.lives(NOW)


@pytest.mark.parametrize("sealed", [False, True])
def test_an_issuer_says_that_its_keys_are_of_version_01(redis_server: RedisServer, *, sealed: bool) -> None:
    """At its start, with the command that seals them; of sealed ones it says nothing."""
    secret = SecretStr(new_secret())
    with running_issuer(redis_server.url, (REDIRECT_URI,), server_keys=secret) as issuer:
        issuer.stop()
        if not sealed:
            put(
                redis_server,
                of_version_01(SigningKey.generate(), secret.get_secret_value(), issuer.settings.url),
            )
        again = RunningIssuer(issuer.settings, int(issuer.url.rpartition(":")[2]))
        with capture_logs() as lines:
            again.start()
        again.stop()
        told = [line["fix"] for line in lines if line["event"] == "signing_key_times_not_sealed"]
        assert told == ([] if sealed else ["bff issuer keys rotate"])
