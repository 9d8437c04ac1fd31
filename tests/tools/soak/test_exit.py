"""The fuzzers' clean exit."""

import subprocess
import sys

import pytest

from tests.structure.source import ROOT
from tests.tools.soak import fuzz


@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_nothing_is_left_open(target: str) -> None:
    """A process that has checked an input ends without a warning: no loop and no socket is left open."""
    program = f"from tests.tools.soak import fuzz; fuzz.load({target!r})(next(iter(fuzz.seeds({target!r}))))"
    command = [sys.executable, "-X", "dev", "-W", "ignore", "-W", "always::ResourceWarning", "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (0, "") == (done.returncode, done.stderr)
