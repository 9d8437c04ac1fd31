"""The package's metadata: the address where it is published, and a README that an index can show."""

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from tests.structure.source import ROOT

URL = "https://github.com/owner/bff"


def metadata(url: str | None) -> "subprocess.CompletedProcess[str]":
    variables = {name: value for name, value in os.environ.items() if name != "PROJECT_URL"}
    if url is not None:
        variables["PROJECT_URL"] = url
    command = [sys.executable, "-m", "hatchling", "metadata"]
    return subprocess.run(
        command, cwd=ROOT, env=variables, check=False, capture_output=True, text=True, timeout=120
    )


def read(url: str | None) -> dict[str, Any]:
    found = metadata(url)
    assert found.returncode == 0, found.stderr
    table: dict[str, Any] = json.loads(found.stdout)
    return table


def test_a_release_names_where_it_is_published() -> None:
    """With PROJECT_URL the metadata names the addresses, and the README's links and pictures are absolute."""
    table = read(f"{URL}/")
    tag = f"v{table['version']}"
    assert {"Source", "Documentation", "Changelog", "Issues", "Security"} == set(table["urls"])
    assert f"{URL}/blob/{tag}/.github/CHANGELOG.md" == table["urls"]["Changelog"]
    targets = re.findall(r"\]\(([^)]+)\)", table["readme"]["text"])
    assert f"{URL}/raw/{tag}/.github/page.png" in targets
    assert [] == [target for target in targets if not target.startswith("https://")]
    for target in targets:
        path = re.fullmatch(rf"{URL}/(?:blob|raw)/{tag}/([^#]+)(?:#.*)?", target)
        assert path is None or (ROOT / path[1]).exists(), target


def test_a_clone_names_none() -> None:
    """Without it no address is made up, and the README is the one of the tree."""
    table = read(None)
    assert {} == table.get("urls", {})
    assert (ROOT / "README.md").read_text() == table["readme"]["text"]


@pytest.mark.parametrize("url", ["bff", "http://example.com/owner/bff", "https://example.com"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """The build ends, and names the variable."""
    found = metadata(url)
    assert found.returncode != 0
    assert "PROJECT_URL: " in found.stderr


def test_one_version() -> None:
    """All that is published together has the version of `pyproject.toml`."""
    version = read(None)["version"]
    places = {
        "bff/__init__.py": r'__version__ = "(.+)"',
        "bff/verify/pyproject.toml": r'(?m)^version = "([^"]+)"',
        "bff/web/client/package.json": r'"version": "([^"]+)"',
        "bff/web/openapi.yaml": r"(?m)^  version: (\S+)$",
        "config/helm/Chart.yaml": r'(?m)^appVersion: "([^"]+)"',
    }
    found = {name: re.search(pattern, (ROOT / name).read_text()) for name, pattern in places.items()}
    assert dict.fromkeys(places, version) == {name: one and one[1] for name, one in found.items()}
