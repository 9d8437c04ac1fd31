"""Which URLs and paths the settings accept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.policy.routes import compile_route
from bff.settings import url_check
from bff.settings.model import RouteSettings

GOOD_ORIGINS = [
    "https://app.example.com",
    "https://app.example.com:8443",
    "http://localhost:8080",
    "http://127.0.0.1",
    "http://[::1]:8080",
    "https://xn--bcher-kva.example",
]
BAD_ORIGINS = [
    "", "app.example.com", "ftp://app.example.com", "https://", "https://app.example.com/", "https://app.example.com/x",
    "https://app.example.com?", "https://app.example.com#", "https://user@app.example.com", "http://app.example.com",
    "http://128.0.0.1", "https://App.example.com", "https://app.example.com:443", "http://localhost:80",
    "https://app.example.com:99999", "https://app.example.com:0", "https://app.example.com:", "https://bücher.example",
    "https://app .example.com", "https://a\\b.example", "https://app..example.com", "https://[::1", "https://a,b",
]  # fmt: skip


@pytest.mark.parametrize("url", GOOD_ORIGINS)
def test_good_public_urls(url: str) -> None:
    """An https origin is good, and an http one on loopback."""
    assert None is url_check.public_url_complaint(url)


def test_a_path_of_the_origin_has_a_setting_of_its_own() -> None:
    """Who writes one is told where it goes; a slash alone is no path."""
    for url, told in (("https://app.example.com/shop", True), ("https://app.example.com/", False)):
        complaint = url_check.public_url_complaint(url)
        assert complaint is not None
        assert told == ("server.base_path" in complaint[1])


@pytest.mark.requirement("B-02")
@pytest.mark.parametrize("url", BAD_ORIGINS)
def test_bad_public_urls(url: str) -> None:
    """Whatever is not exactly an origin as a browser sends it, or is http beyond loopback, is refused."""
    assert None is not url_check.public_url_complaint(url)


@pytest.mark.parametrize(
    "url", ["https://id.example.com", "https://id.example.com/realms/a/", "http://localhost:9000"]
)
def test_good_issuers(url: str) -> None:
    """An issuer may have a path, and a slash at the end if the provider's has one."""
    assert None is url_check.issuer_complaint(url)


@pytest.mark.parametrize(
    "url", ["id.example.com", "http://id.example.com", "https://id.example.com?x", "https://id.example.com#x"]
)
def test_bad_issuers(url: str) -> None:
    """No query, no fragment, https (OpenID Connect Discovery 1.0, 4.1)."""
    assert None is not url_check.issuer_complaint(url)


GOOD_UPSTREAMS = [
    "http://orders:8000", "https://orders.internal/v1", "http://10.0.0.1:80/a/b/", "http://[::1]:1/", "http://my_host:1",
    "http://unix:/run/orders.sock", "http://unix:/run/my_app/orders-1.sock:", "http://unix:/run/orders.sock:/v1/",
]  # fmt: skip


@pytest.mark.parametrize("url", GOOD_UPSTREAMS)
def test_good_upstreams(url: str) -> None:
    """Scheme, host, port and a plain path; what is accepted here the route table accepts too."""
    assert None is url_check.upstream_complaint(url)
    assert url == compile_route(RouteSettings(path="/api", upstream=url)).settings.upstream


@pytest.mark.requirement("B-12")
@pytest.mark.parametrize(
    "url",
    ["orders:8000", "http://u:p@orders", "http://orders?x=1", "http://orders#x", "http://orders/a/../b", "http://orders//a",
     "http://orders/%2e", "ftp://orders", "unix:/run/orders.sock", "http://", "http://orders:x",
     "https://unix:/run/orders.sock", "http://unix:", "http://unix:run/x", "http://unix:/run/../x", "http://unix:/run//x",
     "http://unix:/run/x:v1", "http://unix:/run/x:/a/../b", "http://unix:/run/x:/a:/b",
     "http://unix:/run/x?y", "http://unix:/run/ü",
     "http://unix:/" + "x" * 107],
)  # fmt: skip
def test_bad_upstreams(url: str) -> None:
    """Nothing that two parsers could read differently, and no credentials."""
    assert None is not url_check.upstream_complaint(url)


