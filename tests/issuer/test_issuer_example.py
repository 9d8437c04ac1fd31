"""`config/issuer.example.toml` has every key once, with its true default; and the docs name all there is."""

import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from bff.crypto import new_secret
from bff.issuer.app import create_app
from bff.issuer.client_settings import ClientSettings
from bff.issuer.settings import IssuerSettings, PasswordCost, SignInLimits, UserSettings, load

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "config" / "issuer.example.toml"
TEXT = EXAMPLE.read_text()
SECTIONS: dict[str, type[BaseModel]] = {
    "": IssuerSettings,
    "password_cost": PasswordCost,
    "sign_in_limits": SignInLimits,
    "clients": ClientSettings,
    "users": UserSettings,
}
ARCHITECTURE = (ROOT / "bff" / "ARCHITECTURE.md").read_text()


def lines() -> list[tuple[str, str, str]]:
    """Section, key and value of each line that sets something, commented out or not."""
    found, section = [], ""
    for line in TEXT.splitlines():
        if header := re.fullmatch(r"#?\[\[?([a-z_]+)\]?\]", line):
            section = header[1]
        elif pair := re.match(r"#?([a-z0-9_]+) = (.+)", line):
            found.append((section, pair[1], pair[2]))
    return found


def test_every_setting_stands_there_once() -> None:
    """Nothing is missing, nothing is there twice, nothing is invented."""
    expected = {(section, key) for section, model in SECTIONS.items() for key in model.model_fields}
    counted = Counter((section, key) for section, key, _ in lines())
    assert expected - {("", name) for name in SECTIONS} == set(counted)
    assert {1} == set(counted.values())


DEFAULTS = [
    (section, key, value)
    for section, key, value in lines()
    if f"#{key} = {value}" in TEXT
    and section != "users"
    and SECTIONS[section].model_fields[key].get_default() not in (None, (), "")
]


@pytest.mark.parametrize(("section", "key", "value"), DEFAULTS)
def test_a_commented_line_shows_the_default(section: str, key: str, value: str) -> None:
    """Taking the # away changes nothing."""
    default: Any = SECTIONS[section].model_fields[key].get_default()
    default = default.get_secret_value() if hasattr(default, "get_secret_value") else default
    given = tomllib.loads(f"v = {value}")["v"]
    base: dict[str, Any] = {
        "": {"url": "http://localhost"},
        "clients": {"client_id": "c", "client_secret": "s"},
    }.get(section, {})
    read = getattr(SECTIONS[section].model_validate({**base, key: given}), key)
    read = read.get_secret_value() if hasattr(read, "get_secret_value") else read
    assert default == read


def test_the_file_as_it_stands_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its keys in place the example is a configuration that works."""
    keys = tmp_path / "keys"
    keys.write_text(f"{new_secret()}\n{new_secret()}\n")
    file = tmp_path / "issuer.toml"
    file.write_text(TEXT.replace("/run/secrets/issuer-keys", str(keys)))
    monkeypatch.delenv("ISSUER_URL", raising=False)
    settings = load(file)
    assert ("https://id.example.com", 2) == (settings.url, len(settings.sealing_keys))


def test_the_docs_name_each_endpoint_and_each_kind_of_key() -> None:
    """ARCHITECTURE.md lists what the issuer answers, and what it keeps in Redis."""
    app = create_app(IssuerSettings(url="http://localhost:9000"))
    paths = {route.path for route in app.routes if hasattr(route, "path")}
    assert len(paths) > 10
    assert set() == {path for path in paths if f"`{path}`" not in ARCHITECTURE}
    source = "\n".join(path.read_text() for path in sorted((ROOT / "bff" / "issuer").rglob("*.py")))
    kinds = set(re.findall(r'\.key\("([a-z:]+)"', source)) | set(
        re.findall(r'self\._key\("([a-z]+)"', source)
    )
    assert len(kinds) > 8
    assert set() == {kind for kind in kinds if f"`issuer:{kind}" not in ARCHITECTURE}
