"""The README names everything that a user can meet."""

import re

import pytest

from bff.errors import Problem
from bff.observe.metrics import Metrics
from tests.structure.source import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
WEB = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "bff" / "web").glob("*.py")))


@pytest.mark.parametrize("problem", list(Problem), ids=lambda problem: problem.code)
def test_every_error_code_is_explained(problem: Problem) -> None:
    """Code and status stand in one row of the error table."""
    rows = [line for line in README.splitlines() if line.startswith("|") and f"`{problem.code}`" in line]
    assert [True] == [str(problem.status) in row for row in rows]


def test_every_endpoint_is_listed() -> None:
    """Each path that the web row routes stands in the endpoint table."""
    paths = set(re.findall(r'"(/bff/[a-z./-]+)"', WEB)) - {"/bff/logout?"}
    assert len(paths) >= 7
    assert set() == {path for path in paths if f"`{path}" not in README}


def test_every_metric_is_listed() -> None:
    """Each metric of ours stands in the README by the name that Prometheus sees."""
    text = Metrics().render()[0].decode()
    names = set(re.findall(r"^# TYPE (bff_\w+) ", text, re.MULTILINE))
    ours = {name for name in names if not name.startswith("bff_process_")}
    assert len(ours) >= 10
    assert set() == {name for name in ours if f"`{name}`" not in README}


DEMO = "python3 -m venv .venv && .venv/bin/python -m pip install -e . && .venv/bin/bff demo"
TESTS = "python3 -m venv .venv && .venv/bin/python -m pip install -e '.[test]' && .venv/bin/python -m pytest"


def test_the_commands_are_the_promised_ones() -> None:
    """The two commands stand first, word for word; each makes the environment that it needs."""
    commands = re.findall(r"^python3 .*$", README, re.MULTILINE)
    assert [DEMO, TESTS] == commands


def test_what_a_fresh_machine_lacks_is_named() -> None:
    """What Debian and Ubuntu leave out of Python, and how to go without an environment of one's own."""
    beginning = README[: README.index("## How a request goes")]
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
