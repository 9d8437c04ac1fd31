"""Node programs of this folder, with the packages that they need; other folders' packages as well.

The packages are installed by npm into the user's cache folder, once for each content of `package-lock.json`;
nothing is written into the project.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

import pytest

HERE = Path(__file__).parent
NO_NODE = "Node and npm are not installed"
_PATIENCE = 300


@cache
def installed(source: Path = HERE) -> Path:
    """A folder with the packages of a folder's `package-lock.json`; skips the test where there is no Node."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip(NO_NODE)
    lock = (source / "package-lock.json").read_bytes()
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bff-node-tests"
    folder = caches / hashlib.sha256(lock).hexdigest()[:16]
    caches.mkdir(parents=True, exist_ok=True)
    with (caches / "lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # one process installs, the others wait
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=caches) as fresh:
                _install(npm, source, Path(fresh) / "new")
                (Path(fresh) / "new").rename(folder)
    return folder


def _install(npm: str, source: Path, folder: Path) -> None:
    folder.mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(source / name, folder)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    assert done.returncode == 0, done.stderr


@dataclass
class Program:
    """One that runs: lines go in and come out."""

    process: "subprocess.Popen[str]"
    errors: IO[str]

    def line(self) -> str:
        """The next line that it says; fails when it has ended instead."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait(60)
            self.errors.seek(0)
            raise AssertionError(self.errors.read())
        return line.strip()

    def tell(self, line: str) -> None:
        """Gives it a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()


@contextmanager
def program(name: str, *arguments: str) -> Iterator[Program]:
    """Runs one of the programs, and ends it at the end."""
    folder = installed()
    with tempfile.TemporaryDirectory() as place, tempfile.TemporaryFile("w+") as errors:
        # Beside a link to the packages: that is where Node looks for them.
        (Path(place) / "node_modules").symlink_to(folder / "node_modules")
        shutil.copy(HERE / "package.json", place)
        script = shutil.copy(HERE / name, place)
        process = subprocess.Popen(
            ["node", script, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            yield Program(process, errors)
        finally:
            process.terminate()
            process.communicate(timeout=10)
