"""`bff check` on real Redis, a provider's documents and backends."""

import json
import os
import pty
import select
import socket
import subprocess
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from typer.testing import CliRunner

from bff.cli.check import app
from tests.support.processes.command import bff, started, variables_for
from tests.support.processes.redis import redis_server
from tests.support.providers.documents import Provider, documents


@pytest.fixture
def provider() -> Iterator[Provider]:
    with documents() as server:
        yield server


@contextmanager
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def free_port() -> int:
    with listening() as port:
        return port


def results(done: subprocess.CompletedProcess[str]) -> dict[str, tuple[bool, str, str]]:
    report = json.loads(done.stdout)
    return {check["name"]: (check["ok"], check["detail"], check["fix"]) for check in report["checks"]}


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
        "provider client",
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
    assert all("connection refused" in check["detail"] for check in report["checks"])
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
    assert (True, "allow the user +time") == (reader["redis limits"][0], reader["redis limits"][2])
    assert "redis limits" not in evicting


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


@pytest.mark.requirement("P-01")
def test_each_frontend_is_looked_at(provider: Provider) -> None:
    """Its page, its own backends and its redirect URI at its providers; what all share once."""
    provider.metadata["pushed_authorization_request_endpoint"] = f"{provider.issuer}/par"
    provider.registered = ["http://localhost:8080/bff/callback", "http://127.0.0.1:8080/desk/bff/callback"]
    dead = f"http://127.0.0.1:{free_port()}"
    with documents() as other, listening() as port:
        here = f"http://127.0.0.1:{port}"
        client = {"client_id": "spa", "client_secret": "hunter2"}
        frontends: list[dict[str, Any]] = [
            {"name": "shop", "public_url": "http://127.0.0.1:8080", "providers": ["main"]},
            {"name": "desk", "public_url": "http://127.0.0.1:8080/desk", "providers": ["main"]},
        ]
        frontends[0] |= {"route": [{"path": "/basket", "upstream": dead}], "spa": {"url": here}}
        frontends[1] |= {"route": [{"path": "/tickets", "upstream": f"{here}/v2"}], "spa": {"url": dead}}
        variables = variables_for("", "embedded", here, BFF_FRONTEND=json.dumps(frontends))
        providers = [
            {"name": "main", "issuer": provider.issuer},
            {"name": "partners", "issuer": other.issuer},
        ]
        variables["BFF_PROVIDER"] = json.dumps([each | client for each in providers])
        environ = {name: value for name, value in variables.items() if "PROVIDER__" not in name}
        done = CliRunner().invoke(app, ["--json"], env=environ)
        table = CliRunner().invoke(app, [], env=environ).stdout
    checks = json.loads(done.stdout)["checks"]
    found = [(each["name"], each["frontend"], each["target"], each["ok"]) for each in checks]
    assert 1 == done.exit_code
    assert [
        ("upstream", "", here, True),
        ("upstream", "shop", dead, False),
        ("page", "shop", here, True),
        ("page", "desk", dead, True),  # its development server may be started later
    ] == [each for each in found if each[0] in {"upstream", "page"}]
    clients = [
        (each["frontend"], each["ok"], each["detail"]) for each in checks if each["name"] == "provider client"
    ]
    assert {("default", False), ("shop", False), ("desk", True), ("", True)} == {each[:2] for each in clients}
    fixes = "".join(each["fix"] for each in checks)
    assert "http://127.0.0.1:8080/bff/callback for this client" in fixes
    assert "http://localhost:8080/bff/callback/main for this client" in fixes
    assert "upstream (shop)" in table


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


def test_a_refused_client_is_found(provider: Provider) -> None:
    """One token call with a code that is none: `invalid_client` tells."""
    environ = variables_for(provider.issuer, "embedded")
    assert results(bff("check", "--json", environ=environ))["provider client"][0] is True
    provider.refusal = (401, {"error": "invalid_client"})
    done = bff("check", "--json", environ=environ)
    ok, detail, fix = results(done)["provider client"]
    assert (1, False) == (done.returncode, ok)
    assert "invalid_client" in detail
    assert "secret" in fix


