"""Encoded and double slashes: for the page, for routes that take them, and how a refusal is told."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.support.processes.redis import RedisServer
from tests.support.processes.world import CSRF, running_world

NAVIGATION = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none", "Accept": "text/html"}


@pytest.mark.usefixtures("both_fronts")
async def test_pages_with_unusual_paths(redis_server: RedisServer, tmp_path: Path) -> None:
    """A browser that goes to `/blog/a%2Fb` or `/x//y` gets the page, not a refusal."""
    (tmp_path / "index.html").write_text("the page")
    async with running_world(redis_server, spa={"dir": tmp_path}) as world:
        browser = await world.browser()
        for path in ("/blog/a%2Fb", "/x//y", "/blog/a%5Cb", "/blog/100%252F"):
            answer = await browser.client.get(world.url + path, headers=NAVIGATION)
            assert (200, "the page") == (answer.status_code, answer.text), path


@pytest.mark.requirement("B-12")
@pytest.mark.usefixtures("both_fronts")
async def test_a_refused_path_says_why(redis_server: RedisServer) -> None:
    """The reason stands in the problem's detail and in the log, beside code and path."""
    async with running_world(redis_server) as world:
        browser = await world.browser()
        with capture_logs() as lines:
            answer = await browser.client.get(world.url + "/api/a%2Fb", headers=CSRF)
        assert (400, "bad_request", "encoded dot, slash, backslash or control character") == (
            answer.status_code,
            answer.json()["code"],
            answer.json()["detail"],
        )
        (line,) = [line for line in lines if line["event"] == "refused"]
        assert {
            "code": "bad_request",
            "reason": "encoded dot, slash, backslash or control character",
            "path": "/api/a%2Fb",
            "address": "127.0.0.1",
        } == {name: line[name] for name in ("code", "reason", "path", "address")}


@pytest.mark.requirement("B-12")
@pytest.mark.usefixtures("both_fronts")
async def test_paths_of_real_apis(redis_server: RedisServer) -> None:
    """GitLab's projects, RabbitMQ's vhost and keys of S3 reach a backend as they were sent."""
    route = {"strip_prefix": False, "encoded_slashes": True, "double_slashes": True}
    async with running_world(redis_server, route=route) as world:
        browser = await world.signed_in()
        paths = [
            "/api/v4/projects/group%2Fproject/issues",
            "/api/queues/%2F/orders",
            "/api/bucket//a///b",
        ]
        for path in paths:
            for _ in range(3):  # prepared from the third on
                assert 200 == (await browser.call(path)).status_code
        assert [path for path in paths for _ in range(3)] == [
            request.target.decode() for request in world.backend.requests
        ]


@pytest.mark.requirement("H-12")
async def test_a_path_beyond_the_limit(redis_server: RedisServer) -> None:
    """400, for a route as for the page, before anything of it is decoded."""
    async with running_world(redis_server, server={"max_path_bytes": 1000}) as world:
        browser = await world.browser()
        for path in (
            "/api/" + "%41" * 400,
            "/nope/" + "%41" * 400,
            "/bff/" + "%41" * 400,
            "/bff/user%41" + "%41" * 400 + "?x=1",
        ):
            answer = await browser.client.get(world.url + path, headers=CSRF)
            assert (400, "longer than 1000 bytes") == (answer.status_code, answer.json()["detail"])
        for path in ("/bff/user?slide=false&x=" + "%41" * 400, "/api/x?x=" + "%41" * 400):
            answer = await browser.client.get(world.url + path, headers=CSRF)  # a query is none of a path
            assert 401 == answer.status_code
