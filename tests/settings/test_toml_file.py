"""Settings files that are none: each is one problem, and none takes memory, time or the process along."""

import os
from pathlib import Path

import pytest

from bff.settings.load import load, load_all
from bff.settings.problem import SettingProblem, SettingsError
from bff.settings.toml_file import MOST_BYTES, read_toml
from tests.support.settings import GOOD, write

pytestmark = pytest.mark.requirement("S-10", "P-02")


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = " + "[" * 100_000, "nested too deeply"),
        ("a = " + "{b=" * 50_000, "nested too deeply"),
        ("a = " + "9" * 10_000, "a number that is too long"),
        ("a = 1\na = 2\nb = 3", "at line 2"),
        ("a = \x00", "at line 1"),
        ("#" * (MOST_BYTES + 1), "more than 1024 KiB"),
    ],
    ids=["arrays", "tables", "number", "twice", "control", "long"],
)
def test_a_hostile_file_is_one_problem(text: str, said: str) -> None:
    """However it is spoilt: the process that reads it goes on."""
    problem = read_toml(write(text)).problem
    assert problem is not None
    assert said in problem.message


def test_a_file_of_a_gigabyte_is_not_read() -> None:
    """It is refused after its bound, as a link to a device without an end is."""
    with Path("huge.toml").open("wb") as file:
        os.truncate(file.fileno(), 1 << 30)
    Path("zero.toml").symlink_to("/dev/zero")
    for name in ("huge.toml", "zero.toml"):
        problem = read_toml(Path(name)).problem
        assert problem is not None
        assert "more than 1024 KiB" in problem.message


def test_a_file_that_everybody_may_write(tmp_path: Path) -> None:
    """It is refused as a file of keys is: whoever writes it chooses who gets the tokens."""
    write(GOOD).chmod(0o646)
    (problem,) = problems_of(tmp_path / "bff.toml")
    assert ("", "may be written by every user of this machine") == (problem.key, problem.message)
    assert f"chmod o-w {tmp_path / 'bff.toml'}" == problem.fix


def problems_of(file: Path) -> list[SettingProblem]:
    with pytest.raises(SettingsError) as caught:
        load(file, {})
    return caught.value.problems


def test_on_loopback_that_is_a_warning() -> None:
    """A developer's disk may know no modes."""
    text = GOOD.replace("https://app.example.com", "http://localhost:8080")
    write(text).chmod(0o666)
    (warning,) = load_all(Path("bff.toml"), {}).warnings
    assert "every user" in warning.message
