"""The documentation: the README and the pages of `.github/docs`, as the tests read them."""

from functools import cache

from tests.structure.source import ROOT

DOCS = ROOT / ".github" / "docs"


@cache
def page(name: str) -> str:
    """The text of a page, by its path below `.github/docs`."""
    return (DOCS / name).read_text(encoding="utf-8")


def section(name: str, heading: str) -> str:
    """The text below a heading of the second level."""
    found = page(name).partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert found, f"{name} has no section {heading!r}"
    return found
