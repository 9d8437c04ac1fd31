"""The files that settings come from, watched for changes that can be used.

Rule 1: a change is read once the file has been left alone for `SETTLE`: a file that is being written may look
whole. (A replacement by `rename`, and Kubernetes' swap of a link, are whole at once, and wait as well.)
Rule 2: a file is checked as at the start, by the same rules. A file that fails leaves the former values in
force, and is logged once for each change.
Rule 3: a look has three steps: `see` and `read` touch the disk, and may run beside the event loop; `due` and
`take` decide, and hold the state. Two looks at once do no harm: what has been taken is not taken again.
"""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from bff.settings.check import check
from bff.settings.model import RouteSettings, Settings
from bff.settings.problem import SettingProblem
from bff.settings.provider_sections import provider_section, with_provider
from bff.settings.redis_urls import redis_tls_files
from bff.settings.referenced_files import LISTS, SecretFiles, check_files

SETTLE: Final = 0.5
"""Seconds since a file's last change before it is read."""

Fingerprint = tuple[int, ...]
Seen = Mapping[Path, Fingerprint | None]
"""The files as they are now, None where there is none."""


@dataclass(frozen=True, slots=True)
class Source:
    """One setting, or a pair that belongs together, and its files.

    Attributes:
        setting: the setting that names the file, as in `session.keys_file`.
        paths: the files that change as one: a certificate and its key.
        value: section and name of the setting that the file's text becomes; None where the file is used by
            its name (certificates).
        provider: the number of the provider that it is about, if it is about one.
    """

    setting: str
    paths: tuple[Path, ...]
    value: tuple[str, str] | None = None
    provider: int = 0

    @property
    def about(self) -> frozenset[str]:
        """The settings whose problems are this source's."""
        section = self.setting.rpartition(".")[0]
        own = {self.setting, self.setting.removesuffix("_file")}
        if self.setting.endswith("client_cert_file"):
            own |= {f"{section}.client_key_file", f"{section}.client_cert_key_file"}
        return frozenset(own)


@dataclass(frozen=True, slots=True)
class Read:
    """The result of reading a source: another value, or problems."""

    source: Source
    fingerprints: tuple[Fingerprint | None, ...]
    value: Any = None
    problems: tuple[SettingProblem, ...] = ()


@dataclass(frozen=True, slots=True)
class Taken:
    """The outcome of a look: the settings in force now, the changes, and the problems."""

    settings: Settings
    changed: tuple[str, ...] = ()
    refused: tuple[SettingProblem, ...] = ()


class Settling:
    """The times since which files are unchanged, so that none is read while it is written (Rule 1)."""

    def __init__(self) -> None:
        self._first_seen: dict[Path, tuple[Fingerprint | None, float]] = {}

    def is_settled(self, path: Path, fingerprint: Fingerprint | None, wall: float, steady: float) -> bool:
        """Return True if a file has been left alone for `SETTLE`, by either clock."""
        known = self._first_seen.get(path)
        if known is None or known[0] != fingerprint:
            known = self._first_seen[path] = (fingerprint, steady)
        if steady - known[1] >= SETTLE:
            return True
        return fingerprint is not None and wall - fingerprint[-1] / 1e9 >= SETTLE


