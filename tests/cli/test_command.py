"""The command `bff`, run as a person runs it."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from bff import __version__
from bff.cli.root import app as root
from bff.cli.sessions.app import app as sessions
from bff.demo.cli import app as demo
from bff.issuer.cli.main import app as issuer
from bff.settings.load import load
from tests.support.processes.command import bff, executed, started, variables_for
from tests.support.settings import KEY

# The command itself


def test_version() -> None:
    """`bff --version` says which one it is."""
    done = executed("--version")
    assert (0, f"bff {__version__}\n", "") == (done.returncode, done.stdout, done.stderr)


def test_help_answers_at_once() -> None:
    """It reads no settings and none of the libraries that only a running proxy needs."""
    program = "import sys, bff.cli.root; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert "typer" in done.stdout.split()
    assert set() == {"pydantic", "cryptography", "joserfc", "httpx", "redis", "uvicorn"} & set(
        done.stdout.split()
    )


@pytest.mark.parametrize("command", [(), ("serve",), ("sessions",), ("issuer", "users")])
def test_help_answers(command: tuple[str, ...]) -> None:
    """It says what there is, and shows a line to type below."""
    done = bff(*command, "--help")
    assert 0 == done.returncode
    assert f"bff {command[0] if command else 'demo'}" in done.stdout.partition("╯")[2]


def every_command(app: typer.Typer, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each command of an application, by its words."""
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined] # it is a group
        below = getattr(command, "commands", {})
        yield from (((*words, name, each), found) for each, found in below.items())
        if not below:
            yield (*words, name), command


COMMANDS = {
    words: command
    for app, first in ((root, ()), (sessions, ("sessions",)), (demo, ("demo",)), (issuer, ("issuer",)))
    for words, command in every_command(app, first)
    if words not in {("sessions",), ("demo",), ("issuer",)}  # their words are passed on
}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_teaches_by_example(command: tuple[str, ...]) -> None:
    """Every command of ours says what it does and shows a line to type."""
    assert COMMANDS[command].help
    assert f"bff {' '.join(command)}" in (COMMANDS[command].epilog or "")


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["se"], {"serve", "sessions"}),
        (["init", "key"], {"keycloak"}),
        (["check", "--"], {"--config", "--json", "--offline", "--help"}),
        (["sessions", ""], {"list", "show", "end", "stats"}),
        (["issuer", "users", "su"], {"suspend"}),
        (["demo", "--pa"], {"--page"}),
        (["sessions", "end", "--user", ""], set()),
    ],
)
def test_a_shell_completes(words: list[str], offered: set[str]) -> None:
    """`bff --install-completion` teaches the shell commands, options and providers, those of groups too."""
    variables = {
        "_BFF_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(["bff", *words]),
        "COMP_CWORD": str(len(words)),
    }
    assert offered == set(bff(environ=variables).stdout.split())


@pytest.mark.parametrize(
    "command",
    [(), ("serve",), ("check",), ("demo",), ("issuer",), ("issuer", "keys"), ("issuer", "users", "list")],
)
def test_a_flag_is_shown_without_a_type(command: tuple[str, ...]) -> None:
    """`--help` takes no value, so its help names none: not `--help <bool>`."""
    shown = bff(*command, "--help").stdout
    assert "--help" in shown
    assert "bool" not in shown.lower()


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("check", "--json")],
)
def test_a_forked_command_does_what_an_executed_one_does(arguments: tuple[str, ...]) -> None:
    """These tests fork most commands from a process with all modules imported: nothing may differ."""
    one, other = executed(*arguments), bff(*arguments)
    assert (one.returncode, one.stdout, one.stderr) == (other.returncode, other.stdout, other.stderr)
    assert one.stdout or one.stderr


def test_an_unknown_command_is_a_usage_error() -> None:
    """A typing mistake is told on standard error, with exit code 2."""
    done = bff("srve")
    assert (2, "") == (done.returncode, done.stdout)
    assert "srve" in done.stderr


@pytest.mark.requirement("B-18")
def test_generated_keys_are_keys(tmp_path: Path) -> None:
    """What `bff keys generate` prints can be used as it stands, in a file or in a variable."""
    done = bff("keys", "generate", "--count", "3")
    lines = done.stdout.splitlines()
    assert (0, 3, 3) == (done.returncode, len(lines), len(set(lines)))
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", line) for line in lines)
    (tmp_path / "keys").write_text(done.stdout)
    good = variables_for("https://id.example.com", "embedded")
    del good["BFF_SESSION__KEYS"]
    from_file = load(None, good | {"BFF_SESSION__KEYS_FILE": str(tmp_path / "keys")})
    from_variable = load(None, good | {"BFF_SESSION__KEYS": ",".join(lines)})
    assert lines == [key.get_secret_value() for key in from_file.session.keys]
    assert lines == [key.get_secret_value() for key in from_variable.session.keys]


@pytest.mark.requirement("O-13")
def test_a_client_key_is_made_and_shown(tmp_path: Path) -> None:
    """What `bff keys client` prints is a client_key_file; --public shows what to register, and no more."""
    file = tmp_path / "client-key.json"
    file.write_text(bff("keys", "client").stdout)
    file.chmod(0o600)
    shown = bff("keys", "client", "--public", str(file))
    (public,) = json.loads(shown.stdout)["keys"]
    assert json.loads(file.read_text())["kid"] == public["kid"]
    assert "d" not in public
    good = variables_for("https://id.example.com", "embedded") | {
        "BFF_PROVIDER__CLIENT_AUTH": "private_key_jwt",
        "BFF_PROVIDER__CLIENT_KEY_FILE": str(file),
    }
    del good["BFF_PROVIDER__CLIENT_SECRET"]
    assert load(None, good).provider.client_key is not None
    for wrong in (tmp_path / "missing", tmp_path):
        done = bff("keys", "client", "--public", str(wrong))
        assert (2, "") == (done.returncode, done.stdout)


@pytest.mark.parametrize("command", ["demo", "issuer"])
def test_the_commands_of_the_other_parts_answer(command: str) -> None:
    """`bff demo` and `bff issuer` hand on their arguments, --help included."""
    done = bff(command, "--help")
    assert 0 == done.returncode
    assert f"Usage: bff {command}" in done.stdout
    assert 2 == bff(command, "--no-such-option").returncode


def test_serve_runs_until_it_is_told_to_stop(tmp_path: Path) -> None:
    """It starts with what the settings say, logs their warnings, and ends with 0 on SIGTERM."""
    keys_file = tmp_path / "keys"
    keys_file.write_text(KEY)
    keys_file.chmod(0o644)
    more = {"BFF_SESSION__KEYS_FILE": str(keys_file), "BFF_SERVER__PORT": "0", "BFF_SERVER__OPS_PORT": "off"}
    variables = variables_for("http://127.0.0.1:1", "embedded") | more
    del variables["BFF_SESSION__KEYS"]
    with started("serve", environ=variables) as child:
        assert child.stderr is not None
        lines: list[dict[str, Any]] = []
        while not lines or "listening" != lines[-1]["event"]:
            lines.append(json.loads(child.stderr.readline()))
        child.terminate()
        child.stderr.read()
        assert 0 == child.wait(60)
    assert [("session.keys_file", "warning")] == [
        (line["setting"], line["level"]) for line in lines if line["event"] == "setting_doubtful"
    ]


# Settings


FIVE_MISTAKES = f"""
[server]
public_url = "http://app.example.com"
[session]
keys = ["{KEY}"]
idle_timeout = "soon"
[provider]
isuer = "https://id.example.com"
client_id = "spa"
client_secret = "hunter2"
[redis]
url = "memory://"
[[route]]
path = "/bff/x"
upstream = "http://backend:8000"
"""
FIVE_KEYS = ["server.public_url", "redis.url", "session.idle_timeout", "provider.isuer", "route[0].path"]


@pytest.mark.parametrize("command", ["check", "serve"])
def test_five_mistakes_are_five_messages_in_one_run(tmp_path: Path, command: str) -> None:
    """All of them are told at once, on standard error, with key, fix and place; exit code 2."""
    (tmp_path / "bff.toml").write_text(FIVE_MISTAKES)
    done = bff(command, cwd=tmp_path)
    assert (2, "") == (done.returncode, done.stdout)
    assert "5 problems" in done.stderr
    assert FIVE_KEYS == [
        line.split()[0] for line in done.stderr.splitlines() if re.match(r"[a-z]+[.\[]", line)
    ]
    assert 5 == done.stderr.count("fix: ") == done.stderr.count("in file:bff.toml:")
    assert "\x1b[" not in done.stderr
    assert "hunter2" not in done.stderr


def test_problems_as_json(tmp_path: Path) -> None:
    """A program gets the same as one JSON object on standard output."""
    file = tmp_path / "other.toml"
    file.write_text(FIVE_MISTAKES)
    done = bff("check", "--json", "--config", str(file))
    report = json.loads(done.stdout)
    assert (2, False, []) == (done.returncode, report["ok"], report["checks"])
    assert FIVE_KEYS == [problem["key"] for problem in report["problems"]]
    assert {"key", "message", "fix", "source"} == set(report["problems"][0])


def test_good_settings_offline(tmp_path: Path) -> None:
    """Offline nothing is asked of anybody; warnings are told and do no harm."""
    keys_file = tmp_path / "keys"
    keys_file.write_text(KEY)
    keys_file.chmod(0o644)
    variables = variables_for(
        "http://127.0.0.1:1", "redis://127.0.0.1:1", BFF_SESSION__KEYS_FILE=str(keys_file)
    )
    del variables["BFF_SESSION__KEYS"]
    done = bff("check", "--offline", environ=variables)
    assert (0, "") == (done.returncode, done.stderr)
    assert "The settings are good (the environment alone)" in done.stdout
    assert "session.keys_file" in done.stdout
    report = json.loads(bff("check", "--offline", "--json", environ=variables).stdout)
    assert (True, [], ["session.keys_file"]) == (
        report["ok"],
        report["checks"],
        [warning["key"] for warning in report["warnings"]],
    )
