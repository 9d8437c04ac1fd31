"""The issuer's settings from a file and the environment, with every problem at once, and its line.

Rule 1: a refused value is reported once and removed, and the rest is checked again, until no problem is left.
Rule 2: no text repeats a value: it could be a secret in the wrong place.
"""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource
from pydantic_settings import SettingsError as SourceError

from bff.issuer.client_settings import ClientSettings
from bff.issuer.settings import IssuerSettings, PasswordCost, SignInLimits, UserSettings
from bff.settings.line_numbers import line_of
from bff.settings.messages import describe_value
from bff.settings.problem import SettingProblem, SettingsError
from bff.settings.toml_file import TomlFile, read_toml

CONFIG = "ISSUER_CONFIG"
DEFAULT_FILE = "issuer.toml"
_STAND_INS = {"url": "http://localhost"}
_INSIDE: Mapping[str, type[BaseModel]] = {
    "clients": ClientSettings,
    "users": UserSettings,
    "password_cost": PasswordCost,
    "sign_in_limits": SignInLimits,
}
_MOST_ROUNDS = 20


class _Given(IssuerSettings):
    """The settings from given values only, without the environment."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings passes all by name
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - same
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - same
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - same
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments alone."""
        return (init_settings,)


def choose_file(config: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file that is named, else the one that ISSUER_CONFIG names, else issuer.toml if it is here."""
    if config is not None:
        return config
    if named := environ.get(CONFIG):
        return Path(named)
    return Path(DEFAULT_FILE) if Path(DEFAULT_FILE).exists() else None


def read_settings(config: Path | None, environ: Mapping[str, str]) -> IssuerSettings:
    """Reads the settings; the environment (that of the process) wins over the file.

    Raises:
        SettingsError: with every problem there is.
    """
    file = choose_file(config, environ)
    found = TomlFile() if file is None else read_toml(file)
    reading = _Reading(file, found, environ)
    return reading.result()


class _Reading:
    def __init__(self, file: Path | None, found: TomlFile, environ: Mapping[str, str]) -> None:
        self._file = file
        self._text = found.text
        self._environ = {name.upper() for name in environ}
        self._problems: list[SettingProblem] = [found.problem] if found.problem else []
        self._file_broken = found.problem is not None
        self._raw: dict[str, Any] = found.data

    def result(self) -> IssuerSettings:
        try:
            self._raw = _laid_over(self._raw, EnvSettingsSource(_Given)())
        except SourceError:
            self._problems += self._unreadable()
        settings = self._validated()
        if self._problems or settings is None:
            raise SettingsError(sorted(self._problems, key=_place))
        return settings

    def _unreadable(self) -> list[SettingProblem]:
        """Variables that have to be JSON, and are not: pydantic-settings stops at the first."""
        names = [f"ISSUER_{name.upper()}" for name in _INSIDE]
        there = [name for name in names if name in self._environ]
        return [
            SettingProblem(name, "is not JSON", "write it as JSON, in one line", f"env {name}")
            for name in there
        ]

    def _validated(self) -> IssuerSettings | None:
        for _ in range(_MOST_ROUNDS):
            try:
                return _Given(**self._raw)
            except ValidationError as refused:
                errors = refused.errors(include_url=False, include_input=False)
                errors.sort(key=lambda error: error["type"] != "extra_forbidden")  # a misspelt one, then
                taken = [self._refuse(error) for error in errors]  # the one that it leaves missing
                if True not in taken:
                    return None
        return None

    def _refuse(self, error: ErrorDetails) -> bool:
        """Reports a mistake, and removes the value; returns False if there is no value to remove."""
        loc = error["loc"] or self._named(error)
        name = str(loc[0]) if loc else ""
        follows = error["type"] == "missing" and (self._file_broken or self._misspelt(loc))
        follows |= name == "server_keys" and any(each.key == "server_keys_file" for each in self._problems)
        if not follows:
            self._problems.append(SettingProblem(_key(loc), *self._words(error, loc), self._source(loc)))
        known = self._raw.pop(name, None) is not None
        if name in _STAND_INS and self._raw.get(name) != _STAND_INS[name]:
            self._raw[name] = _STAND_INS[name]
            return True
        return known

    def _named(self, error: ErrorDetails) -> tuple[int | str, ...]:
        """The setting whose name begins the message of a check of several settings."""
        name = _said(error).partition(":")[0]
        return (name,) if name in IssuerSettings.model_fields else ()

    def _words(self, error: ErrorDetails, loc: tuple[int | str, ...]) -> tuple[str, str]:
        name = str(loc[-1]) if loc else ""
        if error["type"] == "missing":
            env = f", or as ISSUER_{name.upper()}" if len(loc) == 1 else ""
            return "is missing", f"set it{env}"
        if error["type"] == "extra_forbidden":
            known = _fields_at(loc)
            near = difflib.get_close_matches(name, known, n=1)
            return (
                "is not a setting",
                f'did you mean "{near[0]}"?' if near else f"known are {', '.join(known)}",
            )
        if error["type"] == "value_error":
            message = _said(error).removeprefix(f"{name}: ")
            what, _, fix = message.partition("; ")
            return what, fix or "correct it"
        return describe_value(error)

    def _misspelt(self, loc: tuple[int | str, ...]) -> bool:
        """Returns True if an unknown setting was reported that was probably meant to be this one."""
        home = _key(loc[:-1])
        unknown = [
            problem.key.removeprefix(home).removeprefix(".")
            for problem in self._problems
            if problem.message == "is not a setting" and problem.key.startswith(home)
        ]
        return bool(difflib.get_close_matches(str(loc[-1]), unknown, n=1))

    def _source(self, loc: tuple[int | str, ...]) -> str:
        if not loc:
            return ""
        name = str(loc[0])
        variable = f"ISSUER_{name}".upper()
        inner = f"{variable}__{loc[1]}".upper() if len(loc) > 1 else variable
        for each in (inner, variable):
            if each in self._environ:
                return f"env {each}"
        if self._file is None:
            return ""
        index = loc[1] if len(loc) > 1 and isinstance(loc[1], int) else 0
        inside = [part for part in loc[1:] if isinstance(part, str)]
        line = line_of(self._text, name, inside[0] if inside else "", index)
        return f"file:{self._file}" if line is None else f"file:{self._file}:{line}"


def doubtful_variables(environ: Mapping[str, str]) -> list[str]:
    """Variables that look like misspelt settings. Other `ISSUER_…` variables may be another program's."""
    known = [f"ISSUER_{name}".upper() for name in IssuerSettings.model_fields]
    told = []
    for name in sorted(environ):
        upper = name.upper()
        if not upper.startswith("ISSUER_") or upper == CONFIG or upper.partition("__")[0] in known:
            continue
        if near := difflib.get_close_matches(upper, known, n=1, cutoff=0.85):
            told.append(f"{name} is not a setting: did you mean {near[0]}?")
    return told


def _laid_over(file: Mapping[str, Any], environment: Mapping[str, Any]) -> dict[str, Any]:
    """Merges the environment's values over the file's, table by table."""
    merged = dict(file)
    for name, value in environment.items():
        below = merged.get(name)
        both = isinstance(value, dict) and isinstance(below, dict)
        merged[name] = _laid_over(below, value) if both else value  # type: ignore[arg-type] # both are tables
    return merged


def _said(error: ErrorDetails) -> str:
    return str(error.get("ctx", {}).get("error", ""))


def _fields_at(loc: tuple[int | str, ...]) -> list[str]:
    model = _INSIDE.get(str(loc[0])) if len(loc) > 1 else IssuerSettings
    return list((model or IssuerSettings).model_fields)


def _place(problem: SettingProblem) -> tuple[int, str]:
    """Sorts by the line; problems without one come first."""
    line = problem.source.rpartition(":")[2]
    return (int(line) if line.isdecimal() else 0, problem.key)


def _key(loc: tuple[int | str, ...]) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
