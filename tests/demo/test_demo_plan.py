"""What the demo decides before it starts anything."""

import shutil
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from bff.demo import plan
from bff.demo.banner import redis_cli, sessions_lines
from bff.demo.plan import Ports, choose_ports, common_environment, config_file, is_free, services
from bff.embedded import free_port
from bff.issuer.settings import IssuerSettings
from bff.settings.load import load
from tests.support.processes.redis import RedisServer


def test_taken_ports_are_replaced_and_said() -> None:
    """A port that somebody listens on is not used, and the sentence names both."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        ports, said = choose_ports(Ports(bff=number, issuer=0, api=0, redis=0, ops=number))
    assert number not in (ports.bff, ports.ops)
    assert 5 == len({ports.bff, ports.issuer, ports.api, ports.redis, ports.ops})
    assert [f"Port {number} is taken: the BFF uses {ports.bff}."] == said[:1]
    assert 2 == len(said)


def test_a_port_taken_on_ipv6_only_is_taken() -> None:
    """A browser that tries ::1 first would find somebody else there."""
    try:
        taken = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 on this machine")
    with taken:
        assert not is_free(taken.getsockname()[1])


def test_the_same_port_twice_is_used_once() -> None:
    """Two parts that are given one free port do not fight for it."""
    number = free_port()
    ports, said = choose_ports(Ports(bff=number, issuer=number, api=0, redis=0, ops=0))
    assert number == ports.bff != ports.issuer
    assert 1 == len(said)


def test_secrets_are_fresh_and_in_no_command_line() -> None:
    """Each run has its own keys and client secret, and `ps` shows none of them."""
    runs = [services(Ports(), "redis://127.0.0.1:6390/0", {}) for _ in range(2)]
    for name in ("BFF_SESSION__KEYS", "BFF_PROVIDER__CLIENT_SECRET"):
        first, second = (run[-1].environment[name] for run in runs)
        assert first != second
        assert len(first) == 43
        assert all(first not in " ".join(service.command) for service in runs[0])


def test_all_parts_can_use_what_they_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of the demo are valid for the proxy, with the file, and for the issuer."""
    issuer, _, proxy = services(Ports(bff=18080), "redis://127.0.0.1:6390/0", {})
    settings = load(config_file(), proxy.environment)
    assert "http://localhost:18080" == settings.server.public_url
    assert (10.0, 0.0) == (settings.refresh.leeway, settings.refresh.min_age_for_401)
    assert plan.SAMPLE_PAGE == settings.spa.dir
    for name, value in issuer.environment.items():
        monkeypatch.setenv(name, value)
    (client,) = IssuerSettings.model_validate({}).clients
    assert ("http://localhost:18080/bff/callback",) == client.redirect_uris


def test_settings_meant_for_others_are_left_out() -> None:
    """Variables of another installation do not reach the demo; logs, workers and the rest do."""
    given = {"BFF_REDIS__URL": "redis://prod", "ISSUER_URL": "x", "BFF_LOG__LEVEL": "debug", "HOME": "/h"}
    given |= {"BFF_SERVER__WORKERS": "4", "BFF_REDIS__TIMEOUT": "9s"}
    common = common_environment(given)
    kept = {"BFF_LOG__LEVEL", "BFF_SERVER__WORKERS", "BFF_REDIS__TIMEOUT", "HOME"}
    assert kept == given.keys() & common.keys()


def test_the_file_is_there_and_shipped() -> None:
    """The settings file is found in the source, and the wheel carries the same one."""
    assert "demo-bff" == tomllib.loads(config_file().read_text())["provider"]["client_id"]
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert "bff/demo/demo.toml" == included["config/demo.toml"]


def test_an_installed_file_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an installed package the file lies beside the code."""
    (tmp_path / "demo.toml").touch()
    monkeypatch.setattr(plan, "HERE", tmp_path)
    assert tmp_path / "demo.toml" == config_file()


def test_redis_cli_is_named_so_that_it_works(tmp_path: Path) -> None:
    """By its name if the PATH leads to it, else by its full path."""
    elsewhere = tmp_path / "redis-cli"
    assert f"{elsewhere} -p 6390" == redis_cli(str(elsewhere), 6390)
    if (found := shutil.which("redis-cli")) is not None:
        assert "redis-cli -p 6390" == redis_cli(found, 6390)


@pytest.mark.parametrize("with_cli", [True, False])
def test_the_printed_lines_work(redis_server: RedisServer, with_cli: bool) -> None:
    """Typed into a shell, the lines list the sessions and end them, with and without redis-cli."""
    if with_cli and redis_server.cli_path is None:
        pytest.skip("no redis-cli")
    listing, ending = sessions_lines(redis_server.cli_path if with_cli else None, redis_server.port)
    with redis_server.client() as client:
        client.hset("bff:session:abc", "sub", "alice")
        client.set("other", "stays")

        def run(line: str) -> str:
            return subprocess.run(line, shell=True, capture_output=True, text=True, check=True).stdout  # noqa: S602 - it is meant for a shell

        assert "bff:session:abc" == run(listing).strip()
        run(ending)
        assert ["other"] == client.keys("*")
    assert with_cli or sys.executable in listing
