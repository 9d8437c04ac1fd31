"""`bff issuer keys move`: another `url` on the same Redis keeps the keys, all of them or none."""

import json
import os
import time
from collections.abc import Iterator, Mapping
from typing import cast

import httpx
import pytest
import redis
from joserfc import jws
from pydantic import SecretStr
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from bff.crypto import new_secret
from bff.issuer.cli import keys as keys_cli
from bff.issuer.cli.main import app
from bff.issuer.keys.key_plan import KeyLife
from bff.issuer.keys.key_record import KeyRecord, KeysUnusableError, OpenedKey
from bff.issuer.keys.key_store import KeyStore, key_store
from bff.issuer.keys.keys import SigningKey
from bff.issuer.settings import IssuerSettings
from bff.issuer.store.redis import IssuerRedis, connect
from tests.issuer.flow import REDIRECT_URI, Person, payload_of
from tests.support.processes.redis import RedisServer
from tests.support.providers.issuer import RunningIssuer, running_issuer

OLD, NEW, OTHER = "https://login.example", "https://id.example", "https://other.example"
NOW = 1000.0

pytestmark = pytest.mark.requirement("J-08")


CLIENTS: list["redis.Redis"] = []


@pytest.fixture(autouse=True)
def _clients() -> Iterator[None]:
    yield
    while CLIENTS:
        CLIENTS.pop().close()


def of(server: RedisServer, url: str, secret: str) -> KeyStore:
    settings = IssuerSettings(
        url=url, redis_url=SecretStr(server.url), server_keys=SecretStr(secret), key_lead=100
    )
    CLIENTS.append(connect(server.url))
    return key_store(settings, IssuerRedis(CLIENTS[-1], "issuer"))


def kept(server: RedisServer) -> Mapping[str, str]:
    with server.client() as client:
        return cast("Mapping[str, str]", client.hgetall("issuer:keys"))


def two_keys(server: RedisServer, secret: str) -> list[str]:
    """Keys of the former url: one that signs, one that waits."""
    former = of(server, OLD, secret)
    former.begin(SigningKey.generate, 0)
    former.rotate(SigningKey.generate(), NOW)
    return [key.kid for key in former.published(NOW)]


def test_all_keys_go_on_under_the_new_url(redis_server: RedisServer) -> None:
    """The same kid and the same times; sealed under the newest server key; a second move finds nothing."""
    old, new = new_secret(), new_secret()
    kids = two_keys(redis_server, old)
    times = {kid: {**json.loads(text), "private": None} for kid, text in kept(redis_server).items()}
    taken = of(redis_server, NEW, f"{new} {old}")
    with pytest.raises(KeysUnusableError, match="bff issuer keys move"):
        taken.signer(NOW)
    assert sorted(kids) == taken.move(OLD, NOW)
    assert kids == [key.kid for key in of(redis_server, NEW, new).published(NOW)]
    assert times == {kid: {**json.loads(text), "private": None} for kid, text in kept(redis_server).items()}
    with pytest.raises(KeysUnusableError, match="no key to move"):
        taken.move(OLD, NOW)
    with pytest.raises(KeysUnusableError, match="does not open"):
        of(redis_server, OLD, old).signer(NOW)


@pytest.mark.parametrize("wrong", ["url", "one of them"])
def test_all_or_nothing(redis_server: RedisServer, wrong: str) -> None:
    """With the wrong former url, or one key of somebody else among them, Redis stays as it was."""
    secret = new_secret()
    two_keys(redis_server, secret)
    if wrong != "url":
        stranger = of(redis_server, OTHER, secret)
        key = SigningKey.generate()
        record = stranger._record(KeyLife(key.kid, 0, 0), key)
        with redis_server.client() as client:
            client.hset("issuer:keys", key.kid, record)
    before = kept(redis_server)
    with pytest.raises(KeysUnusableError, match="nothing was moved"):
        of(redis_server, NEW, secret).move(OTHER if wrong == "url" else OLD, NOW)
    assert before == kept(redis_server)


