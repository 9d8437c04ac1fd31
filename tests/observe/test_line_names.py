"""The names of frontend and provider in access lines and audit events."""

import re
from typing import Any, Literal, NamedTuple

import pytest

from bff.observe import logs
from bff.settings.model import LogSettings


class Whose(NamedTuple):
    provider: str = "partners"


@pytest.mark.requirement("B-24", "P-01")
@pytest.mark.parametrize("format_", ["json", "console"])
@pytest.mark.parametrize(
    ("several", "frontend", "expected"),
    [
        ((False, False), "shop", [[], [], []]),
        ((True, False), "shop", [["shop"], ["shop"], ["shop"]]),
        ((False, True), "shop", [["partners"], [], ["partners"]]),
        ((True, True), "", [["default", "partners"], ["default"], ["default", "partners"]]),
    ],
)
def test_lines_name_what_there_are_several_of(
    capsys: pytest.CaptureFixture[str],
    several: tuple[bool, bool],
    frontend: str,
    expected: list[list[str]],
    format_: Literal["json", "console"],
) -> None:
    """Frontend and provider of access lines and audit events; nothing of them where there is one."""
    logs.configure(LogSettings(format=format_))
    logs.name_each(frontends=several[0], providers=several[1])
    line: dict[str, Any] = {
        "path": b"/",
        "status": 200,
        "duration": 0,
        "route": "/",
        "request_id": "abcdefgh",
    }
    logs.access(method=b"GET", frontend=frontend, whose=Whose(), **line)
    logs.access(method=b"GET", frontend=frontend, **line)
    logs.audit("signed_in", sub="alice", frontend=frontend, provider="partners")
    logs._output.flush()
    lines = capsys.readouterr().err.splitlines()
    names = r'"?(?:frontend|provider)"?(?:=|: ")(\w+)'
    assert expected == [re.findall(names, each) for each in lines]
