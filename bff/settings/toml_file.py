"""A settings file: its text and its tables, or one problem."""

import stat
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bff.settings.bounded_read import read_bounded
from bff.settings.problem import SettingProblem

MOST_BYTES: Final = 1024 * 1024
"""The bytes that a settings file may have: some 10,000 routes."""


@dataclass(frozen=True, slots=True)
class TomlFile:
    """A file that was read; empty and with a `problem` if it could not be read. `mode` is that of a file."""

    text: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    problem: SettingProblem | None = None
    mode: int = 0


def read_toml(file: Path) -> TomlFile:
    """Reads a file whole; a missing one is a problem, not an empty file."""
    try:
        raw, state = read_bounded(file, MOST_BYTES)
        text = raw.decode("utf-8").replace("\r\n", "\n")
        mode = state.st_mode if stat.S_ISREG(state.st_mode) else 0
        return TomlFile(text, tomllib.loads(text), mode=mode)
    except FileNotFoundError:
        problem = ("cannot be read: there is no such file", "correct the path, or write the file")
    except OSError as error:
        problem = (f"cannot be read: {error.strerror}", "correct the path, the file, its owner or its mode")
    except (ValueError, RecursionError) as error:
        problem = (
            f"is not valid TOML: {_place(error)}",
            "correct that line: texts stand in quotes, and each key once",
        )
    return TomlFile(problem=SettingProblem("", *problem, f"file:{file}"))


def _place(error: ValueError | RecursionError) -> str:
    match error:
        case tomllib.TOMLDecodeError():
            return str(error)
        case UnicodeDecodeError():
            return "it is not UTF-8"
        case RecursionError():
            return "its values are nested too deeply"
        case _:
            return "it holds a number that is too long"
