"""The issuer's page names every command about accounts."""

import pytest

from bff.issuer.cli.users import app
from tests.docs.pages import page

NAMES = [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]


@pytest.mark.parametrize("name", NAMES)
def test_every_command_is_named(name: str) -> None:
    """Whoever reads it meets the command."""
    text = page("how-to/issuer.md")
    assert f"users {name}" in text or name in text.partition("users suspend")[2].partition("\n")[0]


def test_there_are_six() -> None:
    """The ones that were asked for."""
    assert {"add", "list", "logout", "password", "resume", "suspend"} == set(NAMES)
