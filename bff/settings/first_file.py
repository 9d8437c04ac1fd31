"""The first settings file of a new user, made of a provider's file in `config/providers`. Pure.

Rule 1: a value with "example" in it is asked for, and so are the client id, the page and the API's address:
only the user knows them. All other values stay as they are in the provider's file.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

_HEADER: Final = re.compile(r"\[\[?([a-z]+)\]?\]")
_SETTING: Final = re.compile(r"([a-z0-9_]+) = (.+)")
_STRING: Final = re.compile(r'"([^"]*)"')
_ALWAYS: Final = frozenset({"provider.client_id", "route.path", "route.upstream", "spa.dir"})
_OURS: Final = "<public_url>"
_ORIGIN: Final = re.compile(r"https?://[^\s/<>\"\\]+")
_DEVELOPMENT_PAGE: Final = re.compile(r"https?://")


@dataclass(frozen=True, slots=True)
class Question:
    """A value that the user knows.

    Attributes:
        key: the setting's name, as `provider.issuer`.
        example: the value that stands in the file.
        help: the comment above the setting, "" where there is none.
    """

    key: str
    example: str
    help: str


def title(text: str) -> str:
    """The provider's name, from the first line of its file."""
    return text.partition("\n")[0].lstrip("# ").partition(". ")[0]


def questions(text: str) -> list[Question]:
    """Returns the questions that a provider's file leaves to the user, in the file's order."""
    return [question for _, question in _places(text)]


def fill(text: str, answers: Mapping[str, str]) -> str:
    """The settings file with the answers in it; a question without an answer keeps its example.

    A page that is a URL becomes `spa.url`, a development server's address. The notes at the head name the
    addresses to register as they are then.
    """
    public_url = answers.get("server.public_url", "").rstrip("/")
    if _ORIGIN.fullmatch(public_url):
        text = text.replace(_OURS, public_url)
    lines = text.split("\n")
    for number, question in _places(text):
        answer = answers.get(question.key, question.example)
        if question.key == "spa.dir" and _DEVELOPMENT_PAGE.match(answer):
            lines[number] = f"url = {_quoted(answer)}"
        else:
            lines[number] = lines[number].replace(f'"{question.example}"', _quoted(answer))
    return "\n".join(lines)


def to_register(text: str, public_url: str) -> list[str]:
    """The addresses that a filled file's notes name as those to register at the provider."""
    notes, ours = text.partition("\n\n")[0], public_url.rstrip("/")
    return re.findall(rf"(?<!\S)\[?({re.escape(ours)}/[a-z/-]*)", notes) if _ORIGIN.fullmatch(ours) else []


def _places(text: str) -> Iterator[tuple[int, Question]]:
    section, comment = "", list[str]()
    for number, line in enumerate(text.split("\n")):
        if line.startswith("# "):
            comment.append(line[2:])
            continue
        if header := _HEADER.fullmatch(line):
            section = header[1]
        elif setting := _SETTING.fullmatch(line):
            key = f"{section}.{setting[1]}"
            for value in _STRING.findall(setting[2]):
                if "example" in value or key in _ALWAYS:
                    yield number, Question(key, value, " ".join(comment))
        comment = []


def _quoted(value: str) -> str:
    """A TOML string: JSON's escapes are TOML's."""
    return json.dumps(value, ensure_ascii=False)
