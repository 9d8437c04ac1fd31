"""`provider.proxy`: what is accepted, and which proxy a call takes."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from bff.settings.load import load
from bff.settings.outgoing_proxy import OutgoingProxy
from tests.support.settings import GOOD, problems, write

PROXY = "http://proxy:3128"


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def with_proxy(url: str) -> str:
    return GOOD.replace("[provider]", f'[provider]\nproxy = "{url}"')


@pytest.mark.parametrize(
    "url", [PROXY, f"{PROXY}/", "https://proxy.internal", "http://me:p%40ss@[::1]:3128", "environment"]
)
def test_what_is_accepted(url: str) -> None:
    """A URL of http or https, or the environment's."""
    setting = load(write(with_proxy(url)), {}).provider.proxy
    assert setting is not None
    assert url == setting.get_secret_value()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "proxy:3128",
        "socks5://proxy:1080",
        "http://",
        "http://me:hunter2@",
        "http://proxy:0",
        "http://proxy:3128/path",
        "http://proxy:3128?hunter2",
        "http://proxy:3128#hunter2",
        "http://pro xy:3128",
        "http://proxy:port",
        "Environment",
    ],
)
def test_what_is_refused_at_start(url: str) -> None:
    """The message names the setting, and repeats nothing that may be a password."""
    (problem,) = problems(with_proxy(url))
    assert "provider.proxy" == problem.key
    assert "hunter2" not in str(problem)


def test_an_environment_that_names_no_usable_proxy_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """At start, not at the first call; without the setting the variables do not count."""
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "socks5://me:hunter2@proxy:1080")
    (problem,) = problems(with_proxy("environment"))
    assert "provider.proxy" == problem.key
    assert "HTTPS_PROXY" in problem.fix
    assert "hunter2" not in str(problem)
    assert load(write(GOOD), {}).provider.proxy is None


def chosen(environ: dict[str, str], url: str = "https://id.example.com") -> str | None:
    scheme, _, rest = url.partition("://")
    host, _, port = rest.rpartition(":") if rest.rpartition(":")[2].isdigit() else (rest, "", "")
    choice = OutgoingProxy.choose(SecretStr("environment"), environ)
    return choice.of(scheme, host, int(port) if port else None)


def test_no_setting_is_no_proxy() -> None:
    """Whatever the environment says."""
    choice = OutgoingProxy.choose(None, {"HTTPS_PROXY": PROXY, "ALL_PROXY": PROXY})
    assert choice.of("https", "id.example.com", None) is None


def test_a_url_is_the_proxy_of_every_call() -> None:
    """Whatever the environment says, and for plain http too."""
    choice = OutgoingProxy.choose(SecretStr(PROXY), {"NO_PROXY": "*", "HTTPS_PROXY": "http://other"})
    assert [PROXY, PROXY] == [choice.of(scheme, "127.0.0.1", 80) for scheme in ("http", "https")]
    assert PROXY not in repr(choice)


@pytest.mark.parametrize(
    ("expected", "environ"),
    [
        (None, {}),
        (PROXY, {"HTTPS_PROXY": PROXY}),
        (PROXY, {"https_proxy": PROXY, "HTTPS_PROXY": "http://other"}),
        (PROXY, {"ALL_PROXY": PROXY}),
        (PROXY, {"HTTPS_PROXY": PROXY, "ALL_PROXY": "http://other"}),
        (PROXY, {"HTTPS_PROXY": "proxy:3128"}),
        (PROXY, {"HTTPS_PROXY": PROXY, "REQUEST_METHOD": "GET"}),
        (None, {"HTTP_PROXY": PROXY}),
        (None, {"HTTPS_PROXY": ""}),
    ],
)
def test_the_variables_of_an_https_provider(expected: str | None, environ: dict[str, str]) -> None:
    """Small letters win, the scheme's own wins over that for all."""
    assert expected == chosen(environ)


def test_a_cgi_variable_is_no_proxy() -> None:
    """`HTTP_PROXY` could be a client's `Proxy` header there."""
    assert PROXY == chosen({"HTTP_PROXY": PROXY}, "http://localhost")
    assert None is chosen({"HTTP_PROXY": PROXY, "REQUEST_METHOD": "GET"}, "http://localhost")


@pytest.mark.parametrize(
    ("exempt", "no_proxy", "url"),
    [
        (True, "*", "https://id.example.com"),
        (True, "id.example.com", "https://ID.example.com."),
        (True, "a, example.com ,b", "https://id.example.com"),
        (True, ".example.com", "https://id.example.com"),
        (True, "*.example.com", "https://id.example.com"),
        (True, "id.example.com:443", "https://id.example.com"),
        (True, "id.example.com:8443", "https://id.example.com:8443"),
        (True, "10.0.0.0/8", "https://10.1.2.3"),
        (True, "10.1.2.3", "https://10.1.2.3:8443"),
        (True, "10.1.2.3:8443", "https://10.1.2.3:8443"),
        (True, "::1", "https://[::1]:8443"),
        (True, "[::1]:8443", "https://[::1]:8443"),
        (False, "", "https://id.example.com"),
        (False, ",", "https://id.example.com"),
        (False, ".", "https://id.example.com"),
        (False, "ample.com", "https://id.example.com"),
        (False, "id.example.com:8443", "https://id.example.com"),
        (False, "id.example.com", "https://id.example.com.evil"),
        (False, "10.0.0.0/8", "https://11.1.2.3"),
        (False, "[::1]:443", "https://[::1]:8443"),
    ],
)
def test_who_is_asked_without_a_proxy(exempt: bool, no_proxy: str, url: str) -> None:
    """`NO_PROXY`: all, a name with what is under it, an address, a network; with a port that alone."""
    assert (None if exempt else PROXY) == chosen({"HTTPS_PROXY": PROXY, "NO_PROXY": no_proxy}, url)
