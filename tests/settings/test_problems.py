"""Every problem is reported at once, in words, and without secrets."""

import traceback
from pathlib import Path
from typing import Any

import certifi
import pytest

from bff.settings.load import Loaded, load, load_all
from bff.settings.problem import SettingsError
from tests.support.settings import GOOD, keys, only, problems, secret, write


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_five_mistakes_give_five_messages() -> None:
    """Syntax aside, no mistake hides another: wrong type, unknown key, cross-check, missing, wrong value."""
    text = (
        GOOD.replace('issuer = "https://id.example.com"\n', "")
        + """
[redis]
url = "memory://"
[refresh]
leway = "30s"
[log]
level = "loud"
[[route]]
path = "/bff/api"
upstream = "http://backend:8000"
"""
    )
    found = problems(text)
    assert ["redis.url", "refresh.leway", "provider.issuer", "route[0].path", "log.level"] == [
        p.key for p in found
    ]
    assert all(
        problem.message and problem.fix and problem.source.startswith("file:bff.toml") for problem in found
    )


def test_a_problem_has_its_line() -> None:
    """The place of a mistake is file and line; what is missing has the file alone."""
    text = (
        GOOD.replace("[session]", "[session]\nidle_timeout = 'soon'").replace("issuer", "# issuer")
        + """
[[route]]
path = "/api"
upstream = "http://backend:8000"

  [[route]]  # the second
"path" = "/api/"
upstream = "http://backend:8000"
[zzz]
"""
    )
    lines = text.splitlines()
    places = {
        problem.key: problem.source.removeprefix("file:bff.toml").removeprefix(":")
        for problem in problems(text)
    }
    assert {
        "zzz": str(lines.index("[zzz]") + 1),
        "session.idle_timeout": str(lines.index("idle_timeout = 'soon'") + 1),
        "provider.issuer": "",
        "route[1].path": str(lines.index('"path" = "/api/"') + 1),
    } == places


def test_a_broken_value_does_not_hide_its_neighbours() -> None:
    """Where idle_timeout cannot be read, max_lifetime is still judged, and idle_timeout is blamed once."""
    text = GOOD.replace(
        "[session]", '[session]\nidle_timeout = "soon"\nmax_lifetime = "30d"\nslide_interval = "1h"'
    )
    assert ["session.idle_timeout", "session.max_lifetime"] == sorted(keys(text))


@pytest.mark.parametrize(
    ("expected", "key", "extra"),
    [
        ('did you mean "public_url" in [server]?', "server.publicurl", "[server]\npublicurl = 'x'"),
        ("did you mean [server]?", "servers", "[servers]\nport = 1"),
        ("it belongs under [session] or [route]", "refresh.idle_timeout", "[refresh]\nidle_timeout = '1m'"),
        ("it belongs under [server]", "public_url", "public_url = 'x'"),
        ("the sections are server,", "zzz", "[zzz]"),
        ("[log] knows level, format, access", "log.zzz", "[log]\nzzz = 1"),
        (
            'did you mean one of [route]: "',
            "route[0].timeout",
            "[[route]]\npath = '/a'\nupstream = 'http://a'\ntimeout = '5s'",
        ),
        ('did you mean "wait_for_replicas" in [redis]?', "redis.replicas", "[redis]\nreplicas = 1"),
        (
            'did you mean "upstream" in [route]?',
            "route[0].upstreem",
            "[[route]]\npath = '/a'\nupstreem = 'x'",
        ),
    ],
)
def test_an_unknown_key_gets_a_guess(expected: str, key: str, extra: str) -> None:
    """What was most likely meant is named, with its section; a misspelt key is not also called missing."""
    text = (
        GOOD
        if not extra.startswith("[server]")
        else GOOD.replace("[server]", "").replace("public_url = ", "#")
    )
    problem = only(extra + "\n" + text)
    assert key == problem.key
    assert expected in problem.fix


@pytest.mark.parametrize(
    ("expected", "name"),
    [
        ("did you mean BFF_SERVER__PORT?", "BFF_SERVER_PORT"),
        ("did you mean BFF_SERVER__PORT?", "BFF_SERVER__PROT"),
        ("did you mean BFF_CONFIG?", "BFF_CONFG"),
        ("one JSON list", "BFF_ROUTE__0__PATH"),
        ("BFF_SECTION__KEY", "BFF_WHATEVER_ELSE_THERE_MAY_BE"),
        ("did you mean", "BFF_SERVER"),
        ("did you mean BFF_SERVER__PORT?", "BFF_SERVER__PORT__X"),
    ],
)
def test_an_unknown_variable_gets_a_guess(expected: str, name: str) -> None:
    """A variable of ours that means nothing is a mistake, not ignored; its value is not shown."""
    problem = only(GOOD, **{name: "hunter2"})
    assert f"env {name}" == problem.source
    assert expected in problem.fix
    assert "hunter2" not in str(problem)


