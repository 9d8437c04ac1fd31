"""What the package holds, beside what the proxy serves."""

import json
import re
from pathlib import Path

import pytest

from bff import __version__
from bff.web.client_files import configured
from tests.node.packages import installed
from tests.npm.workshop import CLIENT, HERE, pack, unpack


def test_the_served_module_is_the_packages(tmp_path: Path) -> None:
    """Letter by letter, but for what it imports and the line of settings; and the types are the same."""
    installed(HERE)
    unpack(pack(tmp_path), tmp_path)
    part = (
        (tmp_path / "return_to.js")
        .read_bytes()
        .partition(b"*/\n\n")[2]
        .replace(b"export function", b"function")
    )
    packed = (tmp_path / "client.js").read_bytes()
    packed = packed.replace(b'import { isReturnTo } from "./return_to.js";\n', part)
    served = configured(CLIENT / "client.js", "X-Shop", ["/api"], heartbeat=5.0, notice=60.0)
    assert re.search(rb"^\s*import[\s(]", served, re.MULTILINE) is None
    differ = [
        (ours, theirs)
        for ours, theirs in zip(packed.splitlines(), served.splitlines(), strict=True)
        if ours != theirs
    ]
    ((default, here),) = differ
    assert default.startswith(b"const settings = {")
    assert default.removesuffix(b";").removeprefix(b"const settings = ") in here
    assert b'{"csrfHeader": "X-Shop", "taken": ["/api"], "heartbeat": 5.0, "notice": 60.0}' in here
    types = CLIENT / "client.d.ts"
    assert types.read_bytes() == (tmp_path / "client.d.ts").read_bytes() == configured(types, "X-Shop", [])


def test_what_is_packed(tmp_path: Path) -> None:
    """Each module with its types, a page about it, and nothing else; each export leads to a file."""
    installed(HERE)
    unpack(pack(tmp_path), tmp_path / "package")
    names = {path.name for path in (tmp_path / "package").iterdir()}
    modules = {"client", "session", "react", "vue", "angular"}
    parts = {"package.json", "README.md", "return_to.js"}
    assert parts | {m + end for m in modules for end in (".js", ".d.ts")} == names
    about = json.loads((tmp_path / "package" / "package.json").read_text(encoding="utf-8"))
    targets = [
        each for value in about["exports"].values() if isinstance(value, dict) for each in value.values()
    ]
    assert {f"./{module}{end}" for module in modules for end in (".js", ".d.ts")} == set(targets)
    assert "dependencies" not in about
    assert set(about["peerDependencies"]) == {
        name for name, meta in about["peerDependenciesMeta"].items() if meta["optional"]
    }


def test_the_version_is_the_proxys() -> None:
    """One version for both: a page's package fits the proxy that has the same."""
    assert __version__ == json.loads((CLIENT / "package.json").read_text(encoding="utf-8"))["version"]


@pytest.mark.parametrize("name", ["session.js", "react.js", "vue.js", "angular.js"])
def test_the_other_modules_are_small(name: str) -> None:
    """They import frameworks and the client alone, under their own names."""
    text = (CLIENT / name).read_text(encoding="utf-8")
    assert len(text.splitlines()) < 150
    imported = {
        line.split(" from ")[1].strip('";') for line in text.splitlines() if line.startswith("import ")
    }
    allowed = {"./client.js", "./session.js", "react", "vue", "rxjs", "@angular/core", "@angular/common/http"}
    assert imported <= allowed
