"""Settings under a base path: the public path of each route, and which base paths there are."""

import pytest

from bff.settings.model import PlacedRoute, RouteSettings, Settings, SpaSettings
from bff.settings.url_check import base_path_complaint

BASE = "/shop"
_BAD = "/ shop /shop/ //x /a//b /../x /a.b /a%62 /a;b /bff /BFF/x"


@pytest.mark.parametrize("upstream", ["http://api:8000", "http://unix:/run/a.sock"])
def test_a_backend_does_not_see_the_base_path(upstream: str) -> None:
    """A route that keeps its path keeps it without the base path, which the backend is told apart."""
    prefix = ":/v1" if "unix" in upstream else "/v1"
    route = RouteSettings(path="/api", upstream=f"{upstream}{prefix}/", strip_prefix=False, max_body=7)
    placed = PlacedRoute.of(route, BASE)
    assert ("/shop/api", f"{upstream}{prefix}/api", 7) == (placed.path, placed.upstream, placed.max_body)
    assert "/shop" == placed.cut_prefix()
    bare = PlacedRoute.of(RouteSettings(path="/api", upstream=upstream, strip_prefix=False), BASE)
    assert upstream + (":/api" if "unix" in upstream else "/api") == bare.upstream


def test_a_stripped_path_is_stripped_with_the_base_path() -> None:
    """What the backend does not see is told to it whole."""
    placed = PlacedRoute.of(RouteSettings(path="/api", upstream="http://api:8000/v1"), BASE)
    assert ("/shop/api", "http://api:8000/v1", "/shop/api") == (
        placed.path,
        placed.upstream,
        placed.cut_prefix(),
    )


def test_the_development_page_lies_at_the_base_path() -> None:
    """A development server is asked for the public path, and takes all below it."""
    settings = Settings.model_validate(
        {
            "server": {"public_url": "http://localhost", "base_path": BASE},
            "provider": {"issuer": "http://localhost:9000", "client_id": "spa"},
            "route": [{"path": "/api", "upstream": "http://localhost:8000"}],
            "spa": {"url": "http://localhost:5173"},
        }
    )
    api, page = settings.served_routes()
    assert ("/shop/api", "/shop", False) == (api.path, page.path, page.strip_prefix)
    assert "" == page.cut_prefix()
    assert "/shop/" == settings.home()
    assert "/" == settings.model_copy(update={"spa": SpaSettings()}).home()


@pytest.mark.parametrize("path", ["", "/shop", "/a/b-c_d/9"])
def test_good_base_paths(path: str) -> None:
    """Nothing, or plain segments."""
    assert None is base_path_complaint(path)


@pytest.mark.parametrize(
    "path",
    [*_BAD.split(), "/x\n", "/" + "a" * 64],
)
def test_bad_base_paths(path: str) -> None:
    """A slash too many, dots, and what a cookie's name cannot hold."""
    assert None is not base_path_complaint(path)
