"""The demo's signals."""

import io
import os
import signal

import pytest
from rich.console import Console

from bff.demo.run import _signals


class Terminal(io.StringIO):
    """A terminal, which can be closed."""

    there = True

    def isatty(self) -> bool:
        return self.there


@pytest.mark.requirement("S-10")
@pytest.mark.parametrize("output", [io.StringIO, Terminal])
def test_a_hangup_from_somebody_else(output: type[io.StringIO]) -> None:
    """SIGHUP ends nothing where the terminal is still there, or never was."""
    stopped: list[bool] = []
    with _signals(lambda: stopped.append(True), Console(file=output())):
        os.kill(os.getpid(), signal.SIGHUP)
        assert [] == stopped
        os.kill(os.getpid(), signal.SIGTERM)
        assert [True] == stopped


def test_a_closed_terminal() -> None:
    """It ends the demo in order."""
    stopped: list[bool] = []
    terminal = Terminal()
    with _signals(lambda: stopped.append(True), Console(file=terminal)):
        terminal.there = False
        os.kill(os.getpid(), signal.SIGHUP)
    assert [True] == stopped
