"""Hooks of the documentation site: documents that lie elsewhere, and the order of the navigation.

Rule 1: a link in a page works in the repository itself too; links to documents that lie outside of
`docs` lead to their page of the site, links to other files of the repository become plain text.
Rule 2: a link that leads nowhere is left as it is, so that the strict build refuses it.
Rule 3: what the code knows is made of the code, at `<!-- generated: … -->`; nothing of it is kept as a copy.
"""

import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure import StructureItem
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # MkDocs runs this file by its path, from anywhere

from tests.docs import openapi_doc, provider_doc, settings_doc  # noqa: E402 - not before they are found

DOCS = ".github/docs"
ORDER = (
    "index.md",
    "tutorial.md",
    "how-to",
    "operate",
    "troubleshooting",
    "reference",
    "explanation",
    "migration",
)
"""The parts of the site, in the order in which somebody needs them; others come after these."""
ELSEWHERE = {
    ".github/SECURITY.md": "explanation/security.md",
    "bff/ARCHITECTURE.md": "explanation/architecture.md",
    ".github/AUDIT.md": "reference/audit-events.md",
    ".github/decisions/*.md": "explanation/decisions/",
    "config/providers/*.toml": "how-to/providers/",
    "bff/web/openapi.yaml": "reference/openapi.yaml",
}
"""The documents outside of `docs`, and their pages."""
GENERATED = {"settings": settings_doc.text, "openapi": openapi_doc.text}
"""The parts of pages that are made of the code, by their mark."""
_MARK = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)
_LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<target>[^)#\s]+)(?P<anchor>#[^)\s]*)?\)")


def _elsewhere() -> Iterator[tuple[str, str]]:
    for pattern, page in ELSEWHERE.items():
        for path in sorted(ROOT.glob(pattern)):
            name = path.name.replace(".toml", ".md")
            yield path.relative_to(ROOT).as_posix(), page + name if page.endswith("/") else page


PAGES = dict(_elsewhere())


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the documents that lie elsewhere."""
    for source, page in PAGES.items():
        if source.endswith(".toml"):
            text = (ROOT / source).read_text(encoding="utf-8")
            content = provider_doc.text(Path(source).stem, text)
            files.append(File.generated(config, page, content=content))
        else:
            files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> Navigation:  # noqa: ARG001 (the hook's signature)
    """Puts the parts in order."""

    def place(item: StructureItem) -> int:
        top = next(_pages(item)).file.src_uri.split("/")[0]
        return ORDER.index(top) if top in ORDER else len(ORDER)

    nav.items.sort(key=place)
    return nav


def _pages(item: StructureItem) -> Iterator[Page]:
    if isinstance(item, Page):
        yield item
    for child in getattr(item, "children", None) or ():
        yield from _pages(child)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 (the hook's signature)
    """Puts in what is made of the code, and follows links out of `docs`."""
    sources = {site: source for source, site in PAGES.items()}
    here = posixpath.dirname(sources.get(page.file.src_uri, f"{DOCS}/{page.file.src_uri}"))

    def followed(link: re.Match[str]) -> str:
        target = link["target"]
        if "://" in target or target.startswith("mailto:"):
            return link[0]
        path = posixpath.normpath(posixpath.join(here, target))
        site = PAGES.get(path) or (path.removeprefix(f"{DOCS}/") if path.startswith(f"{DOCS}/") else None)
        if site is not None:
            way = posixpath.relpath(site, posixpath.dirname(page.file.src_uri) or ".")
            return f"[{link['text']}]({way}{link['anchor'] or ''})"
        inside = not path.startswith("..") and (ROOT / path).exists()
        return link["text"] if inside else link[0]

    made = _MARK.sub(lambda mark: GENERATED[mark[1]](), markdown)
    return _LINK.sub(followed, made)
