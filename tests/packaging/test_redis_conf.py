"""`config/redis.conf` and `config/users.acl`, started by a real redis-server."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError, RedisError

from bff.embedded import find_redis, free_port
from tests.issuer.flow import REDIRECT_URI, Person
from tests.structure.source import ROOT
from tests.support.processes.command import bff, variables_for
from tests.support.processes.redis import redis_server
from tests.support.providers.issuer import running_issuer

REFUSALS = ("no permissions to run", "command not allowed", "EXEC without MULTI")
ACCOUNTS = (ROOT / "config" / "users.acl").read_text()


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("redis")
    for name in ("redis.conf", "users.acl"):
        shutil.copy(ROOT / "config" / name, folder)
    port = free_port()
    options = ("redis.conf", "--port", str(port), "--bind", "127.0.0.1", "--maxmemory", "64mb")
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen([*find_redis().command, *options], cwd=folder, stdout=out, stderr=out)
        try:
            _wait(process, port, log)
            yield port
        finally:
            process.terminate()
            process.wait(60)


def _wait(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(RedisError), account(port, "bff") as client:
            if client.ping():
                return
        time.sleep(0.01)
    raise AssertionError(log.read_text())


def account(port: int, name: str) -> Redis:
    return Redis.from_url(url_of(port, name))


def url_of(port: int, name: str) -> str:
    return f"redis://{name}:change-me-{name}@127.0.0.1:{port}/0"


def test_the_proxy_finds_nothing_to_complain_of(port: int, tmp_path: Path) -> None:
    """`bff check` on this Redis: version, a write, tracking and the policy of eviction."""
    environ = variables_for("http://127.0.0.1:9", url_of(port, "bff"))
    done = bff("check", cwd=tmp_path, environ=environ)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "redis" in line]
    assert lines
    assert "noeviction" in done.stdout
    assert "not allowed" not in done.stdout


def test_the_issuer_signs_in(port: int) -> None:
    """The issuer's account is enough for a sign-in and its tokens."""
    with running_issuer(url_of(port, "issuer"), (REDIRECT_URI,)) as issuer, Person(issuer) as person:
        assert "access_token" in person.exchange(person.code()).json()


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("bff", ("GET", "issuer:keys")),
        ("bff", ("FLUSHALL",)),
        ("bff", ("KEYS", "*")),
        ("bff", ("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")),
        ("issuer", ("GET", "bff:session:x")),
        ("api", ("GET", "issuer:revoked:jti:x")),
        ("api", ("SET", "issuer:revoked:jti:x", "1")),
    ],
)
def test_an_account_can_do_no_more_than_it_must(port: int, name: str, command: tuple[str, ...]) -> None:
    """Neither another service's keys nor orders to the server."""
    with account(port, name) as client, pytest.raises(NoPermissionError):
        client.execute_command(*command)


def test_the_proxys_account_runs_what_it_names_and_nothing_else(port: int) -> None:
    """Every command of the server is tried; those for signing in need no right."""
    words = next(line for line in ACCOUNTS.splitlines() if line.startswith("user bff ")).split()
    named = {word[1:] for word in words if word.startswith("+")}
    with account(port, "bff") as client:
        allowed = set()
        for command, arity in every_command().items():
            with client.pipeline(transaction=False) as pipe:
                pipe.execute_command(*command.split("|"), *["0"] * (arity - 1 - command.count("|")))
                (said,) = pipe.execute(raise_on_error=False)
            if not any(words in str(said) for words in REFUSALS):
                allowed.add(command)
    assert (set(), set()) == (named - allowed, allowed - named)


def every_command() -> dict[str, int]:
    """The commands of a server of this kind, and of how many words they are at least."""
    with redis_server() as server, server.client(protocol=2) as client:
        client.response_callbacks.clear()
        told: Any = client.execute_command("COMMAND")
    found: dict[str, int] = {}
    for name, arity, flags, *rest in told:
        parts = rest[-1] if rest and isinstance(rest[-1], list) else []
        for part, words, also in [(each[0], each[1], each[2]) for each in parts] or [(name, arity, flags)]:
            if not {"no_auth", "no-auth"} & set(also):
                found[str(part)] = abs(int(words))
    return found


def test_a_backend_may_ask_for_revocations(port: int) -> None:
    """Which is all that its account is for."""
    with account(port, "api") as client:
        assert 0 == client.exists("issuer:revoked:jti:x", "issuer:revoked:sid:x")
    with Redis(port=port) as nobody, pytest.raises(RedisError):
        nobody.ping()
