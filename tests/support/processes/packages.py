"""The packages that carry a program for the tests: which of them are dependencies on this machine."""

from importlib.metadata import requires
from typing import NoReturn

import pytest
from packaging.requirements import Requirement


def has_wheel(package: str) -> bool:
    """Return True if a package is a dependency on this machine, as it is wherever there is a wheel of it."""
    stated = (Requirement(text) for text in requires("bff-session-proxy") or ())
    return any(
        one.name == package
        and (one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("demo", "test")))
        for one in stated
    )


def lacking(package: str) -> NoReturn:
    """Fails a test for want of a package that is a dependency here; skips it where there is no wheel."""
    if has_wheel(package):
        pytest.fail(f"{package} is a dependency here: it is not installed, or its program does not run")
    pytest.skip(f"{package} has no wheel for this machine")
