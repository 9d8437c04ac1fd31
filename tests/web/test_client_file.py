"""GET /bff/client.js and its types, as files that are asked for again."""

from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette

from bff.web.client_files import client_routes


def client_of(header: str) -> httpx.AsyncClient:
    """A client of a proxy whose CSRF header has this name."""
    app = Starlette(routes=client_routes(header, ["/bff", "/api"]))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost")


@pytest.fixture(name="client")
async def _client() -> AsyncIterator[httpx.AsyncClient]:
    async with client_of("X-CSRF") as client:
        yield client


@pytest.mark.parametrize(
    ("name", "kind"),
    [("client.js", "text/javascript; charset=utf-8"), ("client.d.ts", "text/plain; charset=utf-8")],
)
async def test_a_client_that_has_it_gets_304(client: httpx.AsyncClient, name: str, kind: str) -> None:
    """By its tag, weakened by a reverse proxy or among others; without a body."""
    first = await client.get(f"/bff/{name}")
    assert (200, kind, "no-store") == (
        first.status_code,
        first.headers["content-type"],
        first.headers["cache-control"],
    )
    tag = first.headers["etag"]
    for known in (tag, f"W/{tag}", f'"another", {tag}', "*"):
        again = await client.get(f"/bff/{name}", headers={"If-None-Match": known})
        assert (304, b"", tag) == (again.status_code, again.content, again.headers["etag"]), known
        assert "no-store" == again.headers["cache-control"]
    for other in ('"another"', f"{tag[:-2]}x", ""):
        assert 200 == (await client.get(f"/bff/{name}", headers={"If-None-Match": other})).status_code, other
    head = await client.head(f"/bff/{name}", headers={"If-None-Match": tag})
    assert 304 == head.status_code


async def test_other_settings_are_another_file(client: httpx.AsyncClient) -> None:
    """Its tag is another one then: no page goes on with the former header's name."""
    async with client_of("X-Shop") as other:
        changed = await other.get(
            "/bff/client.js", headers={"If-None-Match": (await client.get("/bff/client.js")).headers["etag"]}
        )
    assert (200, True) == (changed.status_code, '"csrfHeader": "X-Shop"' in changed.text)
