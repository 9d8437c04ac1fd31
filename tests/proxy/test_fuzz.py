"""A sample of the fuzzing, and what it has found (H-02)."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.soak import fuzz
from tests.structure.source import ROOT


@pytest.mark.requirement("H-02")
@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_corpus_and_found_inputs(target: str) -> None:
    """No input of the corpora, and none that was found once, crashes or is framed in two ways."""
    check = fuzz.load(target)
    assert fuzz.seeds(target)
    for data in fuzz.seeds(target):
        check(data)


@pytest.mark.requirement("H-02")
def test_some_seconds() -> None:
    """Ten seconds on each of the targets, with a fixed seed, find nothing."""
    command = [sys.executable, "-m", "tests.soak", "fuzz", "--minutes", "0.167", "--seed", "20"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr
    assert len(fuzz.TARGETS) == done.stdout.count("nothing found")


def test_the_fuzzer_can_find(tmp_path: Path) -> None:
    """An input that a check refuses ends the run, and is kept."""

    def check(data: bytes) -> None:
        assert data.count(b"\r\n\r\n") < 2  # as two heads have

    (tmp_path / "found").mkdir()
    with pytest.raises(AssertionError):
        fuzz.fuzz_blind(check, fuzz.seeds("door"), tmp_path, 60, 1)
    (kept,) = (tmp_path / "found").iterdir()
    assert kept.read_bytes().count(b"\r\n\r\n") >= 2


def test_blind_fuzzing_finds_nothing(tmp_path: Path) -> None:
    """Where there is no atheris the same checks get inputs by chance."""
    (tmp_path / "found").mkdir()
    fuzz.fuzz_blind(fuzz.load("answer"), fuzz.seeds("answer"), tmp_path, 1, 1)
    assert [] == list((tmp_path / "found").iterdir())
