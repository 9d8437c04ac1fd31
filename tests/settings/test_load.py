"""Where settings come from: file, environment, secret files."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from bff.settings.load import load, load_all
from tests.support.settings import GOOD, GOOD_ENV, KEY, OTHER, only, secret, write


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# Sources


def test_a_file_alone_is_enough() -> None:
    """What the file does not say has its default."""
    settings = load(write(GOOD), {"HOME": "/root", "BFFLESS": "1"})
    assert ("https://app.example.com", 8080) == (settings.server.public_url, settings.server.port)


def test_the_environment_alone_is_enough() -> None:
    """A container needs no file; lists are separated by commas, tables are JSON or named one by one."""
    settings = load(
        None,
        GOOD_ENV
        | {
            "BFF_SESSION__KEYS": f"{OTHER}, {KEY}",
            "BFF_PROVIDER__SCOPES": "openid,email",
            "BFF_PROVIDER__CLAIMS": '["sub", "name"]',
            "BFF_PROVIDER__EXTRA_PARAMS__AUDIENCE": "orders",
            "BFF_SERVER__TRUSTED_PROXIES": "10.0.0.0/8,::1",
            "BFF_SERVER__OPS_PORT": "off",
            "BFF_SESSION__IDLE_TIMEOUT": "5m",
            "BFF_LOG__ACCESS": "false",
            "BFF_ROUTE": json.dumps(
                [{"path": "/api", "upstream": "http://backend:8000", "methods": ["GET"]}]
            ),
        },
    )
    assert [OTHER, KEY] == [key.get_secret_value() for key in settings.session.keys]
    assert ("openid", "email") == settings.provider.scopes
    assert ("sub", "name") == settings.provider.claims
    assert {"audience": "orders"} == settings.provider.extra_params
    assert ["10.0.0.0/8", "::1/128"] == [str(network) for network in settings.server.trusted_proxies]
    assert None is settings.server.ops_port
    assert 300.0 == settings.session.idle_timeout
    assert False is settings.log.access
    assert ("GET",) == settings.route[0].methods


def test_extra_parameters_can_be_json() -> None:
    """A table from the environment is JSON."""
    settings = load(None, GOOD_ENV | {"BFF_PROVIDER__EXTRA_PARAMS": '{"audience": "orders"}'})
    assert {"audience": "orders"} == settings.provider.extra_params


def test_the_environment_wins_key_by_key() -> None:
    """One variable changes one key; an empty one changes nothing."""
    text = GOOD.replace("[session]", "port = 1\nhost = '::'\n[session]")
    settings = load(write(text), {"BFF_SERVER__PORT": "2", "BFF_SERVER__HOST": ""})
    assert (2, "::") == (settings.server.port, settings.server.host)


def test_which_file_is_read() -> None:
    """The one that is named, else BFF_CONFIG's, else bff.toml where it is."""
    named, configured = write(GOOD, "named.toml"), write(GOOD, "configured.toml")
    environ = {"BFF_CONFIG": str(configured)}
    assert named == load_all(named, environ).file
    assert configured == load_all(None, environ).file
    assert None is load_all(None, GOOD_ENV).file
    default = write(GOOD)
    assert default == load_all(None, {}).file


# Secret files


def with_files(keys_file: Path, secret_file: Path) -> str:
    return GOOD.replace(f'keys = ["{KEY}"]', f'keys_file = "{keys_file}"').replace(
        'client_secret = "s3cret"', f'client_secret_file = "{secret_file}"'
    )


def test_secrets_come_from_files() -> None:
    """Keys stand one a line, newest first; the line break at a secret's end is not part of it."""
    keys_file = secret("keys", f"# newest first\n{OTHER}\n\n{KEY}\n")
    loaded = load_all(write(with_files(keys_file, secret("secret", " s3cret \r\n"))), {})
    assert [OTHER, KEY] == [key.get_secret_value() for key in loaded.settings.session.keys]
    assert loaded.settings.provider.client_secret is not None
    assert " s3cret " == loaded.settings.provider.client_secret.get_secret_value()
    assert () == loaded.warnings


