"""`config/locks`: every package of the image with its hashes, in step with pyproject.toml."""

import re
import tomllib
from itertools import chain

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.structure.source import ROOT

LOCKS = ROOT / "config" / "locks"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
WANTED = {
    "requirements.lock": [*PROJECT["dependencies"], *EXTRAS["otel"]],
    "demo.lock": [*PROJECT["dependencies"], *EXTRAS["issuer"], *EXTRAS["demo"]],
    "build.lock": [line for line in (LOCKS / "build.in").read_text().splitlines() if line[:1] != "#"],
}
ONLY_HERE = {canonicalize_name(Requirement(text).name) for text in chain(EXTRAS["issuer"], EXTRAS["demo"])}


def pinned(lock: str) -> dict[str, str]:
    """The versions by name, of a lock in which each entry has a hash."""
    text = (LOCKS / lock).read_text().replace("\\\n", " ")
    found: dict[str, str] = {}
    for line in text.splitlines():
        entry = r"([a-z0-9.-]+)==(\S+)( ; [^\\]+?)?((?:\s+--hash=sha256:[0-9a-f]{64})+)\s*"
        match = re.fullmatch(entry, line)
        assert match, f"{lock}: {line[:60]}"
        found[match[1]] = match[2]
    return found


@pytest.mark.parametrize("lock", WANTED)
def test_a_lock_is_in_step_with_what_is_required(lock: str) -> None:
    """Each requirement is pinned within its bounds, by hash; `.ci/lock` makes the locks anew."""
    versions = pinned(lock)
    for text in WANTED[lock]:
        one = Requirement(text)
        if one.name != PROJECT["name"]:
            assert one.specifier.contains(versions[canonicalize_name(one.name)]), f"{one}: run .ci/lock"


def test_the_proxys_lock_has_no_part_of_the_issuer() -> None:
    """What only the extras need is not in the proxy's image."""
    assert set() == (ONLY_HERE - {"bff-session-proxy"}) & pinned("requirements.lock").keys()


@pytest.mark.parametrize("lock", WANTED)
def test_a_lock_names_no_address(lock: str) -> None:
    """Packages come from the index that an installation is set to."""
    assert "://" not in (LOCKS / lock).read_text()


def test_the_image_installs_by_hash_only() -> None:
    """Every `pip install` of the Dockerfile checks hashes, or takes the wheel that was just built."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    installs = re.findall(r"pip install ([^&\n]+)", text)
    assert 5 == len(installs)
    assert all("--require-hashes" in one or "--no-index" in one for one in installs)
    assert "USER 10001:10001" in text
    assert "proxy" == re.findall(r"^FROM \S+ AS (\S+)$", text, re.MULTILINE)[-1]