class WatchedFiles:
    """The files of some settings.

    Attributes:
        settings: the settings in force.
        bad: the settings whose last change is not in force.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.bad: set[str] = set()
        self._known: dict[str, tuple[Fingerprint | None, ...]] = {}
        self._settling = Settling()

    def begin(self, seen: Seen) -> None:
        """Notes the files that are used by their names, before they are used for the first time.

        Values of the settings were read earlier: the first look compares them with the files.
        """
        for source in self.sources():
            if source.value is None:
                self._known[source.setting] = _prints(source, seen)

    def replace(self, settings: Settings) -> None:
        """Takes settings that were read elsewhere; the files that they name anew have just been used."""
        known = {source.paths: self._known.get(source.setting) for source in self.sources()}
        self.settings = settings
        seen = see(self.paths())
        for source in self.sources():
            if source.value is None:
                before = known.get(source.paths)
                self._known[source.setting] = _prints(source, seen) if before is None else before

    def sources(self) -> list[Source]:
        """All sources that can change while the proxy runs."""
        return list(_sources(self.settings))

    def paths(self) -> list[Path]:
        """All files."""
        return [path for source in self.sources() for path in source.paths]

    def due(self, seen: Seen, *, wall: float, steady: float, forced: bool = False) -> list[Source]:
        """The sources that have changed and been left alone since (Rule 1); with `forced` bad ones, too.

        Args:
            seen: the files as they are.
            wall: seconds since the epoch.
            steady: seconds of a monotonic clock.
            forced: True to read and log a bad file again.
        """
        settled = {path for path in seen if self._settling.is_settled(path, seen[path], wall, steady)}
        return [
            source
            for source in self.sources()
            if settled.issuperset(source.paths)
            and (self._is_news(source, seen) or (forced and source.setting in self.bad))
        ]

    def waiting(self, seen: Seen) -> bool:
        """True while a change has been seen that has not been read."""
        return any(self._is_news(source, seen) for source in self.sources())

    def take(self, reads: Sequence[Read], *, forced: bool = False) -> Taken:
        """Puts the values that were read in force; a bad file leaves the former ones (Rule 2)."""
        changed: list[str] = []
        refused: list[SettingProblem] = []
        current = self.sources()
        for read in reads:
            if read.source not in current:  # other settings have been taken meanwhile
                continue
            setting = read.source.setting
            news = read.fingerprints != self._known.get(setting)
            self._known[setting] = read.fingerprints
            if read.problems:
                self.bad.add(setting)
                if news or forced:
                    refused += read.problems
            elif news or setting in self.bad:  # else another look has taken it (Rule 3)
                self.bad.discard(setting)
                before = self.settings
                self.settings = _with(before, read)
                if read.source.value is None or self.settings != before:
                    changed.append(setting)
        return Taken(self.settings, tuple(changed), tuple(refused))

    def _is_news(self, source: Source, seen: Seen) -> bool:
        return self._known.get(source.setting) != _prints(source, seen)


def see(paths: Collection[Path]) -> dict[Path, Fingerprint | None]:
    """Looks at files through every link, without opening them."""
    return {path: fingerprint(path) for path in paths}


def read(sources: Sequence[Source], settings: Settings) -> list[Read]:
    """Reads sources, and judges each with the other settings as they are."""
    return [_read(source, settings) for source in sources]


def _read(source: Source, settings: Settings) -> Read:
    before = _prints(source, see(source.paths))
    value: Any = None
    files = SecretFiles(patience=0.0)  # it may be read on the event loop (`Reloader.look_now`)
    if source.value is not None:
        reads = files.read_keys if source.value[1] in LISTS else files.read_text
        value = reads(source.setting, source.paths[0])
    problems = tuple(files.problems)
    if not problems:
        candidate = _with(settings, Read(source, before, value))
        problems = tuple(
            SettingProblem(finding.key, finding.message, finding.fix, f"file {source.paths[0]}")
            for finding in [*check(candidate), *check_files(candidate)]
            if not finding.warning and finding.key in source.about
        )
    return Read(source, before, value, problems)


def _with(settings: Settings, read: Read) -> Settings:
    if read.source.value is None:
        return settings
    section, name = read.source.value
    value = tuple(SecretStr(key) for key in read.value) if name in LISTS else SecretStr(read.value)
    if section == "provider":
        return with_provider(settings, read.source.provider, {name: value})
    return settings.model_copy(update={section: getattr(settings, section).model_copy(update={name: value})})


def _sources(settings: Settings) -> Iterator[Source]:
    session = settings.session
    if session.keys_file is not None:
        yield Source("session.keys_file", (session.keys_file,), ("session", "keys"))
    for number in range(len(settings.providers())):
        yield from _of_provider(settings, number)
    if settings.forward_auth.secrets_file is not None:
        asked = settings.forward_auth.secrets_file
        yield Source("forward_auth.secrets_file", (asked,), ("forward_auth", "secrets"))
    if tls := redis_tls_files(settings.redis.url.get_secret_value()):
        yield Source("redis.url", tuple(tls.values()))
    for at, route in routes_by_name(settings):
        if route.ca_file is not None:
            yield Source(f"{at}.ca_file", (route.ca_file,))
        yield from _pair(f"{at}.client_cert_file", route.client_cert_file, route.client_key_file)


def routes_by_name(settings: Settings) -> Iterator[tuple[str, RouteSettings]]:
    """Yields the shared routes and those of each frontend, by the names of their sections."""
    for number, route in enumerate(settings.route):
        yield f"route[{number}]", route
    for place, own in enumerate(settings.frontend):
        for number, route in enumerate(own.route):
            yield f"frontend[{place}].route[{number}]", route


def _of_provider(settings: Settings, number: int) -> Iterator[Source]:
    provider, at = settings.providers()[number], provider_section(settings, number)
    for name in ("client_secret", "client_key"):
        path = getattr(provider, f"{name}_file")
        if path is not None:
            yield Source(f"{at}.{name}_file", (path,), ("provider", name), number)
    if provider.ca_file is not None:
        yield Source(f"{at}.ca_file", (provider.ca_file,))
    yield from _pair(f"{at}.client_cert_file", provider.client_cert_file, provider.client_cert_key_file)


def _pair(setting: str, cert: Path | None, key: Path | None) -> Iterator[Source]:
    """The source of a certificate, which its key belongs to."""
    if cert is not None:
        yield Source(setting, (cert,) if key is None else (cert, key))


def _prints(source: Source, seen: Seen) -> tuple[Fingerprint | None, ...]:
    return tuple(seen.get(path) for path in source.paths)


def fingerprint(path: Path) -> Fingerprint | None:
    """Returns the state of a file, by which changes are noticed; None where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - a link is followed to its end
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
