"""The code blocks of the documentation, each with what holds it.

Rule 1: a block is run by a test, checked by its language, or marked with the reason why not: by a comment in
front of it, `<!-- not run by a test: … -->`, or by such a title.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.docs.pages import DOCS
from tests.structure.source import ROOT

PAGES = (
    *sorted(DOCS.rglob("*.md")),
    ROOT / "README.md",
    ROOT / "bff" / "verify" / "README.md",
    ROOT / "bff" / "web" / "client" / "README.md",
)
RUN_BY = {
    ("tutorial.md", ""): "tests/npm/tutorial.py",
    ("operate/sessions.md", "With redis-cli"): "tests/contract/test_recipes.py",
    ("how-to/redis.md", "Back up and restore"): "tests/contract/test_backup.py",
    ("operate/on-call.md", "What it says of itself"): "tests/serve/test_on_call.py",
    ("how-to/backends-others.md", "Node"): "tests/node/test_backends.py",
    ("README.md", "Try it"): "tests/docs/test_readme.py",
}
"""The tests that run whole pages or sections, by the file that reads them."""
OUTPUT = frozenset({"", "text", "http"})
"""Blocks that show what comes out, or a drawing."""

_FENCE = re.compile(
    r"(?:^[ ]*<!-- not run by a test: (?P<reason>[^\n]*?) -->\n\s*)?"
    r"^(?P<indent>[ ]*)```(?P<kind>\w*)[ ]*(?P<info>[^\n]*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_TITLE = re.compile(r'title="not run by a test: ([^"]+)"')


@dataclass(frozen=True, slots=True)
class Snippet:
    """A code block. `page` is below `.github/docs`, or from the root; `reason` says why nothing holds it."""

    page: str
    section: str
    line: int
    kind: str
    reason: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def run_by(self) -> str | None:
        """The file of the test that runs its page or section."""
        return RUN_BY.get((self.page, "")) or RUN_BY.get((self.page, self.section))


@cache
def snippets() -> tuple[Snippet, ...]:
    """All of them, in the order of the pages."""
    return tuple(snippet for path in PAGES for snippet in _of(path))


def _of(path: Path) -> Iterator[Snippet]:
    text = path.read_text(encoding="utf-8")
    base = DOCS if path.is_relative_to(DOCS) else ROOT
    for found in _FENCE.finditer(text):
        title = _TITLE.search(found["info"])
        sections = re.findall(r"^## (.+)$", text[: found.start()], re.MULTILINE)
        indent = found["indent"]
        yield Snippet(
            page=path.relative_to(base).as_posix(),
            section=sections[-1] if sections else "",
            line=text.count("\n", 0, found.start("kind")) + 1,
            kind=found["kind"],
            reason=found["reason"] or (title[1] if title else ""),
            text="".join(line.removeprefix(indent) for line in found["text"].splitlines(keepends=True)),
        )
