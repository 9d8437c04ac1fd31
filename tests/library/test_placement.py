"""The place of a mounted proxy: what it takes for its own path, and the mistakes that are told at once."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.types import Scope

from bff.library import BFF, MountError
from bff.library.placement import placed
from bff.settings.model import Settings
from tests.support.settings import KEY, OTHER


def settings(base_path: str = "", **sections: Any) -> Settings:
    values = {
        "server": {"public_url": "http://localhost:8000", "base_path": base_path},
        "redis": {"url": "redis://127.0.0.1:1/0"},
        "session": {"keys": [KEY]},
        "provider": {"issuer": "http://localhost:9000", "client_id": "spa", "client_secret": "s"},
    }
    return Settings.model_validate(values | sections)


def scope(path: str, root: str = "", **more: Any) -> Scope:
    return {
        "type": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": root,
        "route": "host's",
        **more,
    }


def client(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost:8000")


@pytest.mark.parametrize(
    ("base", "got", "path"),
    [
        ("", scope("/bff/user"), "/bff/user"),
        ("/shop", scope("/shop/bff/user"), "/shop/bff/user"),  # the whole application is the proxy
        ("/shop", scope("/shop/bff/user", "/shop"), "/shop/bff/user"),
        ("/v1/shop", scope("/v1/shop/x", "/v1/shop", app_root_path="/v1"), "/v1/shop/x"),
        ("/v1/shop", scope("/shop/x", "/v1/shop", app_root_path="/v1"), "/v1/shop/x"),  # FastAPI(root_path=…)
        ("/shop", {**scope("/shop/ü", "/shop"), "raw_path": None}, "/shop/ü"),
    ],
)
def test_the_path_that_browsers_see(base: str, got: Scope, path: str) -> None:
    """Whatever the host knows of its own root, the proxy gets the whole path, and nothing of its routing."""
    inner = placed(got, base)
    assert (path, "", False) == (inner["path"], inner["root_path"], "route" in inner)
    assert path.replace("ü", "%C3%BC").encode() == inner["raw_path"]


@pytest.mark.parametrize(
    ("base", "root"), [("", "/shop"), ("/shop", "/cart"), ("/shop", "/v1/shop"), ("/shop", "/sho")]
)
def test_mounted_elsewhere(base: str, root: str) -> None:
    """A proxy that is mounted where its settings do not say would send browsers astray: an error."""
    with pytest.raises(MountError, match="both have to be the path that browsers see"):
        placed(scope(f"{root}/bff/user", root), base)


def test_installed_twice() -> None:
    """The second `install` says that it is the second."""
    bff, app = BFF(settings()), FastAPI()
    bff.install(app)
    with pytest.raises(MountError, match="mounted twice"):
        bff.install(app)


async def test_mounted_twice_by_hand() -> None:
    """A lifespan that knows the application tells at the start; without one the first request does."""
    bff = BFF(settings("/shop"))
    app = Starlette(routes=[Mount("/shop", bff), Mount("/cart", bff)])
    with pytest.raises(MountError, match="mounted twice, at '/shop' and '/cart'"):
        async with bff.lifespan(app):
            pytest.fail("it runs")  # pragma: no cover - never entered
    async with client(app) as browser:
        with pytest.raises(MountError, match="mounted at '/cart'"):
            await browser.get("/cart/bff/user")


async def test_routes_behind_a_proxy_at_the_root() -> None:
    """Routes that nobody can reach are named at the start."""
    bff, app = BFF(settings()), FastAPI()
    bff.install(app)

    @app.get("/late")
    async def late() -> str:
        return "never"  # pragma: no cover - never reached

    with pytest.raises(MountError, match="in front of /late"):
        async with app.router.lifespan_context(app):
            pytest.fail("it runs")  # pragma: no cover - never entered


async def test_two_that_share_their_sessions() -> None:
    """Two proxies of one process with the same Redis, prefix and keys are refused; any difference will do."""
    shared = {"redis": {"url": "redis://127.0.0.1:1/0", "prefix": "shop"}}
    keys = {"session": {"keys": [OTHER]}}
    async with BFF(settings("/a")).lifespan():
        with pytest.raises(MountError, match="'/a' and '/b' share Redis"):
            async with BFF(settings("/b")).lifespan():
                pytest.fail("it runs")  # pragma: no cover - never entered
        async with BFF(settings("/b", **shared)).lifespan(), BFF(settings("/c", **keys)).lifespan():
            pass
    async with BFF(settings("/b")).lifespan():
        pass


def test_no_embedded_redis() -> None:
    """A library starts no server of its own."""
    with pytest.raises(ValueError, match="which `bff serve` alone starts"):
        BFF(settings(redis={"url": "embedded"}))


async def test_the_hosts_own_errors_stay_its_own() -> None:
    """What a host's endpoint raises is answered by the host."""

    async def fails(_: object) -> PlainTextResponse:
        raise LookupError

    async def handled(_: object, __: Exception) -> PlainTextResponse:
        return PlainTextResponse("the host's", 418)

    app = Starlette(routes=[Route("/own", fails)], exception_handlers={LookupError: handled})
    BFF(settings()).install(app)
    async with client(app) as browser:
        assert (418, "the host's") == ((answer := await browser.get("/own")).status_code, answer.text)