def test_service_links_of_kubernetes_are_no_settings() -> None:
    """Beside a Service named bff, Kubernetes sets variables that look like ours: they are left alone."""
    links = {
        "BFF_SERVICE_HOST": "10.0.0.1",
        "BFF_SERVICE_PORT": "80",
        "BFF_SERVICE_PORT_HTTP": "80",
        "BFF_PORT": "tcp://10.0.0.1:80",
        "BFF_PORT_80_TCP": "tcp://10.0.0.1:80",
        "BFF_PORT_80_TCP_PROTO": "tcp",
        "BFF_REDIS_SERVICE_HOST": "10.0.0.2",
        "BFF_REDIS_PORT": "tcp://10.0.0.2:6379",
    }
    assert () == load_all(write(GOOD), links).warnings


@pytest.mark.parametrize(
    ("key", "expected", "line"),
    [
        ("server.port", "not a whole number", "[server]\nport = 'http'"),
        ("server.port", "out of bounds", "[server]\nport = 65536"),
        (
            "server.trusted_proxies[1]",
            "not an address",
            "[server]\ntrusted_proxies = ['10.0.0.1', '10.0.0.1/8']",
        ),
        ("server.max_head_bytes", "out of bounds", "[server]\nmax_head_bytes = -1"),
        ("server.host", "not a text", "[server]\nhost = 1"),
        ("server.max_head_bytes", "not a size", "[server]\nmax_head_bytes = '1 parsec'"),
        ("server.keep_alive", "not a finite", "[server]\nkeep_alive = inf"),
        ("server.keep_alive", "not a number", "[server]\nkeep_alive = [1]"),
        ("redis", "not a table", "redis = 'redis://'"),
        ("redis.prefix", "right form", "[redis]\nprefix = 'a b'"),
        ("refresh.leeway", "out of bounds", "[refresh]\nleeway = 0"),
        ("provider.clock_skew", "out of bounds", "[provider]\nclock_skew = '1h'"),
        ("provider.extra_params", "not a table", "[provider]\nextra_params = 'x'"),
        ("provider.extra_params.audience", "not a text", "[provider]\nextra_params = { audience = 1 }"),
        ("provider.scopes", "not a list", "[provider]\nscopes = 'openid'"),
        ("provider.ca_file", "not a path", "[provider]\nca_file = 1"),
        ("route", "not a list of tables", "[route]\npath = '/api'"),
        ("route[0]", "not a table", "route = ['/api']"),
        (
            "route[0].methods[0]",
            "name of a method",
            "[[route]]\npath='/a'\nupstream='http://a'\nmethods=['get']",
        ),
        ("log.access", "not true or false", "[log]\naccess = 'perhaps'"),
        ("log.format", "none of the words", "[log]\nformat = 'xml'"),
    ],
)
def test_wrong_types_are_told_in_words(key: str, expected: str, line: str) -> None:
    """The message says what is wrong, in one sentence, and never shows the value."""
    base = GOOD
    header, _, rest = line.partition("\n")
    if header in GOOD and rest:
        base, line = GOOD.replace(header, f"{header}\n{rest}"), ""
    problem = only(f"{line}\n{base}")
    assert key == problem.key
    assert expected in problem.message
    assert problem.fix


def test_a_section_that_is_a_list_is_told_by_its_line() -> None:
    """`[route]` in place of `[[route]]`, the slip of a first file."""
    assert "begin each with the line [[route]]" == only(f"{GOOD}\n[route]\npath = '/api'").fix


def test_a_text_is_no_table() -> None:
    """Extra parameters from the environment are JSON or named one by one, nothing else."""
    assert "not a table" in only(GOOD, BFF_PROVIDER__EXTRA_PARAMS="hunter2").message


def test_a_syntax_error_has_its_line() -> None:
    """A file that is no TOML is one problem with the line; what the environment got wrong is told as well."""
    found = problems("[server]\nport = = 1\n", BFF_LOG__LEVEL="loud", BFF_REDIS__URL="memory://")
    assert ["", "redis.url", "log.level"] == [problem.key for problem in found]
    assert "(at line 2, column 8)" in found[0].message
    assert ["file:bff.toml", "env BFF_REDIS__URL", "env BFF_LOG__LEVEL"] == [
        problem.source for problem in found
    ]


