"""The page of a provider, made of its settings file in `config/providers`."""

import re
from collections.abc import Iterator

from bff.settings.first_file import title
from tests.docs.settings_doc import escaped

_PUBLIC_URL = re.compile(r"(<public_url>[^\s,]*)")


def text(name: str, file: str) -> str:
    """The page of the provider that `bff init` knows by this name."""
    head, _, body = file.partition("\n\n")
    notes = [line.removeprefix("#").removeprefix(" ") for line in head.split("\n")[1:]]
    return "\n\n".join(
        [f"# {title(file)}", _FIRST.format(name=name), *_parts(notes), _SETTINGS + body + "```\n"]
    )


_FIRST = """```sh
bff init {name}
```

asks for what stands as an example below, writes `bff.toml` and the key, and checks them."""
_SETTINGS = "## Settings\n\n```toml\n"


def _parts(notes: list[str]) -> Iterator[str]:
    """Registration first: paragraphs, and indented lines as they stand; then the notes, one list."""
    first = next((number for number, line in enumerate(notes) if line.startswith("- ")), len(notes))
    yield "## Register the client"
    for line in _joined(notes[:first]):
        yield line if line.startswith("```") else _worded(line)
    if first < len(notes):
        yield "## Pitfalls"
        yield "\n".join(_worded(line) for line in notes[first:])


def _joined(lines: list[str]) -> Iterator[str]:
    plain, kept = list[str](), list[str]()
    for line in [*lines, ""]:
        indented = line.startswith("  ")
        if plain and (indented or not line):
            yield " ".join(plain)
            plain = []
        if kept and not indented:
            yield "\n".join(["```text", *kept, "```"])
            kept = []
        if line:
            (kept if indented else plain).append(line.removeprefix("  "))


def _worded(line: str) -> str:
    return escaped(_PUBLIC_URL.sub(r"`\1`", line))
