"""The tutorial as a newcomer follows it: its files are written, its commands run, in its order.

The one thing that differs is where things listen, so that several can do so on one machine: each port of the
page is replaced by a free one, everywhere it stands.
"""

import os
import re
import signal
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from bff.child import Child
from bff.embedded import free_port
from tests.structure.source import ROOT

PAGE = ROOT / ".github" / "docs" / "tutorial.md"
_FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_PORTS = ("8080", "9000", "8000", "5173", "6379", "8443", "9090", "9443")
_STAYS = "stays open: "
_PATIENCE = 600  # seconds for a command: npm fetches what a newcomer's npm fetches


@dataclass(frozen=True, slots=True)
class Step:
    """A piece of the page: a command, a program that stays (by its name), or a file (by its path)."""

    kind: str
    name: str
    text: str


def steps() -> list[Step]:
    """All of them, in their order; what is the reader's own is left out."""
    found = []
    for kind, name, text in _FENCE.findall(PAGE.read_text(encoding="utf-8")):
        if kind == "sh" and name.startswith(_STAYS):
            found.append(Step("program", name.removeprefix(_STAYS), text))
        elif kind == "sh" and name != "yours":
            assert not name, name
            found.append(Step("command", "", text))
        elif kind != "sh":
            found.append(Step("file", name, text))
    return found


@dataclass
class Newcomer:
    """Somebody at a shell in an empty folder, with several terminals."""

    folder: Path
    environment: dict[str, str]
    held: dict[str, socket.socket] = field(default_factory=lambda: {port: hold() for port in _PORTS})
    terminals: dict[str, Child] = field(default_factory=dict)

    def here(self, text: str) -> str:
        """The text with this machine's ports."""
        ports = {port: str(held.getsockname()[1]) for port, held in self.held.items()}
        return re.sub(rf"\b({'|'.join(_PORTS)})\b", lambda found: ports[found[1]], text)

    def follow(self, step: Step) -> None:
        """Does what the page says."""
        if step.kind == "file":
            (self._shop / step.name).write_text(self.here(step.text), encoding="utf-8")
        elif step.kind == "program":
            command = f"cd {self._shop} && . .venv/bin/activate && {self.here(step.text)}"
            log = self.folder / f"{step.name}.log"
            self.terminals[step.name] = Child(["bash", "-c", command], log=log, environment=self.environment)
        else:
            self._type(step.text)

    def _type(self, text: str) -> None:
        """A command in the first terminal, which is in the folder of the shop once that is made."""
        begun = "cd shop && . .venv/bin/activate && " if self._shop.exists() else ""
        done = subprocess.run(
            ["bash", "-euc", f"{begun}{self.here(text)}"],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"

    @property
    def _shop(self) -> Path:
        return self.folder / "shop"

    def stop(self, *names: str) -> None:
        """Ctrl-C in those terminals."""
        for name in names:
            os.killpg(self.terminals[name].pid, signal.SIGINT)
        for name in names:
            child = self.terminals.pop(name)
            assert child.wait(60), f"{name} does not end"
            child.kill()

    def leave(self) -> None:
        """Ends all that is still there."""
        for child in self.terminals.values():
            child.kill()
        for held in self.held.values():
            held.close()


def hold() -> socket.socket:
    """A free port that stays ours: servers may listen there, and nobody finds it free."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", free_port()))
    return held
