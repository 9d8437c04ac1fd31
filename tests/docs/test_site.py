"""The documentation site builds without a warning, and loads nothing from elsewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bff.settings.messages import SECTIONS
from tests.docs.settings_doc import LISTS
from tests.structure.source import ROOT
from tests.support.openapi import PATH, operations

DOCS = ROOT / ".github" / "docs"

LOADED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"?([^\" >]+)|<link\b[^>]*\bhref=\"?([^\" >]+)"
)
"""What a browser fetches for a page."""


@pytest.fixture(name="site", scope="module")
def _site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One build for all tests."""
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


def test_every_setting_has_its_place(site: Path) -> None:
    """With its type, its default or an example, and the environment's variable; no type is unknown."""
    html = (site / "reference" / "settings" / "index.html").read_text(encoding="utf-8")
    for section, model in SECTIONS.items():
        for key in model.model_fields:
            assert f'id="{section}-{key}"' in html
            assert section in LISTS or f"BFF_{section}__{key}".upper() in html


def test_every_provider_has_a_page(site: Path) -> None:
    """With what to register there, its pitfalls and its settings, and the overview leads to it."""
    overview = (site / "how-to" / "providers" / "index.html").read_text(encoding="utf-8")
    names = [path.stem for path in (ROOT / "config" / "providers").glob("*.toml")]
    assert len(names) > 10
    for name in names:
        html = (site / "how-to" / "providers" / name / "index.html").read_text(encoding="utf-8")
        assert all(f'id="{part}"' in html for part in ("register-the-client", "pitfalls", "settings"))
        assert f'href="{name}/"' in overview


def test_the_description_can_be_fetched(site: Path) -> None:
    """The page of it has each operation, and a link to the file."""
    html = (site / "reference" / "openapi" / "index.html").read_text(encoding="utf-8")
    assert all(f'id="{operation["operationId"]}"' in html for operation in operations().values())
    assert 'href="../openapi.yaml"' in html
    assert PATH.read_bytes() == (site / "reference" / "openapi.yaml").read_bytes()
