"""The reference of all settings, made of the model (types, bounds) and `config/bff.example.toml` (the rest).

Rule 1: a setting's meaning stands in one place, the comment above it in the example file.
"""

import re
import types
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import BeforeValidator, SecretStr
from pydantic.fields import FieldInfo

from bff.settings.claim_rule import parse_rule
from bff.settings.messages import SECTIONS
from bff.settings.model import Section
from bff.settings.value_types import parse_duration, parse_off, parse_rate, parse_size
from tests.structure.source import ROOT

EXAMPLE: Final = ROOT / "config" / "bff.example.toml"
_HEADER = re.compile(r"#?\[\[?([a-z_]+)\]?\]")
_SETTING = re.compile(r"(#?)([a-z0-9_]+) = (.+)")
_CODE = re.compile(r"(`[^`]*`)")
_NAME = re.compile(
    r"(?<![\w/?&=.<`:-])(?:(?:server|session|refresh|provider|frontend|route|spa|limits|log)\.[a-z_]+"
    r"|[A-Za-z0-9]+(?:_+[A-Za-z0-9]+)+(?:=[a-z0-9]+)?)(?![\w`/-])"
)
_MARK = re.compile(r"([\\*_<\[\]#])")
_FORMS = {parse_duration: "duration", parse_size: "size", parse_rate: "rate", parse_rule: "rule about claims"}
_NAMES: Mapping[Any, str] = {
    bool: "`true` or `false`",
    int: "number",
    str: "text",
    SecretStr: "text, a secret",
    Path: "path",
    IPv4Network: "address or network",
}


LISTS: Final = frozenset({"frontend", "route"})
"""Sections that a file may have several times, and that come from the environment as one list."""


class Shown(NamedTuple):
    """A setting as the example file has it."""

    value: str
    required: bool
    meaning: str


def shown() -> dict[tuple[str, str], Shown]:
    """All settings by section and key; keys below one comment share it."""
    found: dict[tuple[str, str], Shown] = {}
    section, comment, fresh = "", list[str](), False
    for line in EXAMPLE.read_text(encoding="utf-8").splitlines():
        if header := _HEADER.fullmatch(line):
            section, comment = header[1], []
        elif setting := _SETTING.fullmatch(line):
            found[section, setting[2]] = Shown(setting[3], not setting[1], " ".join(comment))
            fresh = True
        elif line.startswith("#"):
            comment = [*([] if fresh else comment), line.lstrip("# ")]
            fresh = False
    return found


def text() -> str:
    """The generated part of the page."""
    return "\n\n".join(part for section in SECTIONS for part in _section(section))


def _section(section: str) -> Iterator[str]:
    model = SECTIONS[section]
    about = (model.__doc__ or "").partition(": ")[2].strip()
    yield f"## `{f'[[{section}]]' if section in LISTS else f'[{section}]'}` {{ #{section} }}"
    yield about[:1].upper() + about[1:]
    examples = shown()
    for key, field in model.model_fields.items():
        yield f"### `{key}` {{ #{section}-{key} }}"
        yield " · ".join(_facts(section, key, field, examples[section, key]))
        yield escaped(examples[section, key].meaning)


def _facts(section: str, key: str, field: FieldInfo, example: Shown) -> Iterator[str]:
    yield kind(field.annotation, field.metadata)
    if example.required or field.is_required():
        yield f"to be set, as `{example.value}`"
    elif field.get_default(call_default_factory=True) is None:
        yield f"not set by default; as `{example.value}`"
    else:
        yield f"default `{example.value}`"
    if section not in LISTS:
        yield f"`BFF_{section.upper()}__{key.upper()}`"


def kind(annotation: Any, metadata: Any = ()) -> str:
    """The type of a setting in words, with its bounds."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    readers = [each.func for each in metadata if isinstance(each, BeforeValidator)]
    form = next((_FORMS[reader] for reader in readers if reader in _FORMS), None)
    if form is not None:
        found = form
    elif origin is Annotated:
        found = kind(arguments[0], arguments[1:])
    elif origin in {Union, types.UnionType}:
        kinds = [kind(each) for each in arguments if each not in {type(None), IPv6Network}]
        found = " or ".join([*kinds, *(['`"off"`'] if parse_off in readers else [])])
    elif isinstance(annotation, type) and issubclass(annotation, Section):
        found = "table"
    elif origin is Literal:
        found = " or ".join(f'`"{each}"`' for each in arguments)
    elif origin is tuple:
        found = f"list of {kind(arguments[0])}"
    else:
        found = "table of texts" if origin is dict else _NAMES[annotation] + _bounds(metadata)
    return found


def _bounds(metadata: Any) -> str:
    flat = [inner for each in metadata for inner in getattr(each, "metadata", [each])]
    least = [each.ge for each in flat if isinstance(each, Ge)] + [
        each.gt for each in flat if isinstance(each, Gt)
    ]
    most = [each.le for each in flat if isinstance(each, Le)]
    if least and most:
        return f", {least[0]} to {most[0]}"
    return f", at least {least[0]}" if least else f", at most {most[0]}" if most else ""


def escaped(meaning: str) -> str:
    """The words with nothing in them that Markdown would take for a mark; names of settings become code."""
    named = _outside_code(meaning, lambda words: _NAME.sub(r"`\g<0>`", words))
    return _outside_code(named, lambda words: _MARK.sub(r"\\\1", words))


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    return "".join(part if part.startswith("`") else change(part) for part in _CODE.split(text))
