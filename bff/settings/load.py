"""Settings from a TOML file, the environment and secret files; every problem is reported at once.

Rule 1: the environment wins over the file, key by key.
Rule 2: one mistake hides no other: a broken value is assumed to be good, and only the findings that rest on
it are left out.
Rule 3: no message holds a value that could be a secret.
"""

import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bff.settings.check import check
from bff.settings.environment import CONFIG, Environment
from bff.settings.line_numbers import Lines
from bff.settings.messages import SECTIONS, describe, nearest
from bff.settings.model import Settings
from bff.settings.problem import Finding, SettingProblem, SettingsError
from bff.settings.referenced_files import LISTS, SecretFiles, check_files
from bff.settings.setting_places import Loc, base_of, index_of, key_of, owners_of, parts_of, place_of
from bff.settings.toml_file import read_toml
from bff.settings.url_parts import split_public_url
from bff.settings.watched_files import Fingerprint, fingerprint

_PLACE = ("public_url", "base_path")

MORE_PROVIDERS = "[[provider]]"
"""All providers but the first, in what the loader hands over; no section of a file can have this name."""

WRITABLE_SETTINGS = "may be written by every user of this machine"

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
_NUMBERED: Mapping[str, str] = {
    "path": "/stand-in-{}",
    "name": "stand-in-{}",
    "public_url": "http://stand-in-{}.localhost",
}
"""Stand-ins for what has to differ between sections of one name, by the number of the section."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings that can be used, and warnings about values that a careful operator would change.

    `seen` tells the state of the `file` before it was read.
    """

    settings: Settings
    warnings: tuple[SettingProblem, ...]
    file: Path | None
    seen: Fingerprint | None = None


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
    lines: Lines = field(default_factory=Lines)
    mode: int = 0
    seen: Fingerprint | None = None
    file_broken: bool = False
    placed: bool = False

    def result(self) -> Loaded:
        raw = self._merged(self._from_file())
        self.problems += self.environment.problems
        self.broken |= {base_of(problem.key) for problem in self.problems}
        self._read_secrets(raw)
        self._place_server(raw)
        settings = self._validated(raw)
        warnings = list(self.secrets.warnings)
        self._judge_mode(settings, warnings)
        for finding in [*check(settings), *check_files(settings)]:
            if not self._is_moot(finding):
                problem = SettingProblem(finding.key, finding.message, finding.fix, self._source(finding.key))
                (warnings if finding.warning else self.problems).append(problem)
        if self.problems:
            raise SettingsError(sorted(self.problems, key=_rank))
        return Loaded(settings, tuple(warnings), self.file, self.seen)

    def _from_file(self) -> dict[str, Any]:
        if self.file is None:
            return {}
        self.seen = fingerprint(self.file)
        found = read_toml(self.file)
        if found.problem is not None:
            self.file_broken = True
            self.problems.append(found.problem)
        self.lines, self.mode = Lines(found.text), found.mode
        return found.data

    def _judge_mode(self, settings: Settings, warnings: list[SettingProblem]) -> None:
        """A settings file that everybody may write: they could send all tokens to a backend of theirs."""
        if self.mode & stat.S_IWOTH:
            problem = SettingProblem("", WRITABLE_SETTINGS, f"chmod o-w {self.file}", f"file:{self.file}")
            https = settings.server.public_url.startswith("https://")
            (self.problems if https else warnings).append(problem)

    def _merged(self, raw: dict[str, Any]) -> dict[str, Any]:
        """Merges the environment into the file's values; a required section is there, if only empty."""
        merged: dict[str, Any] = {"server": {}, "provider": {}} | {
            name: dict(value) if isinstance(value, dict) else value
            for name, value in raw.items()
            if value != []
        }
        for name, values in self.environment.values.items():
            if not isinstance(values, dict):  # JSON, for all of a list of sections
                if values or (values == [] and name not in ("server", "provider")):
                    merged[name] = values
                continue
            section = merged.setdefault(name, {})
            if isinstance(section, list):
                variable = next((self.environment.name_of(name, key) for key in values), "")
                fix = "set it in the file, a secret by client_secret_file, or all of them by BFF_PROVIDER"
                message = "is a list in the file, and no single variable can be laid over it"
                self.problems.append(SettingProblem(name, message, fix, f"env {variable}"))
            if isinstance(section, dict):
                for _, key, file_key in (secret for secret in _SECRETS if secret[0] == name):
                    if not {key, file_key}.isdisjoint(
                        values
                    ):  # one of a pair in the environment replaces both
                        section.pop(key, None)
                        section.pop(file_key, None)
                section.update(values)
        return merged

    def _place_server(self, raw: dict[str, Any]) -> None:
        """Gives the server the first frontend's address, where it has none of its own."""
        frontends, server = raw.get("frontend"), raw.get("server")
        first = frontends[0] if isinstance(frontends, list) and frontends else None
        url = first.get("public_url") if isinstance(first, dict) else None
        if isinstance(url, str) and isinstance(server, dict) and server.keys().isdisjoint(_PLACE):
            server.update(zip(_PLACE, split_public_url(url), strict=True))
            self.placed = True

    def _read_secrets(self, raw: dict[str, Any]) -> None:
        for at, values, key, file_key in _secrets_of(raw):
            path = values.get(file_key) if isinstance(values, dict) else None
            if not isinstance(values, dict) or not isinstance(path, str):
                continue
            name, file_name = f"{at}.{key}", f"{at}.{file_key}"
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
                return Settings.model_validate(arranged(raw))
            except ValidationError as refused:
                errors = refused.errors(include_url=False, include_input=False)
                several = isinstance(raw["provider"], list)
                for error in errors:
                    error["loc"] = _in_file(error["loc"], several=several)
                meant = {_meant(error["loc"]) for error in errors if error["type"] == "extra_forbidden"}
                for error in errors:
                    self._refuse(raw, error, meant)
                self.broken |= meant

    def _refuse(self, raw: dict[str, Any], error: ErrorDetails, meant: set[str]) -> None:
        key = key_of(error["loc"])
        base = base_of(key)
        # A key that is missing because it is misspelt, or was never read, is one mistake and not two.
        follows = error["type"] == "missing" and (base in meant or self.file_broken)
        if self.broken.isdisjoint({base, *owners_of(key)}) and not follows:
            self.problems.append(SettingProblem(key, *describe(error), self._source(key)))
        self.broken.add(base)
        _replace(raw, error["loc"])

    def _is_moot(self, finding: Finding) -> bool:
        """Returns True if a finding rests on a broken value, or on a file that could not be read."""
        keys = {base_of(key) for key in (finding.key, *finding.needs)}
        sections = set().union(*map(owners_of, keys))
        if self.placed and finding.key.partition(".")[2] in _PLACE and finding.key.startswith("server."):
            return True  # told of the frontend whose address it is
        unknown = self.file_broken and not all(self.environment.name_of(*parts_of(key)) for key in keys)
        return unknown or not self.broken.isdisjoint(keys | sections)

    def _source(self, key: str) -> str:
        if key in self.secret_sources:
            return self.secret_sources[key]
        if variable := self.environment.name_of(*parts_of(key)):
            return f"env {variable}"
        if self.file is None:
            return ""
        line = self.lines.of(*parts_of(key), index=index_of(key))
        return f"file:{self.file}" if line is None else f"file:{self.file}:{line}"


