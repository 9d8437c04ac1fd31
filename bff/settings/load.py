"""Settings from a TOML file, the environment and secret files; every problem is reported at once.

Rule 1: the environment wins over the file, key by key.
Rule 2: one mistake hides no other: a broken value is assumed to be good, and only the findings that rest on
it are left out.
Rule 3: no message holds a value that could be a secret.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bff.settings.check import check
from bff.settings.environment import CONFIG, Environment
from bff.settings.files import LISTS, SecretFiles, check_files
from bff.settings.line_numbers import line_of
from bff.settings.messages import SECTIONS, describe, nearest
from bff.settings.model import Settings
from bff.settings.problem import Finding, SettingProblem, SettingsError
from bff.settings.toml_file import read_toml

DEFAULT_FILE = "bff.toml"
"""Read from the working directory if it is there and no other file is named."""

_SECRETS = (
    ("session", "keys", "keys_file"),
    ("provider", "client_secret", "client_secret_file"),
    ("provider", "client_key", "client_key_file"),
    ("forward_auth", "secrets", "secrets_file"),
)
_STAND_INS: Mapping[tuple[str, str], str] = {
    ("server", "public_url"): "http://localhost",
    ("provider", "issuer"): "http://localhost",
    ("provider", "client_id"): "stand-in",
    ("route", "upstream"): "http://localhost",
}


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings that can be used, and warnings about values that a careful operator would change."""

    settings: Settings
    warnings: tuple[SettingProblem, ...]
    file: Path | None


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Loads the settings.

    Args:
        path: the settings file; `None` for the one that `BFF_CONFIG` names, else `bff.toml` if it is there.
        environ: the environment variables.

    Raises:
        SettingsError: with every problem there is.
    """
    return load_all(path, environ).settings


def load_all(path: Path | None, environ: Mapping[str, str]) -> Loaded:
    """Loads the settings as `load` does, and returns the warnings too."""
    return _Loading(_choose_file(path, environ), Environment(environ)).result()


def _choose_file(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    if path is not None:
        return path
    if named := environ.get(CONFIG):
        return Path(named)
    default = Path(DEFAULT_FILE)
    return default if default.exists() else None


@dataclass
class _Loading:
    file: Path | None
    environment: Environment
    problems: list[SettingProblem] = field(default_factory=list)
    secrets: SecretFiles = field(default_factory=SecretFiles)
    secret_sources: dict[str, str] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    text: str = ""
    file_broken: bool = False

    def result(self) -> Loaded:
        raw = self._merged(self._from_file())
        self.problems += self.environment.problems
        self.broken |= {_base(problem.key) for problem in self.problems}
        self._read_secrets(raw)
        settings = self._validated(raw)
        warnings = list(self.secrets.warnings)
        for finding in [*check(settings), *check_files(settings)]:
            if not self._is_moot(finding):
                problem = SettingProblem(finding.key, finding.message, finding.fix, self._source(finding.key))
                (warnings if finding.warning else self.problems).append(problem)
        if self.problems:
            raise SettingsError(sorted(self.problems, key=_rank))
        return Loaded(settings, tuple(warnings), self.file)

    def _from_file(self) -> dict[str, Any]:
        if self.file is None:
            return {}
        found = read_toml(self.file)
        if found.problem is not None:
            self.file_broken = True
            self.problems.append(found.problem)
        self.text = found.text
        return found.data

    def _merged(self, raw: dict[str, Any]) -> dict[str, Any]:
        """Merges the environment into the file's values; a required section is there, if only empty."""
        merged: dict[str, Any] = {"server": {}, "provider": {}} | {
            name: dict(value) if isinstance(value, dict) else value for name, value in raw.items()
        }
        for name, values in self.environment.values.items():
            if name == "route":
                merged["route"] = values
                continue
            section = merged.setdefault(name, {})
            if isinstance(section, dict):
                for _, key, file_key in (secret for secret in _SECRETS if secret[0] == name):
                    if not {key, file_key}.isdisjoint(
                        values
                    ):  # one of a pair in the environment replaces both
                        section.pop(key, None)
                        section.pop(file_key, None)
                section.update(values)
        return merged

    def _read_secrets(self, raw: dict[str, Any]) -> None:
        for section, key, file_key in _SECRETS:
            values = raw.get(section)
            path = values.get(file_key) if isinstance(values, dict) else None
            if not isinstance(values, dict) or not isinstance(path, str):
                continue
            name, file_name = f"{section}.{key}", f"{section}.{file_key}"
            if key in values:
                source = self._source(file_name)
                self.problems.append(
                    SettingProblem(file_name, f"is set beside {name}", "keep one of the two", source)
                )
                continue
            read = self.secrets.read_keys if key in LISTS else self.secrets.read_text
            value = read(file_name, Path(path))
            if value is None:
                self.broken.add(name)
            else:
                values[key] = value
                self.secret_sources[name] = f"secret file {path}"
        self.problems += self.secrets.problems

    def _validated(self, raw: dict[str, Any]) -> Settings:
        """The settings; broken values are reported and replaced by defaults or stand-ins."""
        while True:
            try:
                return Settings.model_validate(raw)
            except ValidationError as refused:
                errors = refused.errors(include_url=False, include_input=False)
                meant = {_meant(error["loc"]) for error in errors if error["type"] == "extra_forbidden"}
                for error in errors:
                    self._refuse(raw, error, meant)
                self.broken |= meant

    def _refuse(self, raw: dict[str, Any], error: ErrorDetails, meant: set[str]) -> None:
        key = _key(error["loc"])
        base = _base(key)
        section = base.partition(".")[0]
        # A key that is missing because it is misspelt, or was never read, is one mistake and not two.
        follows = error["type"] == "missing" and (base in meant or self.file_broken)
        if self.broken.isdisjoint({base, section}) and not follows:
            self.problems.append(SettingProblem(key, *describe(error), self._source(key)))
        self.broken.add(base)
        _replace(raw, error["loc"])

    def _is_moot(self, finding: Finding) -> bool:
        """Returns True if a finding rests on a broken value, or on a file that could not be read."""
        keys = {_base(key) for key in (finding.key, *finding.needs)}
        sections = {key.partition(".")[0] for key in keys}
        unknown = self.file_broken and not all(self.environment.name_of(*_parts(key)) for key in keys)
        return unknown or not self.broken.isdisjoint(keys | sections)

    def _source(self, key: str) -> str:
        if key in self.secret_sources:
            return self.secret_sources[key]
        if variable := self.environment.name_of(*_parts(key)):
            return f"env {variable}"
        if self.file is None:
            return ""
        line = line_of(self.text, *_parts(key), index=_index(key))
        return f"file:{self.file}" if line is None else f"file:{self.file}:{line}"


