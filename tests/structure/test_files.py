"""The size of files, and what must not be in them."""

import ast
import re
from pathlib import Path

import pytest

from tests.structure.source import PACKAGE, ROOT

MAX_LINES = 400
SOURCES = sorted(
    path
    for folder in ("bff", "tests")
    for path in (ROOT / folder).rglob("*.py")
    if "__pycache__" not in path.parts
)
REASONED = re.compile(r"#\s*(?:noqa: [A-Z0-9, ]+|type: ignore\[[a-z, -]+\])\s*(?:#|-|—|:|\()\s*\S")
DOCUMENTED = (PACKAGE, ROOT / "tests" / "support", ROOT / "tests" / "tools")
NOUN_CLAUSE = re.compile(
    r"(?:Tells )?(?:whether|wh(?:at|o|om|ose|y|en|ere|ich)(?:ever)?|how)\b", re.IGNORECASE
)
EXEMPTION = re.compile(r"#\s*(noqa|type: ignore)\b")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_too_long(path: Path) -> None:
    """A file over 400 lines is two files."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_exemption_gives_its_reason(path: Path) -> None:
    """A `noqa` or `type: ignore` has a code and a reason."""
    if path == Path(__file__).resolve():
        return
    lines = path.read_text(encoding="utf-8").splitlines()
    unreasoned = [line for line in lines if EXEMPTION.search(line) and not REASONED.search(line)]
    assert [] == unreasoned


@pytest.mark.parametrize("room", ["credentials", "proxy", "upstream"])
def test_the_map_of_a_room_names_each_file(room: str) -> None:
    """A file of the room has its row in ARCHITECTURE.md, and no row is of a file that is gone."""
    text = (ROOT / "bff" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    section = text.partition(f"## Where to find it in `{room}/`")[2].partition("\n## ")[0]
    first_cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    named = {name for cell in first_cells for name in re.findall(r"`([a-z_/]+\.py)`", cell)}
    folder = PACKAGE / room
    files = {str(path.relative_to(folder)) for path in folder.rglob("*.py") if path.name != "__init__.py"}
    assert files == named


@pytest.mark.parametrize(
    "path",
    [path for path in SOURCES if any(path.is_relative_to(folder) for folder in DOCUMENTED)],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_docstrings_name_the_thing_first(path: Path) -> None:
    """A docstring begins with its subject or a verb, not with a noun clause or a riddle."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, documented)]
    docstrings = [ast.get_docstring(node) or "" for node in nodes]
    assert [] == [text for text in docstrings if NOUN_CLAUSE.match(text)]
