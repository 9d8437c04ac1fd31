"""Child processes that die with us."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bff.child import Child

PARENT = """
import sys
from pathlib import Path
from bff.child import Child
folder = Path(sys.argv[1])
child = Child(["/bin/sh", "-c", "sleep 1000 & sleep 1001"], log=folder / "log", scratch=folder)
print(child.pid, flush=True)
sys.stdin.read()
"""


def _living_in_group(group: int) -> list[str]:
    """The processes of a group that are not zombies."""
    listing = subprocess.run(["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True, check=True)
    rows = [line.split(None, 2) for line in listing.stdout.splitlines()]
    return [row[-1] for row in rows if row[0] == str(group) and not row[1].startswith("Z")]


def _wait_for(lines: int, group: int) -> None:
    deadline = time.monotonic() + 60
    while len(_living_in_group(group)) != lines:
        assert time.monotonic() < deadline, _living_in_group(group)
        time.sleep(0.02)


def test_what_a_child_started_dies_with_us_too(tmp_path: Path) -> None:
    """After kill -9 of the parent the child, its own children and the scratch folder are gone."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    command = [sys.executable, "-c", PARENT, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        group = int(parent.stdout.readline())
        _wait_for(4, group)  # the shell, two sleeps, the watcher
        parent.kill()
        parent.wait(60)
        _wait_for(0, group)
    assert not folder.exists()


PROGRAM = """
import sys, time
from bff.child import die_with
die_with(int(sys.argv[1]))
print("ready", flush=True)
time.sleep(1000)
"""
OURS = """
import os, subprocess, sys
reading, _ = os.pipe()
command = [sys.executable, "-c", sys.argv[1], str(reading)]
child = subprocess.Popen(command, pass_fds=[reading], start_new_session=True)
print(child.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("stopped", [False, True])
def test_a_program_of_ours_dies_with_us(stopped: bool) -> None:
    """After kill -9 of the parent a program that called `die_with` is gone, though it was stopped."""
    command = [sys.executable, "-c", OURS, PROGRAM]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        said = sorted([parent.stdout.readline().strip(), parent.stdout.readline().strip()])
        assert "ready" == said[1]
        if stopped:
            os.kill(int(said[0]), signal.SIGSTOP)
        _wait_for(1, int(said[0]))
        parent.kill()
        parent.wait(60)
        _wait_for(0, int(said[0]))


def test_killing_ends_all_of_it(tmp_path: Path) -> None:
    """`kill()` ends the child, what it started and the watcher, and can be called twice."""
    child = Child(["/bin/sh", "-c", "sleep 1000 & sleep 1001"], log=tmp_path / "log")
    _wait_for(4, child.pid)
    child.kill()
    child.kill()
    _wait_for(0, child.pid)
    assert not child.alive()


def test_it_tells_how_it_ended(tmp_path: Path) -> None:
    """Exit code, signal and last lines can be asked for."""
    log = tmp_path / "log"
    failing = Child(["/bin/sh", "-c", "echo one; echo two >&2; exit 3"], log=log)
    assert failing.wait(60)
    assert (3, ["one", "two"]) == (failing.exit_code, failing.last_lines(5))
    assert ["two"] == failing.last_lines(1)
    failing.kill()
    sleeping = Child(["sleep", "1000"], log=log)
    assert not sleeping.wait(0.01)
    sleeping.terminate()
    assert sleeping.wait(60)
    assert -signal.SIGTERM == sleeping.exit_code
    sleeping.kill()


def test_a_program_that_is_not_there_is_said(tmp_path: Path) -> None:
    """A missing program ends with 127, and its log names it."""
    child = Child(["/no/such/program"], log=tmp_path / "log")
    assert child.wait(60)
    assert 127 == child.exit_code
    assert "/no/such/program" in child.last_lines(1)[0]
    child.kill()


def test_no_shell_reads_the_arguments(tmp_path: Path) -> None:
    """Arguments arrive as they are, and nothing is inherited but what is given."""
    child = Child(
        ["/usr/bin/env", "printf", "%s|", "$HOME", "; exit 9", "a b"],
        log=tmp_path / "log",
        environment={"PATH": os.environ["PATH"]},
    )
    assert child.wait(60)
    assert ["$HOME|; exit 9|a b|"] == child.last_lines(1)
    child.kill()


def test_a_log_that_is_gone_is_no_error(tmp_path: Path) -> None:
    """Asking for the last lines of a removed log gives none."""
    child = Child(["true"], log=tmp_path / "log")
    child.wait(60)
    (tmp_path / "log").unlink()
    assert [] == child.last_lines(5)
    child.kill()
