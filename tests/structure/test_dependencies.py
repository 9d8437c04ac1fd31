"""What `pyproject.toml` says of the packages that are installed with bff."""

import tomllib
from importlib.metadata import PackageNotFoundError, version
from itertools import chain

import pytest
from packaging.requirements import Requirement

from tests.structure.source import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIREMENTS = [
    requirement
    for text in [*PROJECT["dependencies"], *chain.from_iterable(PROJECT["optional-dependencies"].values())]
    if (requirement := Requirement(text)).name != PROJECT["name"]
]
TOOLS = {"mypy", "ruff", "types-pyyaml"}  # of `dev`, which the tests do without


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=lambda requirement: requirement.name)
def test_each_dependency_has_a_least_version(requirement: Requirement) -> None:
    """An installation never gets a version older than the one that this was written for."""
    assert any(bound.operator == ">=" for bound in requirement.specifier)


@pytest.mark.parametrize(
    "requirement",
    [one for one in REQUIREMENTS if one.name not in TOOLS],
    ids=lambda requirement: requirement.name,
)
def test_what_is_installed_fits(requirement: Requirement) -> None:
    """The tests run on versions that the bounds allow."""
    if requirement.marker is None or requirement.marker.evaluate():
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            pytest.fail(f"{requirement.name} is not installed: python3 -m pip install -e '.[dev]'")
        assert requirement.specifier.contains(installed, prereleases=True)