@pytest.mark.parametrize(
    ("expected", "make"),
    [
        ("no such file", str),
        ("cannot be read", lambda path: path.mkdir()),
        ("not UTF-8", lambda path: path.write_bytes(b"\xff")),
    ],
)
def test_an_unusable_file_is_one_problem(expected: str, make: Any) -> None:
    """A named file that is not there is a mistake; a folder and binary data too."""
    path = Path("other.toml")
    make(path)
    with pytest.raises(SettingsError) as caught:
        load(path, {})
    (problem,) = caught.value.problems
    assert expected in problem.message


@pytest.mark.parametrize(
    ("key", "name", "value"),
    [
        ("route", "BFF_ROUTE", '[{"path": "/api"'),
        ("provider.scopes", "BFF_PROVIDER__SCOPES", '["openid"'),
        ("provider.extra_params", "BFF_PROVIDER__EXTRA_PARAMS", "{hunter2"),
        ("provider.extra_params", "bff_provider__extra_params", "{hunter2"),
    ],
)
def test_broken_json_in_a_variable(key: str, name: str, value: str) -> None:
    """It is told by the variable, with the place and without the value."""
    problem = only(GOOD, **{name: value})
    assert (key, f"env {name}") == (problem.key, problem.source)
    assert "not valid JSON" in problem.message
    assert "hunter2" not in str(problem)


def test_nothing_at_all() -> None:
    """Without file and variables the required settings are named, with where to set them."""
    with pytest.raises(SettingsError) as caught:
        load(None, {})
    assert [
        "server.public_url",
        "session.keys",
        "provider.issuer",
        "provider.client_id",
        "provider.client_secret",
    ] == [problem.key for problem in caught.value.problems]
    assert "BFF_SERVER__PUBLIC_URL" in caught.value.problems[0].fix


def test_what_is_named_on_disk_must_be_there() -> None:
    """The page's folder, its index and the CA bundle are looked at."""
    folder = Path("dist").absolute()
    text = (
        GOOD.replace("[provider]", '[provider]\nca_file = "/nonexistent/ca.pem"')
        + f'[spa]\ndir = "{folder}"\n'
    )
    assert ["provider.ca_file", "spa.dir"] == keys(text)
    folder.mkdir()
    text = GOOD + f'[spa]\ndir = "{folder}"\n'
    assert "without index.html" in only(text).message
    (folder / "index.html").touch()
    assert isinstance(load_all(write(text), {}), Loaded)
    empty = GOOD.replace("[provider]", f'[provider]\nca_file = "{secret("ca.pem", "nothing")}"')
    assert "no certificates" in only(empty).message
    real = GOOD.replace("[provider]", f'[provider]\nca_file = "{certifi.where()}"')
    assert Path(certifi.where()) == load(write(real), {}).provider.ca_file


@pytest.mark.requirement("B-08", "B-24")
def test_no_secret_is_in_an_error() -> None:
    """Keys, client secret and a password in the Redis URL never show, wherever the mistake is."""
    text = """
[redis]
url = "http://:hunter2@redis"
[session]
keys = ["hunter2", { hunter2 = "hunter2" }]
keyz = "hunter2"
[provider]
client_secret = ["hunter2"]
"""
    with pytest.raises(SettingsError) as caught:
        load(
            write(text), {"BFF_PROVIDER__CLIENT_SECRT": "hunter2", "BFF_LIMITS__LOGIN_PER_MINUTE": "hunter2"}
        )
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value.problems)
    assert "provider.client_secret" in shown
    assert "hunter2" not in shown


def test_packages_that_a_setting_needs_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenTelemetry that is "on" and not installed is a mistake; "auto" is none."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    problem = only(GOOD + '[telemetry]\nopentelemetry = "on"\n')
    assert "telemetry.opentelemetry" == problem.key
    assert "bff-session-proxy[otel]" in problem.fix
    assert isinstance(load_all(write(GOOD + '[telemetry]\nopentelemetry = "auto"\n'), {}), Loaded)


def test_the_audit_file_must_be_writable(tmp_path: Path) -> None:
    """A mistyped stream, no folder, a folder in its place: said at the start, not by the first event."""
    (tmp_path / "folder").mkdir()
    for name in ("sdterr", "/nonexistent/audit.jsonl", str(tmp_path / "folder")):
        problem = only(GOOD + f'[log]\naudit = "{name}"\n')
        assert "log.audit" == problem.key
        assert name in problem.message
    for name in ("stderr", "syslog", str(tmp_path / "audit.jsonl")):
        assert isinstance(load_all(write(GOOD + f'[log]\naudit = "{name}"\n'), {}), Loaded)
