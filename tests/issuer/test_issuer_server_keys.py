"""The server keys of a running issuer follow their file."""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from structlog.testing import capture_logs

from bff.crypto import new_secret
from bff.issuer.keys import server_keys_file
from bff.issuer.keys.key_store import KeyStore, key_store
from bff.issuer.keys.keys import SigningKey
from bff.issuer.keys.server_keys_file import Look, ServerKeysFile
from bff.issuer.store.redis import IssuerRedis, connect
from bff.issuer.store.sealing import Sealer
from bff.settings import watched_files
from tests.support.processes.redis import RedisServer
from tests.support.providers.issuer import RunningIssuer, running_issuer
from tests.support.settings import secret
from tests.support.wait import until

pytestmark = pytest.mark.requirement("S-09")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No wait for a file that is being written: these tests write theirs whole."""
    monkeypatch.setattr(watched_files, "SETTLE", 0.0)
    monkeypatch.setattr(server_keys_file, "INTERVAL", 0.01)


CLIENTS: list["redis.Redis"] = []


@pytest.fixture(autouse=True)
def _clients() -> Iterator[None]:
    yield
    while CLIENTS:
        CLIENTS.pop().close()


def database(server: RedisServer) -> IssuerRedis:
    CLIENTS.append(connect(server.url))
    return IssuerRedis(CLIENTS[-1], "issuer")


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Path:
    return secret(str(tmp_path / "keys"), new_secret())


@pytest.fixture(name="issuer")
def _issuer(redis_server: RedisServer, file: Path) -> Iterator[RunningIssuer]:
    with running_issuer(redis_server.url, server_keys_file=file, key_lead=1) as running:
        yield running


def operator(issuer: RunningIssuer, server: RedisServer, *server_keys: str) -> KeyStore:
    """The keys as a command beside the issuer has them, with other server keys."""
    keys = key_store(issuer.settings, database(server))
    keys.take_server_keys(Sealer(server_keys))
    return keys


def kids(issuer: RunningIssuer) -> list[str]:
    return [key["kid"] for key in httpx.get(f"{issuer.url}/jwks").json()["keys"]]


def test_a_newer_server_key_is_taken_while_it_serves(
    issuer: RunningIssuer, redis_server: RedisServer, file: Path
) -> None:
    """A key that an operator makes under the newest one is published, without a restart."""
    old, new = file.read_text().strip(), new_secret()
    (first,) = kids(issuer)
    file.write_text(f"{new}\n{old}\n")
    made = SigningKey.generate()
    operator(issuer, redis_server, new, old).rotate(made, time.time())
    asyncio.run(until(lambda: {first, made.kid} == set(kids(issuer))))
    file.write_text(f"{new}\n")  # all was sealed anew: the old one can go
    asyncio.run(until(lambda: _in_force(issuer) == (new,)))
    assert {first, made.kid} == set(kids(issuer))


def _in_force(issuer: RunningIssuer) -> tuple[str, ...]:
    app: Any = issuer.seen.app
    found: tuple[str, ...] = app.state.server_keys_file._in_force
    return found


@pytest.fixture(name="followed")
def _followed(redis_server: RedisServer, file: Path) -> ServerKeysFile:
    """A file that is followed by hand."""
    in_force = (file.read_text().strip(),)
    keys = KeyStore(database(redis_server), Sealer(in_force), "https://id.example", 1, 1)
    keys.begin(SigningKey.generate, 0)
    return ServerKeysFile(file, in_force, keys)


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (lambda file: file.write_text("nonsense\n"), "32 bytes"),
        (lambda file: file.write_text(""), "32 bytes"),
        (lambda file: file.write_text(new_secret()), "does not open with them"),
        (lambda file: file.chmod(0o666), "every user of this machine may write it"),
        (lambda file: file.unlink(), "there is no such file"),
        (lambda file: [step(file) for step in (Path.unlink, os.mkfifo)], "cannot be read"),
        (lambda file: file.write_text("#" * 100_000), "cannot be read"),
    ],
    ids=["nonsense", "empty", "others", "writable", "gone", "pipe", "long"],
)
def test_a_bad_file_leaves_the_former_keys_in_force(
    followed: ServerKeysFile, file: Path, bad: Callable[[Path], object], problem: str
) -> None:
    """The log says so, once for each change and at each SIGHUP, and repeats nothing of the file."""
    good = file.read_text()
    assert Look.SAME is followed.look()
    bad(file)
    with capture_logs() as lines:
        assert [Look.REFUSED, Look.SAME] == [followed.look(), followed.look()]
        asyncio.run(followed.reload())
    told = [line for line in lines if line["event"] == "settings_file_refused"]
    assert 2 == len(told)
    assert problem in told[0]["problem"]
    assert "error" == told[0]["log_level"]
    assert ["server_keys_file"] == lines[-1]["refused"]
    assert "nonsense" not in str(lines)
    assert (good.strip(),) == followed._in_force
    file.unlink(missing_ok=True)
    secret(str(file), good.strip())
    assert Look.SAME is followed.look()  # as it was
    with capture_logs() as lines:
        asyncio.run(followed.reload())
    assert [] == lines[-1]["refused"]


def test_nothing_is_decided_while_redis_is_down(
    followed: ServerKeysFile, file: Path, redis_server: RedisServer
) -> None:
    """The look after the outage takes the newer keys."""
    both = f"{new_secret()}\n{file.read_text()}"
    followed.look()
    redis_server.stop()
    file.write_text(both)
    assert Look.LATER is followed.look()
    redis_server.start()
    assert Look.TAKEN is followed.look()
    assert tuple(both.split()) == followed._in_force


def test_a_file_that_is_being_written_is_left_alone(
    followed: ServerKeysFile, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may look whole."""
    monkeypatch.setattr(watched_files, "SETTLE", 3600.0)
    file.write_text("half of a k")
    assert Look.WAITING is followed.look()
    assert not followed.ask()


def test_keys_of_another_process_are_asked_for(
    followed: ServerKeysFile, file: Path, redis_server: RedisServer
) -> None:
    """What another process has sealed with a newer server key opens at once: the file is looked at first."""
    old, new = file.read_text().strip(), new_secret()
    mine = followed._keys
    mine.ask_for_newer = followed.ask
    other = KeyStore(database(redis_server), Sealer([new, old]), "https://id.example", 1, 1)
    file.write_text(f"{new}\n{old}\n")
    made = SigningKey.generate()
    other.rotate(made, 100)
    assert made.kid in [key.kid for key in mine.published(100)]
