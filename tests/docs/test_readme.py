"""The README: what a newcomer needs, and no more."""

import re

from tests.structure.source import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
MOST_LINES = 150
DEMO = "python3 -m venv .venv && .venv/bin/python -m pip install -e . && .venv/bin/bff demo"
TESTS = "python3 -m venv .venv && .venv/bin/python -m pip install -e '.[test]' && .venv/bin/python -m pytest"


def test_it_is_short() -> None:
    """What more there is to say stands in `.github/docs`: settings, endpoints, codes, metrics, recipes."""
    assert len(README.splitlines()) <= MOST_LINES


def test_the_commands_are_the_promised_ones() -> None:
    """The two commands stand first, word for word; each makes the environment that it needs."""
    commands = re.findall(r"^python3 .*$", README, re.MULTILINE)
    assert [DEMO, TESTS] == commands


def test_what_a_fresh_machine_lacks_is_named() -> None:
    """What Debian and Ubuntu leave out of Python, and how to go without an environment of one's own."""
    beginning = README[: README.index("\n## Why")]
    for words in (
        "apt install python3-venv",
        "uvx --from '.[demo]' bff demo",
        "pipx run --spec '.[demo]' bff demo",
    ):
        assert f"`{words}`" in beginning or f"`sudo {words}`" in beginning


def test_ci_runs_the_promised_command() -> None:
    """The last line of `.ci/run` is the README's, outside of the environment of the steps before."""
    *_, left, last = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert ("deactivate", TESTS) == (left, last)


def test_no_document_installs_outside_an_environment() -> None:
    """A stock Debian or Ubuntu refuses that (PEP 668)."""
    for path in (
        "README.md",
        ".github/CONTRIBUTING.md",
        "tests/tools/bench/__main__.py",
        "bff/ARCHITECTURE.md",
    ):
        for line in (ROOT / path).read_text(encoding="utf-8").splitlines():
            assert "pip install" not in line or ".venv/bin/python -m pip" in line, f"{path}: {line}"
