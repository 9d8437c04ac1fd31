"""The examples, on the distribution `bff-verify` as it is built: FastAPI, Starlette, Flask and Django."""

import importlib
import os
import subprocess
import sys
import threading
import time
import wsgiref.simple_server
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from bff.embedded import EmbeddedRedis, free_port
from tests.issuer.flow import CREDENTIALS, REDIRECT_URI, Person
from tests.structure.source import ROOT
from tests.support.providers.issuer import AUDIENCE, RunningIssuer, ServedApp, running_issuer
from tests.verify.proofs import proof

LONG = 1e9  # seconds: no period ends during a test


@pytest.fixture(scope="module")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of bff-verify, unpacked."""
    folder = tmp_path_factory.mktemp("bff-verify")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT / "bff" / "verify", check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("bff_verify-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def issuer() -> Iterator[RunningIssuer]:
    with EmbeddedRedis() as redis, running_issuer(redis.url, (REDIRECT_URI,)) as running:
        yield running


@pytest.fixture(scope="module")
def token(issuer: RunningIssuer) -> str:
    with Person(issuer) as person:
        return str(person.exchange(person.code()).json()["access_token"])


@pytest.fixture(scope="module")
def load(distribution: Path, issuer: RunningIssuer) -> Iterator[Callable[[str], Any]]:
    """Imports an example as its own users do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(distribution))
        patch.setenv("ISSUER", issuer.url)
        patch.setenv("AUDIENCE", AUDIENCE)
        yield lambda name: importlib.import_module(f"tests.examples.backends.{name}_orders")


class _Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def served(name: str, app: Any) -> Iterator[str]:
    if name in {"fastapi", "starlette"}:
        running = ServedApp(app, free_port())
        running.start()
        try:
            yield f"http://127.0.0.1:{running.port}"
        finally:
            running.stop()
        return
    with wsgiref.simple_server.make_server("127.0.0.1", 0, app, handler_class=_Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("name", ["fastapi", "starlette", "flask", "django"])
def test_an_example_takes_good_tokens_and_says_why_it_refuses_others(
    name: str, load: Callable[[str], Any], token: str
) -> None:
    """A real issuer's token is taken; others get the status and the challenge of RFC 6750."""
    module = load(name)
    with served(name, module.app) as url, httpx.Client(base_url=url) as client:

        def ask(path: str, *values: str) -> tuple[int, str | None]:
            answer = client.get(path, headers=[("Authorization", value) for value in values])
            return answer.status_code, answer.headers.get("WWW-Authenticate")

        good = client.get("/orders", headers={"Authorization": f"Bearer {token}"})
        assert (200, ["user"]) == (good.status_code, list(good.json()))
        assert (401, "Bearer") == ask("/orders")
        status, challenge = ask("/orders", f"Bearer {token[:-8]}AAAAAAAA")
        assert (401, 'Bearer error="invalid_token", error_description="signature"') == (status, challenge)
        assert (401, 'Bearer error="invalid_token", error_description="malformed"') == ask(
            "/orders", "Bearer nonsense"
        )
        status, challenge = ask("/reports/" if name == "starlette" else "/reports", f"Bearer {token}")
        assert (403, True) == (status, 'error="insufficient_scope"' in str(challenge))
        assert 'scope="reports"' in str(challenge)
        assert ask("/orders", f"Bearer {token}", f"Bearer {token}")[0] in {400, 401}
    if name in {"flask", "django"}:
        module.verifier.close()


@pytest.mark.requirement("P-03")
@pytest.mark.parametrize("name", ["fastapi", "starlette", "flask", "django"])
def test_an_example_takes_a_bound_token_with_its_proof_alone(
    name: str, load: Callable[[str], Any], issuer: RunningIssuer
) -> None:
    """A token that the issuer bound to a key: with a proof for this call, once; never as a bearer token.

    Where nonces are asked for, a good answer to a proof with an ageing one brings the next (RFC 9449 8.2).
    """
    with Person(issuer) as person:
        form, at = person.code_form(person.code()), f"{issuer.url}/token"
        asked = {"DPoP": proof(at, iat=time.time())}
        token = person.http.post(at, data=form, auth=CREDENTIALS, headers=asked).json()["access_token"]
    module = load(name)
    with served(name, module.app) as url, httpx.Client(base_url=url) as client:
        shown = proof(f"{url}/orders", "GET", iat=time.time(), token=token)
        headers = {"Authorization": f"DPoP {token}", "DPoP": shown}
        assert 200 == client.get("/orders?page=2", headers=headers).status_code
        again = client.get("/orders", headers=headers)
        assert (401, "proof_replayed") == (again.status_code, _reason(again.json()))
        plain = client.get("/orders", headers={"Authorization": f"Bearer {token}"})
        assert (401, "bound") == (plain.status_code, _reason(plain.json()))
        elsewhere = proof(f"{url}/other", "GET", iat=time.time(), token=token)
        refused = client.get("/orders", headers={**headers, "DPoP": elsewhere})
        assert refused.headers["WWW-Authenticate"].startswith('DPoP error="invalid_dpop_proof"')
        nonces, now = ask_for_nonces(module.verifier), time.time()
        for nonce, newer in ((nonces.current(now - LONG), nonces.current(now)), (nonces.current(now), None)):
            shown = proof(f"{url}/orders", "GET", iat=now, token=token, nonce=nonce)
            good = client.get("/orders", headers={**headers, "DPoP": shown})
            assert (200, newer) == (good.status_code, good.headers.get("DPoP-Nonce"))
    if name in {"flask", "django"}:
        module.verifier.close()


def ask_for_nonces(verifier: Any) -> Any:
    """Makes a verifier that is at work ask for nonces of long periods; returns these."""
    nonces = importlib.import_module("bff_verify").Nonces(lifetime=LONG)
    binding = getattr(verifier, "_verifier", verifier)._binding
    binding._dpop = replace(binding._dpop, nonces=nonces)
    return nonces


def _reason(body: dict[str, Any]) -> str:
    """The reason in an answer; FastAPI puts it into `detail`."""
    return str(body.get("detail", body)["reason"])


def test_fastapi_describes_the_scheme(load: Callable[[str], Any]) -> None:
    """The OpenAPI document names the scheme, so that its page has a field for the token."""
    document = load("fastapi").app.openapi()
    assert {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"} == document["components"][
        "securitySchemes"
    ]["Bearer"]


def test_the_distribution_stands_alone(distribution: Path) -> None:
    """Imported without bff, its settings, Redis or a web framework in reach."""
    said = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, bff_verify; print(*{n.partition('.')[0] for n in sys.modules})",
        ],
        env={**os.environ, "PYTHONPATH": str(distribution)},
        cwd=distribution,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    foreign = {"bff", "redis", "starlette", "pydantic", "structlog", "fastapi", "django", "flask"}
    assert set() == foreign & set(said.stdout.split())
