"""A settings file: its text and its tables, or one problem."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bff.settings.problem import SettingProblem


@dataclass(frozen=True, slots=True)
class TomlFile:
    """A file that was read; empty and with a `problem` if it could not be read."""

    text: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    problem: SettingProblem | None = None


def read_toml(file: Path) -> TomlFile:
    """Reads a file whole; a missing one is a problem, not an empty file."""
    try:
        text = file.read_text(encoding="utf-8")
        return TomlFile(text, tomllib.loads(text))
    except FileNotFoundError:
        problem = ("there is no such file", "correct the path, or write the file")
    except OSError as error:
        problem = (f"cannot be read: {error.strerror}", "change its owner or mode")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        place = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "it is not UTF-8"
        problem = (f"is not valid TOML: {place}", "correct that line")
    return TomlFile(problem=SettingProblem("", *problem, f"file:{file}"))
