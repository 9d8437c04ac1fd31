"""Rotation while the issuer is in use: two processes, a verifier, and the command."""

import asyncio
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from joserfc import jws
from pydantic import SecretStr
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from bff.crypto import new_secret
from bff.embedded import free_port
from bff.issuer.cli import keys as keys_cli
from bff.issuer.cli.main import app
from bff.issuer.settings import IssuerSettings
from bff.verify import TokenVerifier
from tests.issuer.flow import REDIRECT_URI, Person
from tests.support.processes.forked import forked
from tests.support.processes.redis import RedisServer
from tests.support.providers.issuer import AUDIENCE, RunningIssuer, running_issuer

LEAD = 1.0


@pytest.fixture(name="issuer")
def _issuer(redis_server: RedisServer) -> Iterator[RunningIssuer]:
    with running_issuer(
        redis_server.url, (REDIRECT_URI,), server_keys=SecretStr(new_secret()), key_lead=LEAD
    ) as running:
        yield running


@pytest.fixture(name="twin")
def _twin(issuer: RunningIssuer) -> Iterator[str]:
    """The address of a second issuer, of the same name, keys and Redis."""
    port = free_port()
    twin = RunningIssuer(issuer.settings, port)
    twin.start()
    yield f"http://127.0.0.1:{port}"
    twin.stop()


def environment(settings: IssuerSettings, **more: str) -> dict[str, str]:
    return {
        "ISSUER_URL": settings.url,
        "ISSUER_REDIS_URL": settings.redis_url.get_secret_value(),
        "ISSUER_SERVER_KEYS": settings.server_keys.get_secret_value(),
        "ISSUER_KEY_LEAD": str(settings.key_lead),
        **more,
    }


def rotate_as_operator(settings: IssuerSettings) -> "subprocess.CompletedProcess[str]":
    return forked(["bff", "issuer", "keys", "rotate"], env={**os.environ, **environment(settings)})


@pytest.fixture(name="command")
def _command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs `bff issuer keys …` in this process."""
    monkeypatch.setattr(keys_cli, "configure", lambda _: None)  # the tests have their own

    def run(settings: IssuerSettings, *arguments: str, **more: str) -> Result:
        with capture_logs():
            return CliRunner().invoke(app, ["keys", *arguments], env=environment(settings, **more))

    return run


def kid_of(token: str) -> str:
    kid: str = jws.extract_compact(token.encode()).headers()["kid"]
    return kid


@pytest.mark.requirement("J-08", "O-09")
async def test_a_rotation_under_load_is_noticed_by_nobody(
    issuer: RunningIssuer, twin: str, person: Person
) -> None:
    """Two issuers issue all the while, an operator rotates: each token is good at the verifier."""
    tokens: list[str] = []
    stop = threading.Event()
    failures: list[Any] = []

    def load(address: str, refresh_token: str) -> None:
        with httpx.Client(timeout=60) as client:
            while not stop.is_set():
                form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
                auth = (issuer.client_id, issuer.client_secret)
                answer = client.post(f"{address}/token", data=form, auth=auth)
                if answer.status_code != 200:
                    failures.append(answer.text)
                    return
                refresh_token = answer.json()["refresh_token"]
                tokens.append(answer.json()["access_token"])
                time.sleep(0.01)

    first = person.tokens()
    with Person(issuer) as other:
        second = other.tokens()
    threads = [
        threading.Thread(target=load, args=(address, pair["refresh_token"]))
        for address, pair in ((issuer.url, first), (twin, second))
    ]
    async with TokenVerifier(
        issuer=issuer.url, audience=AUDIENCE, cooldown=0.2, fresh=LEAD / 4, remembered=0
    ) as verifier:
        for thread in threads:
            thread.start()
        try:
            done = await asyncio.to_thread(rotate_as_operator, issuer.settings)
            assert 0 == done.returncode, done.stderr
            checked, deadline = 0, time.monotonic() + 60
            kids: set[str] = set()
            while len(kids) < 2 or checked < 200:
                assert time.monotonic() < deadline
                assert [] == failures
                if checked == len(tokens):
                    await asyncio.sleep(0.005)
                    continue
                await verifier.verify(tokens[checked])
                kids.add(kid_of(tokens[checked]))
                checked += 1
        finally:
            stop.set()
            for thread in threads:
                thread.join(10)
        for token in (first["access_token"], *tokens[checked:]):
            await verifier.verify(token)


def test_the_command_tells_what_is(
    issuer: RunningIssuer, person: Person, command: Callable[..., Result]
) -> None:
    """`list` names each key and its phase; a second `rotate` in the lead is refused with 1."""
    id_token = person.tokens()["id_token"]
    settings = issuer.settings.model_copy(update={"key_lead": 600.0})
    (only,) = json.loads(command(settings, "list", "--json").stdout)
    assert (kid_of(id_token), "ES256", "signing", None) == (
        only["kid"],
        only["alg"],
        only["phase"],
        only["published_until"],
    )
    assert 0 == command(settings, "rotate", ISSUER_ALGORITHM="RS256").exit_code
    again = command(settings, "rotate")
    assert (1, "A key waits for its first signature already.\n") == (again.exit_code, again.stderr)
    listed = json.loads(command(settings, "list", "--json").stdout)
    assert [("ES256", "signing"), ("RS256", "waiting")] == [(key["alg"], key["phase"]) for key in listed]
    assert "waiting" in command(settings, "list").stdout


def test_a_restart_keeps_the_keys(issuer: RunningIssuer, person: Person) -> None:
    """What was signed before a restart is good after it, and `kid` stays."""
    before = person.tokens()
    issuer.restart()
    userinfo = f"{issuer.url}/userinfo"
    headers = {"Authorization": f"Bearer {before['access_token']}"}
    assert 200 == httpx.get(userinfo, headers=headers).status_code
    after = person.refresh(before["refresh_token"]).json()
    assert kid_of(before["access_token"]) == kid_of(after["access_token"])


def test_rs256_on_request(redis_server: RedisServer) -> None:
    """With `algorithm = "RS256"` tokens are RS256 by 2048 bits, and discovery says so."""
    with (
        running_issuer(redis_server.url, (REDIRECT_URI,), algorithm="RS256") as issuer,
        Person(issuer) as person,
    ):
        tokens = person.tokens()
        assert {"RS256"} == {
            jws.extract_compact(tokens[name].encode()).headers()["alg"]
            for name in ("access_token", "id_token")
        }
        document = httpx.get(f"{issuer.url}/.well-known/oauth-authorization-server").json()
        assert ["RS256"] == document["id_token_signing_alg_values_supported"]
        (key,) = httpx.get(f"{issuer.url}/jwks").json()["keys"]
        assert ("RSA", "RS256", 342) == (key["kty"], key["alg"], len(key["n"]))


def test_without_server_keys_there_is_nothing_to_rotate(
    redis_server: RedisServer, command: Callable[..., Result]
) -> None:
    """The command says what is missing, with 2; and an https issuer does not start without."""
    settings = IssuerSettings(url="http://localhost:9000", redis_url=SecretStr(redis_server.url))
    done = command(settings, "rotate")
    assert 2 == done.exit_code
    assert "server_keys" in done.stderr
    https = command(settings, "list", ISSUER_URL="https://id.example")
    assert (2, True) == (https.exit_code, "server_keys" in https.stderr)
