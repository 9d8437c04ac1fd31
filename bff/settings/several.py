"""Findings about each of several providers, by the rules for a single one. Pure.

Rule 1: each rule is written once, for the only provider. Here it is asked about every one, and its finding is
named after the section that it is about: `provider[1].issuer`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final

from bff.settings.model import Settings
from bff.settings.problem import Finding

Judge = Callable[[Settings], Iterable[Finding]]
"""Finds what is wrong with settings of one provider."""

_NO_CALLBACK: Final = frozenset({"finish"})


def judged(settings: Settings, judge: Judge) -> Iterator[Finding]:
    """Findings about all providers, each once."""
    told: set[tuple[str, str]] = set()
    for finding in _judged(settings, judge):
        if (known := (finding.key, finding.message)) not in told:
            told.add(known)
            yield finding


def check_several(settings: Settings) -> Iterator[Finding]:
    """Findings about what several providers are to each other."""
    yield from _names("provider", [each.name for each in settings.providers()])
    several = bool(settings.more_providers)
    for number, provider in enumerate(settings.providers()):
        if provider.name in _NO_CALLBACK and several:
            yield Finding(
                f"provider[{number}].name", "is a path of the sign-in itself", "choose another name"
            )


def _names(section: str, names: list[str]) -> Iterator[Finding]:
    for number, name in enumerate(names):
        if name in names[:number]:
            yield Finding(
                f"{section}[{number}].name",
                f'is the same as that of {section}[{names.index(name)}], "{name}"',
                "give each a name of its own: sessions are bound to it",
            )


def _judged(settings: Settings, judge: Judge) -> Iterator[Finding]:
    several = bool(settings.more_providers)
    for number, provider in enumerate(settings.providers()):
        alone = settings.model_copy(update={"provider": provider, "more_providers": ()})
        for finding in judge(alone):
            about = _is_about_provider(finding.key)
            if about or not number:
                yield _numbered(finding, number) if several else finding


def _is_about_provider(key: str) -> bool:
    return key.startswith("provider.")


def _numbered(finding: Finding, number: int) -> Finding:
    def of(key: str) -> str:
        return f"provider[{number}].{key.removeprefix('provider.')}" if _is_about_provider(key) else key

    return replace(finding, key=of(finding.key), needs=tuple(map(of, finding.needs)))
