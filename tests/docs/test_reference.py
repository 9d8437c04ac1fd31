"""The reference names everything that a user can meet."""

import re
from pathlib import Path

import pytest

from bff.errors import Problem
from bff.observe.metrics import Metrics
from bff.settings.messages import SECTIONS
from tests.docs.pages import DOCS, page
from tests.structure.source import ROOT

WEB = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "bff" / "web").glob("*.py")))


@pytest.mark.parametrize("problem", list(Problem), ids=lambda problem: problem.code)
def test_every_error_code_is_explained(problem: Problem) -> None:
    """Code and status stand in one row of the table in `.github/docs/reference/errors.md`."""
    lines = page("reference/errors.md").splitlines()
    rows = [line for line in lines if line.startswith("|") and f"`{problem.code}`" in line]
    assert [True] == [str(problem.status) in row for row in rows]


def test_every_endpoint_is_listed() -> None:
    """Each path that the web row routes stands in `.github/docs/reference/endpoints.md`."""
    paths = set(re.findall(r'"(/bff/[a-z./-]+)"', WEB)) - {"/bff/logout?"}
    assert len(paths) >= 7
    assert set() == {path for path in paths if f"`{path}" not in page("reference/endpoints.md")}


def test_every_metric_is_listed() -> None:
    """Each metric of ours stands in `.github/docs/operate/metrics.md` by the name that Prometheus sees."""
    text = Metrics().render()[0].decode()
    names = set(re.findall(r"^# TYPE (bff_\w+) ", text, re.MULTILINE))
    ours = {name for name in names if not name.startswith("bff_process_")}
    assert len(ours) >= 10
    assert set() == {name for name in ours if f"`{name}`" not in page("operate/metrics.md")}


@pytest.mark.parametrize(
    "path", sorted(DOCS.rglob("*.md")), ids=lambda path: path.relative_to(DOCS).as_posix()
)
def test_settings_that_are_named_exist(path: Path) -> None:
    """A page that names a setting, like `server.port`, names one that there is."""
    named = set(re.findall(r"`(\w+)\.(\w+)(?: = [^`]*)?`", path.read_text(encoding="utf-8")))
    ours = {(section, key) for section, key in named if section in SECTIONS}
    assert set() == {(section, key) for section, key in ours if key not in SECTIONS[section].model_fields}