def test_a_rotation_in_between_is_moved_too(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another operator rotates between what the move has read and what it writes: no key is lost."""
    secret = new_secret()
    of(redis_server, OLD, secret).begin(SigningKey.generate, 0)
    taken = of(redis_server, NEW, secret)
    opened, late = taken._open_former, SigningKey.generate()

    def rotates_meanwhile(record: KeyRecord, former: str) -> OpenedKey:
        if late.kid not in kept(redis_server):
            of(redis_server, OLD, secret).rotate(late, NOW)
        return opened(record, former)

    monkeypatch.setattr(taken, "_open_former", rotates_meanwhile)
    assert late.kid in taken.move(OLD, NOW)
    assert 2 == len(of(redis_server, NEW, secret).published(NOW))


def test_what_began_under_the_former_url_goes_on(redis_server: RedisServer) -> None:
    """A refresh token is good at the new url, and its tokens are of that one, signed by the same key."""
    keys = SecretStr(new_secret())
    with (
        running_issuer(redis_server.url, (REDIRECT_URI,), server_keys=keys) as former,
        Person(former) as person,
    ):
        before = person.tokens()
        former.stop()
        port = former.url.rpartition(":")[2]
        settings = former.settings.model_copy(update={"url": f"http://127.0.0.1:{port}"})
        taken = of(redis_server, settings.url, keys.get_secret_value())
        assert 1 == len(taken.move(former.url, time.time()))
        renamed = RunningIssuer(settings, int(port))
        renamed.start()
        try:
            person.issuer = renamed
            after = person.refresh(before["refresh_token"]).json()
            token = after["access_token"]
            assert settings.url == payload_of(token)["iss"] == payload_of(after["id_token"])["iss"]
            assert kid_of(before["access_token"]) == kid_of(token)
            bearer = {"Authorization": f"Bearer {token}"}
            assert 200 == httpx.get(f"{renamed.url}/userinfo", headers=bearer).status_code
            old = {"Authorization": f"Bearer {before['access_token']}"}
            assert 401 == httpx.get(f"{renamed.url}/userinfo", headers=old).status_code
        finally:
            renamed.stop()


def kid_of(token: str) -> str:
    kid: str = jws.extract_compact(token.encode()).headers()["kid"]
    return kid


def run(server: RedisServer, secret: str, *arguments: str, url: str = NEW) -> Result:
    environment = {"ISSUER_URL": url, "ISSUER_REDIS_URL": server.url, "ISSUER_SERVER_KEYS": secret}
    with capture_logs():
        return CliRunner().invoke(app, ["keys", *arguments], env={**os.environ, **environment})


def unframed(text: str) -> str:
    """An error as it reads without its frame."""
    return " ".join(text.replace("│", " ").split())


def test_the_command(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dry run says what would be moved; mistakes are named, with 2 where the arguments are wrong."""
    monkeypatch.setattr(keys_cli, "configure", lambda _: None)  # the tests have their own
    secret = new_secret()
    kids = sorted(two_keys(redis_server, secret))
    before = kept(redis_server)
    dry = run(redis_server, secret, "move", "--from", OLD, "--dry-run")
    assert (0, f"2 keys would be moved: {', '.join(kids)}\n") == (dry.exit_code, dry.stderr)
    wrong = run(redis_server, secret, "move", "--from", OTHER)
    assert (1, True) == (wrong.exit_code, "nothing was moved" in wrong.stderr)
    same = run(redis_server, secret, "move", "--from", NEW)
    assert (2, True) == (same.exit_code, "set the new one first" in unframed(same.stderr))
    odd = run(redis_server, secret, "move", "--from", f"{OLD}/")
    assert (2, True) == (odd.exit_code, "must not end with a slash" in unframed(odd.stderr))
    assert before == kept(redis_server)
    done = run(redis_server, secret, "move", "--from", OLD)
    assert (0, f"2 keys moved: {', '.join(kids)}\n") == (done.exit_code, done.stderr)
    assert kids == sorted(
        key["kid"] for key in json.loads(run(redis_server, secret, "list", "--json").stdout)
    )
