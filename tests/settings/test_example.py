"""`config/bff.example.toml`: every key, once, with its true default."""

import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from bff.settings.check import EXAMPLE_KEY
from bff.settings.client_key import EXAMPLE_SECRET
from bff.settings.load import load
from bff.settings.messages import SECTIONS
from bff.settings.model import Settings
from tests.support.settings import KEY

EXAMPLE = Path(__file__).parents[2] / "config" / "bff.example.toml"
TEXT = EXAMPLE.read_text()
UNCOMMENTED = re.sub(r"^#(\[\[|[a-z0-9_]+ = )", r"\1", TEXT, flags=re.MULTILINE)
HEADER = re.compile(r"#?\[\[?([a-z_]+)\]?\]")
OPTIONAL = {"frontend"}
"""Sections that most files do not have: all of their lines are commented."""
NOT_BESIDE = ("keys_file", "client_secret_file", "url")


def keys_in_order() -> list[tuple[str, str]]:
    found, section = [], ""
    for line in TEXT.splitlines():
        if header := HEADER.fullmatch(line):
            section = header[1]
        elif key := re.match(r"#?([a-z0-9_]+) = ", line):
            found.append((section, key[1]))
    return found


def all_settings() -> set[tuple[str, str]]:
    return {(section, key) for section, model in SECTIONS.items() for key in model.model_fields}


def test_every_setting_stands_there_once() -> None:
    """Nothing is missing, nothing is there twice, nothing is invented."""
    counted = Counter(keys_in_order())
    assert all_settings() == set(counted)
    assert [] == [key for key, times in counted.items() if times != 1]


def plain(value: Any) -> Any:
    """A default, as the model has it, and a value from the file become the same thing."""
    if isinstance(value, BaseModel):
        return value.model_dump()
    return value.get_secret_value() if hasattr(value, "get_secret_value") else value


def commented() -> Iterator[tuple[str, str]]:
    section = ""
    for line in TEXT.splitlines():
        if header := HEADER.fullmatch(line):
            section = header[1]
        elif key := re.match(r"#([a-z0-9_]+) = ", line):
            yield section, key[1]


@pytest.mark.parametrize(("section", "key"), list(commented()))
def test_a_commented_line_shows_the_default(section: str, key: str) -> None:
    """Taking the # away changes nothing; a key without a default says so."""
    field = SECTIONS[section].model_fields[key]
    default = field.get_default(call_default_factory=True)
    shown = Settings.model_validate(tomllib.loads(UNCOMMENTED))
    part = getattr(shown, section)
    part = part[0] if isinstance(part, tuple) else part
    if field.is_required():
        assert section in OPTIONAL  # as all of it
    elif default is None:
        own_part = TEXT.partition(f"[{section}]")[2]
        explanation = own_part.partition(f"\n#{key} = ")[0].rpartition(" = ")[2]
        assert re.search("[Nn]o default", explanation)
    else:
        assert plain(default) == plain(getattr(part, key))


def test_lines_without_a_mark_have_no_default() -> None:
    """What is not commented out must be set (or one of a pair must)."""
    required = {
        (section, key)
        for section, model in SECTIONS.items()
        for key, field in model.model_fields.items()
        if field.is_required() and section not in OPTIONAL
    }
    files = {("session", "keys_file"), ("provider", "client_secret_file")}
    assert required | files == all_settings() - set(commented())


def test_the_file_as_it_stands_loads() -> None:
    """With its two secrets given, the example is a configuration that works."""
    settings = load(EXAMPLE, {"BFF_SESSION__KEYS": KEY, "BFF_PROVIDER__CLIENT_SECRET": "s3cret"})
    assert "https://app.example.com" == settings.server.public_url
    assert KEY == settings.session.keys[0].get_secret_value()


def test_the_uncommented_form_loads(tmp_path: Path) -> None:
    """Every line can be used at once, where it does not exclude another."""
    (tmp_path / "index.html").write_text("<!doctype html>")
    text = re.sub(
        rf"^(?:{'|'.join(NOT_BESIDE)}) = .*5173.*\n|^(?:keys|client_secret|secrets)_file = .*\n",
        "",
        UNCOMMENTED,
        flags=re.MULTILINE,
    )
    text = re.sub(r"^(?:ca|client_cert|client_cert_key|client_key)_file = .*\n", "", text, flags=re.MULTILINE)
    # With another `auth` or `token` alone:
    text = re.sub(r"^(?:bearer_\w+|token_provider) = .*\n", "", text, flags=re.MULTILINE)
    text = text.replace('"web/dist"', f'"{tmp_path}"').replace("http://orders", "https://orders")
    text = text.replace("keys = []", f'keys = ["{KEY}"]').replace(EXAMPLE_SECRET, "s3cret")
    file = tmp_path / "bff.toml"
    file.write_text(text)
    assert tmp_path == load(file, {}).spa.dir


def test_the_example_values_are_the_refused_ones() -> None:
    """What people may copy without thinking is what the check turns away."""
    assert EXAMPLE_KEY in TEXT
    assert EXAMPLE_SECRET in TEXT
