"""The corpora of answers and requests under `tests/data/`, as bytes."""

import json
from pathlib import Path

DATA = Path(__file__).parent.parent / "data"
ANSWER_FILES = ("accepted", "refused", "differential", "after_the_end")


def rows(name: str) -> list[list[str]]:
    """The lines of a table of answers, without its notes."""
    lines = (DATA / "answers" / name).read_text(encoding="utf-8").splitlines()
    return [line.split("\t") for line in lines if not line.startswith("#")]


def raw(escaped: str) -> bytes:
    """A field with Python's escapes as the bytes that it stands for."""
    return escaped.encode("latin-1", "backslashreplace").decode("unicode-escape").encode("latin-1", "replace")


def answers() -> list[tuple[str, str]]:
    """Every answer there is: the request's method, the escaped bytes."""
    return [(row[0], row[-1].replace("|", "")) for name in ANSWER_FILES for row in rows(f"{name}.tsv")]


def requests() -> dict[str, str]:
    """Every request there is, by its name; HOST, TAG and app.example.com are for the caller to fill in."""
    return {
        case["name"]: case["request"]
        for file in ("differential/requests.json", "refused_requests.json")
        for case in json.loads((DATA / file).read_text(encoding="utf-8"))["cases"]
    }


def found(target: str) -> list[bytes]:
    """The fuzzer's earlier findings, for one of its targets."""
    return [path.read_bytes() for path in sorted((DATA / "fuzz" / target).glob("*.bin"))]
