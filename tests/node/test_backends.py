"""The Node backends of `how-to/backends-others.md`, as the page has them, with tokens of a real issuer."""

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from bff.embedded import free_port
from tests.docs.pages import page
from tests.issuer.flow import REDIRECT_URI, Person
from tests.node.packages import installed
from tests.support.processes.redis import RedisServer
from tests.support.providers.issuer import AUDIENCE, RunningIssuer, running_issuer

_FENCE = re.compile(r'^```js title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
PROGRAMS = dict(_FENCE.findall(page("how-to/backends-others.md")))


@pytest.fixture(name="issuer")
def _issuer(redis_server: RedisServer) -> Iterator[RunningIssuer]:
    with running_issuer(redis_server.url, (REDIRECT_URI,)) as running:
        yield running


@contextmanager
def served(name: str, issuer: RunningIssuer) -> Iterator[httpx.Client]:
    """One of the programs, beside a link to its packages."""
    with tempfile.TemporaryDirectory() as place, httpx.Client(timeout=60) as client:
        (Path(place) / "node_modules").symlink_to(installed() / "node_modules")
        (Path(place) / name).write_text(PROGRAMS[name], encoding="utf-8")
        port = free_port()
        ours = {"ISSUER": issuer.url, "AUDIENCE": AUDIENCE, "PORT": str(port), "ALG": "ES256"}
        environment = {**os.environ, "NODE_ENV": "production", **ours}
        process = subprocess.Popen(
            ["node", name], cwd=place, env=environment, stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            assert "listening\n" == process.stdout.readline()
            client.base_url = httpx.URL(f"http://127.0.0.1:{port}")
            yield client
        finally:
            process.terminate()
            process.communicate(timeout=60)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_good_token_passes_and_others_are_told_in_the_words_that_heal(
    name: str, issuer: RunningIssuer
) -> None:
    """401 with `error="invalid_token"`, which makes the proxy rotate; without a token a bare challenge."""
    installed()
    with Person(issuer) as person:
        answer = person.exchange(person.code()).json()
    good, id_token = str(answer["access_token"]), str(answer["id_token"])
    with served(name, issuer) as client:

        def ask(token: str | None, path: str = "/orders") -> tuple[int, str]:
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            said = client.get(path, headers=headers)
            return said.status_code, said.headers.get("WWW-Authenticate", "")

        found = client.get("/orders", headers={"Authorization": f"Bearer {good}"})
        assert (200, ["user"]) == (found.status_code, list(found.json()))
        status, challenge = ask(None)
        assert (401, True, False) == (status, challenge.startswith("Bearer"), "invalid_token" in challenge)
        for bad in (f"{good[:-8]}AAAAAAAA", id_token):
            status, challenge = ask(bad)
            assert (401, True) == (status, 'error="invalid_token"' in challenge), challenge
        if name == "orders-express.mjs":
            assert 403 == ask(good, "/reports")[0]


def test_the_page_has_both() -> None:
    """With jose alone, and in Express."""
    assert ["orders.mjs", "orders-express.mjs"] == list(PROGRAMS)
