"""The difference between two readings of the settings, and the part that can be taken at run time. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bff.settings.model import Section, Settings

RELOADABLE: Final = frozenset(
    {
        "session.keys",
        "session.keys_file",
        "provider.client_secret",
        "provider.client_secret_file",
        "provider.client_key",
        "provider.client_key_file",
        "provider.ca_file",
        "provider.client_cert_file",
        "provider.client_cert_key_file",
        "forward_auth.secrets",
        "forward_auth.secrets_file",
        "log.level",
        "log.format",
    }
)
"""The settings whose new values SIGHUP puts in force; files that settings name are watched apart."""

FIXED: Final = frozenset(
    {"server.host", "server.port", "server.ops_host", "server.ops_port", "server.ops_hosts", "server.workers"}
)
"""The settings of the supervisor itself: a rolling restart does not change them."""


_SECRETS: Final = (
    ("session", "keys"),
    ("provider", "client_secret"),
    ("provider", "client_key"),
    ("forward_auth", "secrets"),
)


@dataclass(frozen=True, slots=True)
class Changes:
    """The names of the settings that differ; `settings` are the former ones with the possible changes."""

    settings: Settings
    taken: tuple[str, ...]
    left: tuple[str, ...]


def keep_files(current: Settings, newer: Settings) -> Settings:
    """The newer settings, with the present value of each secret file whose name is unchanged.

    Secret files have a watch of their own, which reads a file only when it is complete.
    """
    for section, name in _SECRETS:
        before, after = getattr(current, section), getattr(newer, section)
        path = getattr(after, f"{name}_file")
        if path is not None and path == getattr(before, f"{name}_file"):
            part = after.model_copy(update={name: getattr(before, name)})
            newer = newer.model_copy(update={section: part})
    return newer


def compare(old: Settings, new: Settings) -> Changes:
    """Sorts the differences between the settings in force and newer ones."""
    names = tuple(_different(old, new))
    taken = tuple(name for name in names if name in RELOADABLE)
    merged = old
    for name in taken:
        section, _, key = name.partition(".")
        part: Section = getattr(merged, section)
        value = getattr(getattr(new, section), key)
        merged = merged.model_copy(update={section: part.model_copy(update={key: value})})
    return Changes(merged, taken, tuple(name for name in names if name not in RELOADABLE))


def _different(old: Settings, new: Settings) -> Iterator[str]:
    for section in type(old).model_fields:
        before, after = getattr(old, section), getattr(new, section)
        if before == after:
            continue
        if not isinstance(before, Section) or not isinstance(after, Section):
            yield section
            continue
        for key in type(before).model_fields:
            if getattr(before, key) != getattr(after, key):
                yield f"{section}.{key}"