def test_a_unix_socket_written_otherwise_is_told_apart() -> None:
    """Whoever writes it in another way is told how it is written."""
    for url in ("unix:/run/orders.sock", "https://unix:/run/orders.sock"):
        complaint = url_check.upstream_complaint(url)
        assert complaint is not None
        assert "http://unix:/run/orders.sock:/v1" in complaint[1]


@pytest.mark.parametrize("url", ["http://unix:x", "http://unix:/run/x:/a/../b", "http://unix:/run/x:y"])
def test_the_route_table_does_not_rely_on_the_check(url: str) -> None:
    """A socket's URL that is malformed compiles to no route."""
    with pytest.raises(ValueError, match="write it like http://unix:"):
        compile_route(RouteSettings(path="/api", upstream=url))


def test_server_names() -> None:
    """A host name or an address, and nothing else."""
    assert [None] * 3 == [url_check.host_complaint(name) for name in ("orders.internal", "10.0.0.1", "::1")]
    for name in ("", "https://orders", "a b", "[::1]", "orders:8000"):
        assert None is not url_check.host_complaint(name)


@pytest.mark.parametrize("url", ["http://127.0.0.1:5173", "http://localhost:5173/", "https://dev.example"])
def test_good_page_servers(url: str) -> None:
    """A development server is named by its origin."""
    assert None is url_check.spa_url_complaint(url)


@pytest.mark.parametrize(
    "url", ["localhost:5173", "http://localhost:5173/app", "http://a?b", "http://a#b", "ws://a"]
)
def test_bad_page_servers(url: str) -> None:
    """Paths, queries and other schemes are no origin."""
    assert None is not url_check.spa_url_complaint(url)


@pytest.mark.parametrize("path", ["/api", "/api/orders", "/a.b", "/~x/y-z", "/bffx"])
def test_good_route_paths(path: str) -> None:
    """Plain segments; what is accepted here the route table accepts too."""
    assert None is url_check.route_path_complaint(path)
    assert path == compile_route(RouteSettings(path=path, upstream="http://a")).settings.path


@pytest.mark.requirement("B-12")
@pytest.mark.parametrize(
    "path",
    ["/", "", "api", "/api/", "//", "//api", "/a//b", "/a/../b", "/./a", "/..", "/a%2fb", "/a;b", "/a b",
     "/a?b", "/a#b", "/a\\b", "/bff", "/BFF", "/bff/x", "/Bff/x", "/é", "/a\n"],
)  # fmt: skip
def test_bad_route_paths(path: str) -> None:
    """No slash at the end, no dots, nothing encoded, nothing under /bff, and not everything."""
    assert None is not url_check.route_path_complaint(path)


@given(st.text(alphabet="/.%aB~_-\\;?#é ", max_size=12))
def test_accepted_route_paths_compile(path: str) -> None:
    """The settings accept no path that the route table would choke on."""
    if url_check.route_path_complaint(path) is None:
        assert path == compile_route(RouteSettings(path=path, upstream="http://a")).settings.path


@pytest.mark.parametrize("path", ["/", "/signed-out", "/a/b.html?x=1&y=%20", "/bffx"])
def test_good_local_paths(path: str) -> None:
    """A path of the page."""
    assert None is url_check.local_path_complaint(path)


@pytest.mark.requirement("O-04")
@pytest.mark.parametrize(
    "path",
    ["", "signed-out", "//evil.example", "/\\evil", "https://evil.example", "/a/../b", "/a//b", "/%2f",
     "/a#b", "/\tevil", "/bff", "/bff/login", "/BFF/login", "/a\n"],
)  # fmt: skip
def test_bad_local_paths(path: str) -> None:
    """Nothing that could lead to another site or to our own endpoints."""
    assert None is not url_check.local_path_complaint(path)