def test_both_issuers_and_the_status_are_shown(provider: Provider) -> None:
    """Of a discovery document that is not the one of the settings, and of one that is not there."""
    provider.metadata["issuer"] = "https://other.example"
    environ = variables_for(provider.issuer, "embedded")
    detail = results(bff("check", "--json", environ=environ))["provider"][1]
    assert "https://other.example" in detail
    assert provider.issuer in detail
    provider.status = 404
    assert "404" in results(bff("check", "--json", environ=environ))["provider"][1]


def test_a_provider_that_is_ill_is_no_wrong_address(provider: Provider) -> None:
    """A 502 of the server before it leads to the provider's log; a 404 to `provider.issuer`."""
    environ = variables_for(provider.issuer, "embedded")
    fixes = {}
    for provider.status in (404, 502):
        _, detail, fixes[provider.status] = results(bff("check", "--json", environ=environ))["provider"]
        assert str(provider.status) in detail
    assert "provider.issuer" in fixes[404]
    assert "see whether the provider runs" in fixes[502]


def test_clocks_that_differ_are_advice(provider: Provider) -> None:
    """A provider whose clock is ten minutes ahead is named before the first sign-in fails for it."""
    environ = variables_for(provider.issuer, "embedded")
    assert "provider clock" not in results(bff("check", "--json", environ=environ))
    provider.clock_ahead = 600
    ok, detail, fix = results(bff("check", "--json", environ=environ))["provider clock"]
    assert (True, True) == (ok, detail.endswith("s behind the provider's"))
    assert "id_token_iat" in fix


def test_a_provider_that_says_little(provider: Provider) -> None:
    """What the discovery document leaves out, or a scope it does not mention, is advice and no failure."""
    del provider.metadata["code_challenge_methods_supported"]
    provider.metadata["scopes_supported"] = ["openid"]
    done = bff("check", "--json", environ=variables_for(provider.issuer, "embedded"))
    found = results(done)
    assert 0 == done.returncode
    assert (True, "is not mentioned") == found["provider PKCE"][:2]
    assert (True, "does not mention profile, email") == found["provider scopes"][:2]


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
    assert "no TLS is spoken there" in detail


def on_a_terminal(environ: dict[str, str], columns: int) -> str:
    """The output of the command on a terminal of so many columns."""
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (40, columns))
    with started("check", environ=environ | {"TERM": "xterm"}, stdin=follower, out=follower) as child:
        os.close(follower)
        shown = b""
        while select.select([leader], [], [], 60)[0]:
            try:
                shown += os.read(leader, 65536)
            except OSError:  # Linux says so when the other side is closed
                break
        child.wait(60)
    os.close(leader)
    return shown.decode()


def test_colours_only_on_a_terminal(provider: Provider) -> None:
    """A person sees colours, a pipe does not get them."""
    variables = variables_for(provider.issuer, "embedded")
    assert "\x1b[" not in bff("check", environ=variables).stdout
    assert "\x1b[" in on_a_terminal(variables, 200)


@pytest.mark.parametrize("columns", [60, 80, 140, 200])
def test_no_name_is_cut_on_a_terminal(columns: int) -> None:
    """Settings and addresses are there in full on a terminal of 60 to 139 columns, each fix to its check."""
    issuer = "https://a-provider-with-a-long-name.example.invalid:18443/realms/of-a-department"
    shown = on_a_terminal(
        variables_for(issuer, "redis://127.0.0.1:1/0", BFF_SERVER__PUBLIC_URL="https://a.test"), columns
    )
    assert "…" not in shown
    if columns < 140:
        assert f"{issuer}/.well-known/openid-configuration" in shown
        assert "fix: name the proxy in server.trusted_proxies" in shown
