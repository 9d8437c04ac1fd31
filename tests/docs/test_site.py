"""The documentation site builds without a warning, and loads nothing from elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.structure.source import ROOT

DOCS = ROOT / ".github" / "docs"

LOADED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"?([^\" >]+)|<link\b[^>]*\bhref=\"?([^\" >]+)"
)
"""What a browser fetches for a page."""


@pytest.fixture(name="site", scope="module")
def _site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One build for all tests."""
    if "CI" not in os.environ:
        pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    command += ["-f", str(ROOT / ".github" / "mkdocs.yml"), "-d", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=ROOT)
    assert 0 == done.returncode, done.stdout + done.stderr
    return folder


def test_every_page_is_built(site: Path) -> None:
    """None is left out; the documents that lie outside of the folder have pages, too."""
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")}
    pages |= {"explanation/security", "explanation/architecture", "reference/audit-events"}
    built = {path.parent.relative_to(site).as_posix() for path in site.rglob("index.html")}
    assert {("." if page == "index" else page.removesuffix("/index")) for page in pages} <= built


def test_the_pages_load_nothing_from_other_hosts(site: Path) -> None:
    """No font, no script, no picture: whoever reads them tells nobody."""
    for path in site.rglob("*.html"):
        loaded = {first or second for first, second in LOADED.findall(path.read_text(encoding="utf-8"))}
        assert loaded
        assert set() == {url for url in loaded if re.match(r"(?:https?:)?//", url)}, path