def _key(loc: tuple[int | str, ...]) -> str:
    """A setting's name from pydantic's location, without the names of union members at its end."""
    known = 3 if loc[0] == "route" else 2
    text = str(loc[0])
    for depth, part in enumerate(loc[1:], start=1):
        if isinstance(part, int):
            text += f"[{part}]"
        elif depth < known or loc[1] == "extra_params":
            text += f".{part}"
    return text


def _base(key: str) -> str:
    """The setting that a key is part of: `server.trusted_proxies` of `server.trusted_proxies[1]`."""
    section, _, rest = key.partition(".")
    name = rest.partition("[")[0].partition(".")[0]
    return f"{section}.{name}" if name else section


def _parts(key: str) -> tuple[str, str]:
    section, _, name = _base(key).partition(".")
    return section.partition("[")[0], name


def _index(key: str) -> int:
    """The number of the route that a key belongs to; 0 for all other keys."""
    number = key.partition(".")[0].partition("[")[2].rstrip("]")
    return int(number) if number else 0


def _meant(loc: tuple[int | str, ...]) -> str:
    """Guesses the setting that an unknown key was meant to be."""
    section, name = str(loc[0]), str(loc[-1])
    if len(loc) == 1 or (near := nearest(section, name)) is None:
        return ""
    return _base(_key((*loc[:-1], near)))


def _replace(raw: dict[str, Any], loc: tuple[int | str, ...]) -> None:
    """Removes a refused value from the raw settings; a required setting gets a stand-in."""
    section = str(loc[0])
    depth = 2 if section == "route" else 1
    if len(loc) <= depth:
        if section == "route" and len(loc) == depth:
            raw["route"] = [*raw["route"]]
            raw["route"][int(loc[1])] = {}
        elif section in SECTIONS:
            raw[section] = [] if section == "route" else {}
        else:
            del raw[section]
        return
    values, key = (raw["route"][loc[1]] if section == "route" else raw[section]), str(loc[depth])
    values.pop(key, None)
    if (section, key) == ("route", "path"):
        values[key] = f"/stand-in-{loc[1]}"
    elif (section, key) in _STAND_INS:
        values[key] = _STAND_INS[section, key]


def _rank(problem: SettingProblem) -> tuple[int, str]:
    """Sorts problems by section, in the order of the settings; those of a whole file come first."""
    section = _parts(problem.key)[0]
    order = list(SECTIONS)
    at = order.index(section) if section in order else -1
    return at, _base(problem.key).partition(".")[0] if section == "route" else ""
