"""Everything under `config/` is loaded, linted or started by some test."""

import re

import pytest

from tests.structure.source import ROOT

CONFIG = ROOT / "config"
OTHERWISE = {
    "helm": ("tests/packaging/test_chart.py", '"helm"'),  # rendered as one chart
    "providers": ("tests/cli/test_init_command.py", '"providers"'),  # each is loaded
    "build_hook.py": ("tests/packaging/test_core.py", '"hatchling", "build"'),  # run by each build
    "metadata_hook.py": ("tests/packaging/test_metadata.py", '"hatchling", "metadata"'),  # run likewise
}
"""What a test takes without naming its files: the test, and the words there that show it."""


def config_files() -> list[str]:
    """The files, by their paths below `config`; of a folder that is taken as a whole, the folder."""
    found = (path.relative_to(CONFIG) for path in CONFIG.rglob("*") if path.is_file())
    paths = [path for path in found if "__pycache__" not in path.parts]
    return sorted({path.parts[0] if path.parts[0] in OTHERWISE else path.as_posix() for path in paths})


SOURCES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "tests").rglob("*.py")
    if path.name != "test_config_folder.py"
}


@pytest.mark.parametrize("path", config_files())
def test_a_file_is_used_by_a_test(path: str) -> None:
    """By its name in the code: `"config" / "nginx.conf"`, or a table of files."""
    if path in OTHERWISE:
        test, words = OTHERWISE[path]
        assert words in SOURCES[test]
        return
    named = re.compile(rf"""["/]{re.escape(path.rpartition("/")[2])}["\\]""")
    folders = path.split("/")[:-1]
    using = [
        test
        for test, text in SOURCES.items()
        if named.search(text) and all(folder in text for folder in folders)
    ]
    assert using, f"no test uses config/{path}"