def test_a_secret_file_for_everyone_is_a_warning() -> None:
    """A file that every user of the machine may read is used and complained about."""
    text = with_files(secret("keys", KEY, 0o644), secret("secret", "s3cret", 0o640))
    (warning,) = load_all(write(text), {}).warnings
    assert "session.keys_file" == warning.key
    assert "chmod o-r" in warning.fix


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("session.keys_file", "keys"),
        ("provider.client_secret_file", "secret"),
        ("provider.client_key_file", "client-key"),
    ],
)
@pytest.mark.parametrize("mode", [0o602, 0o622, 0o666, 0o777])
def test_a_secret_file_that_everyone_may_write_is_refused(key: str, name: str, mode: int) -> None:
    """Whoever can put a key of their own there makes what is taken for ours: told by the setting."""
    files = {each: secret(each, KEY) for each in ("keys", "secret", "client-key")}
    files[name].chmod(mode)
    text = with_files(files["keys"], files["secret"])
    if name == "client-key":
        line = f'client_secret_file = "{files["secret"]}"'
        text = text.replace(line, f'client_auth = "private_key_jwt"\nclient_key_file = "{files[name]}"')
    problem = only(text)
    assert (key, f"secret file {files[name]}") == (problem.key, problem.source)
    assert "may write" in problem.message
    assert "chmod o-w" in problem.fix


@pytest.mark.parametrize(
    ("expected", "content"),
    [
        ("does not exist", None),
        ("is empty", "\n"),
        ("not UTF-8", b"\xff\xfe"),
        ("more than 64 KiB", "x" * 70_000),
    ],
)
def test_an_unusable_secret_file_is_one_problem(expected: str, content: str | bytes | None) -> None:
    """It is told by the file's name, and the secret is not called missing on top of it."""
    bad = Path("bad").absolute() if content is None else secret("bad", content)
    problem = only(with_files(secret("keys", KEY), bad))
    assert ("provider.client_secret_file", f"secret file {bad}") == (problem.key, problem.source)
    assert expected in problem.message


def test_a_relative_path_is_told_with_its_start() -> None:
    """It starts from the working directory, not from the folder of the settings' file."""
    start = f"the working directory, {Path.cwd()}"
    for path, told in ((Path("nowhere/secret"), True), (Path("nowhere/secret").absolute(), False)):
        assert told == only(with_files(secret("keys", KEY), path)).fix.endswith(start)
    page = with_files(secret("keys", KEY), secret("secret", "s3cret")) + '\n[spa]\ndir = "nowhere"\n'
    assert only(page).fix.endswith(start)


def test_a_secret_file_that_is_a_folder() -> None:
    """Docker makes a folder where a file to mount is missing."""
    folder = Path("folder").absolute()
    folder.mkdir()
    assert "cannot be read" in only(with_files(folder, secret("secret", "s3cret"))).message


def test_permission_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that may not be read is told apart from one that is not there."""
    text = with_files(secret("keys", KEY), secret("secret", "s3cret"))
    opened = os.open

    def refuse(path: Path, *args: Any) -> int:
        if Path(path).name == "keys":
            raise PermissionError(13, "Permission denied")
        return opened(path, *args)

    monkeypatch.setattr(os, "open", refuse)
    assert "may not read" in only(text).message


def test_a_bad_key_in_a_file_is_told_by_the_file() -> None:
    """The source of a key is the secret file, not the settings file that names it."""
    keys_file = secret("keys", "short")
    problem = only(with_files(keys_file, secret("secret", "s3cret")))
    assert ("session.keys", f"secret file {keys_file}") == (problem.key, problem.source)


def test_a_secret_and_its_file_exclude_each_other() -> None:
    """Within one source it is a mistake; between two the environment wins."""
    both = GOOD.replace('client_secret = "s3cret"', 'client_secret = "s3cret"\nclient_secret_file = "/x"')
    assert "provider.client_secret_file" == only(both).key
    keys_file = secret("keys", OTHER)
    settings = load(write(GOOD), {"BFF_SESSION__KEYS_FILE": str(keys_file)})
    assert OTHER == settings.session.keys[0].get_secret_value()
    settings = load(
        write(with_files(Path("/x"), Path("/y"))), {k: v for k, v in GOOD_ENV.items() if "ISS" not in k}
    )
    assert KEY == settings.session.keys[0].get_secret_value()
