"""A folder to build in: the pages of this folder, our package as npm packs it, and the lock's."""

import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.docs.snippets import snippets
from tests.node.packages import installed

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CLIENT = ROOT / "bff" / "web" / "client"
_PATIENCE = 300
_OLDEST = (20, 19)  # what Vite runs on


@contextmanager
def workshop() -> Iterator[Path]:
    """The folder; skips the test where there is no Node, or one that these tools refuse."""
    packages = installed(HERE)
    version = tuple(map(int, run(packages, "node", "--version").strip().lstrip("v").split(".")))
    if version < _OLDEST:
        pytest.skip("Node is too old for Vite")
    with TemporaryDirectory(prefix="bff-npm-") as place:
        # Our package lies nearer than the others, which Node finds one folder further up.
        (Path(place) / "node_modules").symlink_to(packages / "node_modules")
        folder = Path(place) / "site"
        shutil.copytree(
            HERE, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__", "package-lock.json")
        )
        unpack(pack(Path(place)), folder / "node_modules" / "@bff" / "client")
        (folder / "made").mkdir()
        for module in CLIENT.glob("*.js"):
            shutil.copy(module, folder / "made")
        (folder / "pages" / "react" / "readme.ts").write_text(readme_snippet(), encoding="utf-8")
        for name, text in page_snippets().items():
            (folder / "types" / name).write_text(text, encoding="utf-8")
        yield folder


def pack(folder: Path) -> Path:
    """The package as `npm publish` would send it."""
    said = run(folder, "npm", "pack", "--json", "--pack-destination", str(folder), str(CLIENT))
    return folder / str(json.loads(said)[0]["filename"])


def unpack(archive: Path, folder: Path) -> None:
    """Lays a package where `npm install` lays it."""
    with tarfile.open(archive) as packed:
        for member in packed.getmembers():
            target = folder / member.name.removeprefix("package/")
            target.parent.mkdir(parents=True, exist_ok=True)
            content = packed.extractfile(member)
            assert content is not None, member.name
            target.write_bytes(content.read())


def readme_snippet() -> str:
    """The one piece of a page's code that the README shows."""
    found = re.findall(
        r"^```(?:js|ts)\n(.*?)^```$",
        (ROOT / "README.md").read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    assert len(found) == 1
    return str(found[0])


_PACKAGE = "bff/web/client/README.md"
# What a reader of the package's page has above each of its snippets.
_ABOVE = (
    "",
    "",
    """import { createApp } from "vue";
import { bff } from "@bff/client/vue";
const app = createApp({});
""",
    """import { provideHttpClient, withInterceptors } from "@angular/common/http";
import { bffInterceptor } from "@bff/client/angular";
export const providers =
""",
    """import { QueryClient } from "@tanstack/query-core";
import axios from "axios";
import ky from "ky";
import createClient from "openapi-fetch";
import { BffError, bffFetch } from "@bff/client";
type Answers = { responses: { 200: { content: { "application/json": string[] } } } };
type paths = { "/api/orders": { get: Answers } };
""",
)


def page_snippets() -> dict[str, str]:
    """The TypeScript of all pages of the documentation, each snippet as a module by its file's name."""
    above, modules = iter(_ABOVE), {}
    for snippet in snippets():
        if snippet.kind in ("ts", "tsx"):
            name = re.sub(r"\W+", "-", str(snippet))
            first = next(above) if snippet.page == _PACKAGE else ""
            modules[f"{name}.{snippet.kind}"] = first + snippet.text
    assert next(above, None) is None, "the package's page has fewer snippets than _ABOVE"
    return modules


def run(folder: Path, *command: str) -> str:
    """What a command says; fails with all of it where it fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout
