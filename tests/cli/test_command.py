"""The command `bff`, run as a person runs it."""

import json
import os
import pty
import re
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import redis
from joserfc.jwk import ECKey

from bff import __version__
from bff.settings.load import load
from tests.settings.test_check import KEY
from tests.support.redis import redis_server

KEY_SET = {"keys": [ECKey.generate_key("P-256", {"use": "sig", "kid": "1"}).as_dict(private=False)]}


BARE = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2]), "HOME": "/"}


def bff(
    *arguments: str, cwd: Path | None = None, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs the command with no variables but these."""
    return subprocess.run(
        [sys.executable, "-m", "bff", *arguments],
        cwd=cwd,
        env=BARE | (environ or {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def started(
    *arguments: str, environ: dict[str, str], stdin: int | None = None, out: int = subprocess.PIPE
) -> Iterator[subprocess.Popen[str]]:
    """Starts the command, and kills it if the test fails before it has ended."""
    command = [sys.executable, "-m", "bff", *arguments]
    with subprocess.Popen(
        command, env=BARE | environ, text=True, stdin=stdin, stdout=out, stderr=out
    ) as child:
        try:
            yield child
        finally:
            child.kill()


class Provider(ThreadingHTTPServer):
    """A provider that has nothing but documents."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Documents)
        self.issuer = f"http://127.0.0.1:{self.server_address[1]}"
        self.documents: dict[str, Any] = {
            "/.well-known/openid-configuration": {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/jwks",
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic"],
                "scopes_supported": ["openid", "profile", "offline_access"],
            },
            "/jwks": KEY_SET,
        }

    @property
    def metadata(self) -> dict[str, Any]:
        found: dict[str, Any] = self.documents["/.well-known/openid-configuration"]
        return found


class Documents(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        body = json.dumps(self.server.documents.get(self.path)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Says nothing."""


@pytest.fixture
def provider() -> Iterator[Provider]:
    server = Provider()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def free_port() -> int:
    with listening() as port:
        return port


def variables_for(issuer: str, redis_url: str, *upstreams: str, **more: str) -> dict[str, str]:
    routes = [{"path": f"/api/{number}", "upstream": upstream} for number, upstream in enumerate(upstreams)]
    return {
        "BFF_SERVER__PUBLIC_URL": "http://localhost:8080",
        "BFF_SESSION__KEYS": KEY,
        "BFF_PROVIDER__ISSUER": issuer,
        "BFF_PROVIDER__CLIENT_ID": "spa",
        "BFF_PROVIDER__CLIENT_SECRET": "hunter2",
        "BFF_REDIS__URL": redis_url,
        "BFF_ROUTE": json.dumps(routes),
    } | more


def results(done: subprocess.CompletedProcess[str]) -> dict[str, tuple[bool, str, str]]:
    report = json.loads(done.stdout)
    return {check["name"]: (check["ok"], check["detail"], check["fix"]) for check in report["checks"]}


# The command itself


def test_version() -> None:
    """`bff --version` says which one it is."""
    done = bff("--version")
    assert (0, f"bff {__version__}\n", "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("command", [(), ("serve",), ("check",), ("keys", "generate")])
def test_help_teaches_by_example(command: tuple[str, ...]) -> None:
    """Every command of ours says what it does and shows a line to type."""
    done = bff(*command, "--help")
    assert 0 == done.returncode
    assert f"bff {command[0] if command else 'demo'}" in done.stdout.partition("╯")[2]


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
    assert 5 == done.stderr.count("fix: ") == done.stderr.count("set in file:bff.toml")
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


# Checks


def test_all_is_well(provider: Provider) -> None:
    """With Redis, provider and backend there, every line is good, and nothing is left in Redis."""
    with redis_server() as server, listening() as port:
        variables = variables_for(
            provider.issuer, server.url, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port}/v2"
        )
        done = bff("check", environ=variables)
        found = results(bff("check", "--json", environ=variables))
        with redis.Redis.from_url(server.url) as client:
            assert 0 == client.dbsize()
    assert (0, "") == (done.returncode, done.stderr)
    assert 1 == done.stdout.count("upstream"), "two routes to one backend are one check"
    assert "failed" not in done.stdout
    assert "hunter2" not in done.stdout
    assert {
        "redis",
        "redis writable",
        "redis eviction",
        "provider",
        "provider PKCE",
        "provider keys",
        "upstream",
    } == {name for name, (ok, _, fix) in found.items() if ok and not fix}


def test_nothing_is_there() -> None:
    """Each thing that is missing is named with what to do; exit code 1; passwords are not shown."""
    port = free_port()
    done = bff(
        "check",
        "--json",
        environ=variables_for(
            f"http://127.0.0.1:{port}", f"redis://u:hunter2@127.0.0.1:{port}/3", f"http://127.0.0.1:{port}"
        ),
    )
    report = json.loads(done.stdout)
    assert (1, False, []) == (done.returncode, report["ok"], report["problems"])
    assert {"redis": False, "provider": False, "upstream": False} == {
        check["name"]: check["ok"] for check in report["checks"]
    }
    assert f"redis://127.0.0.1:{port}/3" == report["checks"][0]["target"]
    assert all(check["fix"] for check in report["checks"])
    assert "hunter2" not in done.stdout


def test_doubtful_redis(provider: Provider) -> None:
    """A Redis that may evict sessions gets advice; one that refuses the password or writes is a failure."""
    with redis_server() as server:
        with redis.Redis.from_url(server.url) as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
            client.execute_command("ACL", "SETUSER", "reader", "on", ">pw", "~*", "+@read", "+ping")
        variables = variables_for(provider.issuer, server.url)
        evicting = results(bff("check", "--json", environ=variables))
        wrong = bff(
            "check",
            "--json",
            environ=variables_for(provider.issuer, server.url.replace("//", "//u:hunter2@")),
        )
        reader = results(
            bff(
                "check",
                "--json",
                environ=variables_for(provider.issuer, server.url.replace("//", "//reader:pw@")),
            )
        )
    assert (True, "maxmemory-policy is allkeys-lru") == evicting["redis eviction"][:2]
    assert "noeviction" in evicting["redis eviction"][2]
    assert (False, "refuses user or password") == results(wrong)["redis"][:2]
    assert (1, False) == (wrong.returncode, "hunter2" in wrong.stdout)
    assert (False, "the user may not do that (NOPERM)") == reader["redis writable"][:2]
    assert reader["redis"][0]
    assert reader["redis eviction"][0]


@pytest.mark.parametrize(
    ("expected", "command"),
    [("READONLY", ("REPLICAOF", "127.0.0.1", "1")), ("OOM", ("CONFIG", "SET", "maxmemory", "1"))],
)
def test_a_redis_that_takes_no_writes(expected: str, command: tuple[str, ...]) -> None:
    """A replica and a full Redis are failures, each with its name."""
    with redis_server() as server:
        with server.client() as client:
            client.execute_command(*command)
        done = bff("check", "--json", environ=variables_for("http://127.0.0.1:1", server.url))
    ok, detail, fix = results(done)["redis writable"]
    assert (1, False) == (done.returncode, ok)
    assert f"({expected})" in detail
    assert fix


def test_an_embedded_redis_is_not_started(provider: Provider) -> None:
    """It is only said which one it would be."""
    found = results(bff("check", "--json", environ=variables_for(provider.issuer, "embedded")))
    assert True is found["redis"][0]
    assert {"redis"} == {name for name in found if name.startswith("redis")}


@pytest.mark.requirement("O-06", "O-01")
@pytest.mark.parametrize(
    ("name", "expected", "member", "value"),
    [
        ("provider", "another issuer", "issuer", "https://evil.example"),
        ("provider", "token_endpoint", "token_endpoint", None),
        ("provider PKCE", "S256 is not offered", "code_challenge_methods_supported", ["plain"]),
        (
            "provider auth",
            "client_secret_basic is not offered",
            "token_endpoint_auth_methods_supported",
            ["none"],
        ),
    ],
)
def test_a_provider_that_does_not_fit(
    provider: Provider, name: str, expected: str, member: str, value: Any
) -> None:
    """Another issuer, a missing endpoint, no S256, no way to authenticate: failed, with the reason."""
    provider.metadata[member] = value
    done = bff("check", "--json", environ=variables_for(provider.issuer, "embedded"))
    ok, detail, fix = results(done)[name]
    assert (1, False) == (done.returncode, ok)
    assert expected in detail
    assert fix


def test_a_provider_that_says_little(provider: Provider) -> None:
    """What the discovery document leaves out, or a scope it does not mention, is advice and no failure."""
    del provider.metadata["code_challenge_methods_supported"]
    provider.metadata["scopes_supported"] = ["openid"]
    done = bff("check", "--json", environ=variables_for(provider.issuer, "embedded"))
    found = results(done)
    assert 0 == done.returncode
    assert (True, "is not mentioned") == found["provider PKCE"][:2]
    assert (True, "does not mention profile, offline_access") == found["provider scopes"][:2]


@pytest.mark.parametrize("keys", [{"keys": []}, None])
def test_a_provider_without_keys(provider: Provider, keys: Any) -> None:
    """Without a usable key no ID token could be checked."""
    provider.documents["/jwks"] = keys
    done = bff("check", "--json", environ=variables_for(provider.issuer, "embedded"))
    assert 1 == done.returncode


def test_a_backend_without_tls() -> None:
    """An https backend that speaks no TLS is told apart from one that is not there."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        done = bff(
            "check",
            "--json",
            environ=variables_for("http://127.0.0.1:1", "embedded", f"https://127.0.0.1:{port}"),
        )
        thread.join()
    ok, detail, _ = results(done)["upstream"]
    assert False is ok
    assert "SSLError" in detail


def test_colours_only_on_a_terminal(provider: Provider) -> None:
    """A person sees colours, a pipe does not get them."""
    variables = variables_for(provider.issuer, "embedded")
    assert "\x1b[" not in bff("check", environ=variables).stdout
    leader, follower = pty.openpty()
    terminal = variables | {"TERM": "xterm"}
    with started("check", environ=terminal, stdin=follower, out=follower) as child:
        os.close(follower)
        shown = b""
        while select.select([leader], [], [], 60)[0]:
            try:
                shown += os.read(leader, 65536)
            except OSError:  # Linux says so when the other side is closed
                break
        assert 0 == child.wait(60)
    os.close(leader)
    assert b"\x1b[" in shown
