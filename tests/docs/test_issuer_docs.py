"""The README names every command about accounts."""

import pytest

from bff.issuer.cli.users import app
from tests.structure.source import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
NAMES = [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]


@pytest.mark.parametrize("name", NAMES)
def test_every_command_is_named(name: str) -> None:
    """Whoever reads the issuer's section meets it."""
    section = README.partition("## The issuer")[2].partition("\n## ")[0]
    assert f"users {name}" in section or name in section.partition("users suspend")[2].partition("\n")[0]


def test_there_are_six() -> None:
    """The ones that were asked for."""
    assert {"add", "list", "logout", "password", "resume", "suspend"} == set(NAMES)
