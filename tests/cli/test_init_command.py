"""`bff init`, and the providers' files that it writes from."""

import stat
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from bff.cli import init
from bff.cli.init import provider_files
from bff.settings.first_file import questions
from bff.settings.load import load_all
from tests.support.processes.command import bff

FOLDER = Path(__file__).parents[2] / "config" / "providers"
NAMES = [path.stem for path in sorted(FOLDER.glob("*.toml"))]


@pytest.mark.parametrize("name", NAMES)
def test_a_providers_file_is_good(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands it loads without a problem, beside its two secrets and a page."""
    (tmp_path / "bff.toml").write_text((FOLDER / f"{name}.toml").read_text())
    for secret in ("bff-keys", "client-secret"):
        (tmp_path / secret).write_text("s5yUp0ZsEJh1mXyqnkiPpFvqQmxVZ0k6oJbcJKkWVnQ")
        (tmp_path / secret).chmod(0o600)
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "index.html").write_text("<!doctype html><title>A page</title>")
    monkeypatch.chdir(tmp_path)
    loaded = load_all(None, {})
    assert () == loaded.warnings
    assert "openid" in loaded.settings.provider.scopes
    assert 2 == loaded.settings.session.record_format  # no version that cannot read it was ever there


@pytest.mark.parametrize("name", NAMES)
def test_a_providers_file_says_how_to_use_it(name: str) -> None:
    """Its first lines name the command and the redirect URI to register."""
    head = (FOLDER / f"{name}.toml").read_text().partition("\n\n")[0]
    assert f"`bff init {name}`" in head
    assert "<public_url>/bff/callback" in head
    assert "client_secret = " not in head


def test_the_command_knows_every_file() -> None:
    """Those of `config/providers`, the one for all others last."""
    assert sorted(NAMES) == sorted(provider_files())
    assert "other" == list(provider_files())[-1]


def test_without_a_name_they_are_listed(tmp_path: Path) -> None:
    """By name, with what they are for; nothing is written."""
    done = bff("init", cwd=tmp_path)
    assert 0 == done.returncode
    assert NAMES == sorted(line.split()[0] for line in done.stdout.splitlines())
    assert [] == list(tmp_path.iterdir())


def test_it_writes_the_settings_and_makes_the_key(tmp_path: Path) -> None:
    """The answers stand in bff.toml; the key is for its owner alone; the next step is said."""
    done = bff(
        "init", "keycloak", "--yes", "--no-check",
        "--set", "provider.issuer=https://sso.acme.test/realms/acme", "--set", "spa.dir=http://127.0.0.1:5173",
        cwd=tmp_path,
    )  # fmt: skip
    assert (0, "") == (done.returncode, done.stderr)
    written = tomllib.loads((tmp_path / "bff.toml").read_text())
    assert "https://sso.acme.test/realms/acme" == written["provider"]["issuer"]
    assert {"url": "http://127.0.0.1:5173"} == written["spa"]
    assert {"keys_file": "bff-keys", "record_format": 2} == written["session"]
    assert 0o600 == stat.S_IMODE((tmp_path / "bff-keys").stat().st_mode)
    assert 44 == len((tmp_path / "bff-keys").read_text())
    assert "client-secret" in done.stdout
    assert "bff check" in done.stdout


def test_on_a_terminal_it_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each question with its example; what was given is not asked, and the secret is never shown."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(init, "sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    asked = [question.key for question in questions(provider_files()["keycloak"])]
    assert {"provider.issuer", "provider.client_id", "server.public_url"} <= set(asked)
    answers = {"provider.issuer": "https://sso.acme.test/realms/acme", "provider.client_id": "shop"}
    lines = [answers.get(key, "") for key in asked if key != "server.public_url"]
    done = CliRunner().invoke(
        init.app,
        ["keycloak", "--no-check", "--set", "server.public_url=https://shop.acme.test"],
        input="\n".join([*lines, "hunter22 and more", ""]),
    )
    assert 0 == done.exit_code, done.output
    written = tomllib.loads((tmp_path / "bff.toml").read_text())
    assert ("https://sso.acme.test/realms/acme", "shop", "https://shop.acme.test") == (
        written["provider"]["issuer"],
        written["provider"]["client_id"],
        written["server"]["public_url"],
    )
    assert (
        """Register at the provider, as bff.toml says:
  redirect URI              https://shop.acme.test/bff/callback
  post-logout redirect URI  https://shop.acme.test/
  back-channel logout URI   https://shop.acme.test/bff/backchannel-logout
"""
        in done.stdout
    )
    assert "server.public_url" not in done.stderr
    assert all(key in done.stderr for key in answers)
    assert "hunter22" not in done.output
    secret = tmp_path / "client-secret"
    assert ("hunter22 and more\n", 0o600) == (secret.read_text(), stat.S_IMODE(secret.stat().st_mode))


def test_an_answer_that_cannot_be_is_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the setting's own words; what is not there yet, a secret or a page, keeps nobody up."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(init, "sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    lines = [
        "http://shop.acme.test", "https://shop.acme.test",  # plain http is for this machine alone
        "https://id.acme.test", "shop",
        "api", "/api",
        "/orders", "http://127.0.0.1:8000",
        "nowhere", "",
    ]  # fmt: skip
    done = CliRunner().invoke(init.app, ["other", "--no-check"], input="\n".join([*lines, ""]))
    assert 0 == done.exit_code, done.output
    assert 2 == done.stderr.count("server.public_url [")
    assert 'route[0].path does not begin with a slash: write it like "/api"' in done.stderr
    assert "route[0].upstream is not an http or https URL" in done.stderr
    assert 1 == done.stderr.count("spa.dir [")
    written = tomllib.loads((tmp_path / "bff.toml").read_text())
    assert ("https://shop.acme.test", "/api", "http://127.0.0.1:8000") == (
        written["server"]["public_url"],
        written["route"][0]["path"],
        written["route"][0]["upstream"],
    )


def test_nothing_is_written_over(tmp_path: Path) -> None:
    """A bff.toml that is there stays without --force, a key that is there with it too."""
    (tmp_path / "bff.toml").write_text("mine")
    (tmp_path / "bff-keys").write_text("mine")
    (tmp_path / "client-secret").write_text("mine")
    refused = bff("init", "dex", "--yes", "--no-check", cwd=tmp_path)
    assert (2, "mine") == (refused.returncode, (tmp_path / "bff.toml").read_text())
    assert "--force" in refused.stderr
    done = bff("init", "dex", "--yes", "--no-check", "--force", cwd=tmp_path)
    assert 0 == done.returncode
    assert "dex" in (tmp_path / "bff.toml").read_text()
    assert ["mine", "mine"] == [(tmp_path / name).read_text() for name in ("bff-keys", "client-secret")]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("init", "keycloke"), "keycloak"),
        (("init", "keycloak", "--set", "provider.isuer=https://a"), "provider.issuer"),
        (("init", "keycloak", "--set", "provider.issuer"), "KEY"),
    ],
)
def test_a_slip_is_told(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    """With the names that there are; nothing is written."""
    done = bff(*arguments, cwd=tmp_path)
    assert 2 == done.returncode
    assert said in done.stderr.replace("\n", " ")
    assert [] == list(tmp_path.iterdir())


def test_it_ends_with_a_check(tmp_path: Path) -> None:
    """Which says what is not there yet: the secret, and the page."""
    done = bff("init", "dex", "--yes", cwd=tmp_path)
    assert 2 == done.returncode
    assert "client-secret" in done.stderr


def test_a_link_that_leads_nowhere_is_no_free_place(tmp_path: Path) -> None:
    """Somebody else's link in a shared folder has nothing written through it: neither settings nor key."""
    (tmp_path / "here").mkdir()
    for name in ("bff.toml", "bff-keys"):
        (tmp_path / "here" / name).symlink_to(tmp_path / f"elsewhere-{name}")
    refused = bff("init", "other", "--yes", "--no-check", cwd=tmp_path / "here")
    assert (2, True) == (refused.returncode, "--force" in refused.stderr)
    (tmp_path / "here" / "bff.toml").unlink()
    assert 0 == bff("init", "other", "--yes", "--no-check", cwd=tmp_path / "here").returncode
    assert ["here"] == [path.name for path in tmp_path.iterdir()]