def _secrets_of(raw: Mapping[str, Any]) -> Iterator[tuple[str, Any, str, str]]:
    """The tables that may hold a secret or the name of its file, by their places."""
    for section, key, file_key in _SECRETS:
        values = raw.get(section)
        if isinstance(values, list):
            yield from ((f"{section}[{number}]", each, key, file_key) for number, each in enumerate(values))
        else:
            yield section, values, key, file_key


def _meant(loc: Loc) -> str:
    """The setting that an unknown key was most likely meant to be."""
    if len(loc) == 1 or (near := nearest(place_of(loc).section, str(loc[-1]))) is None:
        return ""
    return base_of(key_of((*loc[:-1], near)))


def arranged(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The raw settings as the model has them: the first of several providers by itself."""
    providers = raw.get("provider")
    if not isinstance(providers, list):
        return dict(raw)
    return {**raw, "provider": providers[0], MORE_PROVIDERS: providers[1:]}


def _in_file(loc: Loc, *, several: bool) -> Loc:
    """The place in a file of a value that the model names otherwise."""
    if loc[0] == MORE_PROVIDERS:
        return ("provider", *(int(part) + 1 for part in loc[1:2]), *loc[2:])
    return ("provider", 0, *loc[1:]) if several and loc[0] == "provider" else loc


def _replace(raw: dict[str, Any], loc: Loc) -> None:
    """Takes a refused value out of the raw settings; one that must be there gets a stand-in."""
    place = place_of(loc)
    if not place.rest and place.table[0] not in SECTIONS:
        del raw[str(place.table[0])]
        return
    *way, last = place.table
    holder: Any = raw
    for part in way:
        holder = holder[part]
    if not place.rest:
        holder[last] = [] if last in {"route", "frontend"} else {}
        return
    values, key = holder[last], str(place.rest[0])
    values.pop(key, None)
    if key in _NUMBERED and place.section in {"route", "frontend", "provider"}:
        values[key] = _NUMBERED[key].format(
            "-".join(str(part) for part in place.table if part != place.section)
        )
    if (stand_in := _STAND_INS.get((place.section, key))) is not None:
        values[key] = stand_in


def _rank(problem: SettingProblem) -> tuple[int, str]:
    """Sorts problems by section, in the order of the settings; those of a whole file come first."""
    section, order = parts_of(problem.key)[0], list(SECTIONS)
    at = order.index(section) if section in order else -1
    numbered = problem.key.startswith(f"{section}[")
    return at, base_of(problem.key).partition(".")[0] if numbered else ""
