"""The size of files, and what must not be in them."""

import ast
import re
from pathlib import Path

import pytest

from tests import conftest
from tests.structure.source import PACKAGE, ROOT

MAX_LINES = 400
SOURCES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for folder in ("bff", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
}
OWN_NAME = str(Path(__file__).resolve().relative_to(ROOT))
REASONED = re.compile(r"#\s*(?:noqa: [A-Z0-9, ]+|type: ignore\[[a-z, -]+\])\s*(?:#|-|—|:|\()\s*\S")
DOCUMENTED = ("bff/", "tests/support/", "tests/tools/")
NOUN_CLAUSE = re.compile(
    r"(?:Tells )?(?:whether|wh(?:at|o|om|ose|y|en|ere|ich)(?:ever)?|how)\b", re.IGNORECASE
)
EXEMPTION = re.compile(r"#\s*(noqa|type: ignore)\b")


def test_no_file_is_too_long() -> None:
    """A file over 400 lines is two files."""
    lengths = {name: len(text.splitlines()) for name, text in SOURCES.items()}
    assert {} == {name: length for name, length in lengths.items() if length > MAX_LINES}


def test_the_files_and_folders_that_the_suite_plans_with_are_there() -> None:
    """Those that share a process, and the slow ones: a renamed file would silently leave its group."""
    assert set() == {path for path in conftest.SHARED if not (ROOT / path).is_file()}
    assert set() == {folder for folder in conftest.SLOW if not (conftest.TESTS / folder).is_dir()}


def test_every_exemption_gives_its_reason() -> None:
    """A `noqa` or `type: ignore` has a code and a reason."""
    exempted = [
        f"{name}: {line}"
        for name, text in SOURCES.items()
        if name != OWN_NAME
        for line in text.splitlines()
        if EXEMPTION.search(line) and not REASONED.search(line)
    ]
    assert [] == exempted


@pytest.mark.parametrize("room", ["credentials", "limits", "proxy", "upstream"])
def test_the_map_of_a_room_names_each_file(room: str) -> None:
    """A file of the room has its row in ARCHITECTURE.md, and no row is of a file that is gone."""
    text = (ROOT / "bff" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    section = text.partition(f"## Where to find it in `{room}/`")[2].partition("\n## ")[0]
    first_cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    named = {name for cell in first_cells for name in re.findall(r"`([a-z0-9_/]+\.py)`", cell)}
    folder = PACKAGE / room
    files = {str(path.relative_to(folder)) for path in folder.rglob("*.py") if path.name != "__init__.py"}
    assert files == named


def test_the_architecture_names_what_there_is() -> None:
    """A file or a decision that the page names is there; the layers' table has each module of the package."""
    text = (ROOT / "bff" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    gone = {
        named
        for section in text.split("\n## ")
        for named in re.findall(r"`([a-z0-9_/]+\.py)`", section)
        for home in [PACKAGE / "issuer" if section.startswith("The issuer") else PACKAGE]
        if not (ROOT / named).is_file() and not any(home.rglob(named))
    }
    assert set() == gone
    numbers = {path.name[:4] for path in (ROOT / ".github" / "decisions").glob("*.md")}
    named_decisions = re.findall(r"decisions?(?: |/)([0-9]{4})(?: and ([0-9]{4}))?", text)
    assert {number for pair in named_decisions for number in pair if number} <= numbers
    table = text.partition("## The layers")[2].partition("\n## ")[0]
    modules = {path.name for path in PACKAGE.glob("*.py") if not path.name.startswith("__")}
    assert set() == {name for name in modules if f"`{name}`" not in table}


def test_docstrings_name_the_thing_first() -> None:
    """A docstring begins with its subject or a verb, not with a noun clause or a riddle."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    wrong = [
        f"{name}: {docstring}"
        for name, text in SOURCES.items()
        if name.startswith(DOCUMENTED)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, documented) and NOUN_CLAUSE.match(docstring := ast.get_docstring(node) or "")
    ]
    assert [] == wrong
