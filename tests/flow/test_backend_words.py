"""What a backend says of itself and of others, as it reaches a browser over both fronts."""

import asyncio

import httpx
import pytest

from tests.support.network.backend import Received, Reply
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import running_world

pytestmark = pytest.mark.usefixtures("both_fronts")


async def test_a_slash_redirect_leads_to_the_public_path(redis_server: RedisServer) -> None:
    """FastAPI and Flask build it from the Host that they are asked by; it works on the second call too."""

    async def answer(request: Received) -> Reply:
        if request.target.endswith(b"/"):
            return Reply(body=request.target)
        host = request.values(b"host")[0]
        return Reply(307, headers=[(b"location", b"http://" + host + request.target + b"/")], body=b"on")

    async with running_world(redis_server) as world:
        world.reply = answer
        browser = await world.signed_in()
        for _ in range(3):
            got = await browser.call("/api/items")
            assert (307, "/api/items/") == (got.status_code, got.headers["location"])
        assert b"/items/" == (await browser.call("/api/items/")).content
        assert [b"/api"] == world.backend.requests[-1].values(b"x-forwarded-prefix")


@pytest.mark.requirement("H-15", "H-14")
async def test_what_nobody_may_say_for_another(redis_server: RedisServer) -> None:
    """Forged headers of a client, challenges and orders of a backend: none arrives, time and again."""
    challenges = [
        (b"www-authenticate", b'Basic realm="x", Bearer error="no"'),
        (b"www-authenticate", b"NTLM"),
    ]

    async def answer(_: Received) -> Reply:
        return Reply(403, headers=[*challenges, (b"x-accel-redirect", b"/etc"), (b"x_sendfile", b"/etc")])

    forged = {"Proxy": "http://evil", "Remote_User": "root", "X-Original-URL": "/admin", "X-Own": "1"}
    async with running_world(redis_server) as world:
        world.reply = answer
        browser = await world.signed_in()
        for _ in range(3):
            got = await browser.call("/api/x", headers=forged)
            assert ['Bearer error="no"'] == got.headers.get_list("www-authenticate")
            assert not {"x-accel-redirect", "x_sendfile"} & set(got.headers)
            names = {name for name, _ in world.backend.requests[-1].headers}
            assert {b"x-own"} == names & {b"proxy", b"remote_user", b"x-original-url", b"x-own"}


@pytest.mark.requirement("H-11")
async def test_content_behind_head_reaches_nobody(redis_server: RedisServer) -> None:
    """A backend answers HEAD with content that looks like an answer: others get their own."""
    evil = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"

    async def answer(request: Received) -> Reply | bytes:
        if request.method == b"HEAD":
            return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(evil), evil)
        return Reply(body=b"good")

    async with running_world(redis_server) as world:
        world.reply = answer
        browser = await world.signed_in()

        async def pair() -> tuple[httpx.Response, httpx.Response]:
            return await browser.call("/api/x", "HEAD"), await browser.call("/api/x")

        for head, get in await asyncio.gather(*(pair() for _ in range(10))):
            assert (200, str(len(evil))) == (head.status_code, head.headers["content-length"])
            assert b"good" == get.content


@pytest.mark.requirement("H-08")
@pytest.mark.parametrize(
    ("fields", "size", "status"), [(250, 80_000, 200), (350, 80_000, 502), (250, 200_000, 502)]
)
async def test_a_long_head_of_an_answer(
    redis_server: RedisServer, fields: int, size: int, status: int
) -> None:
    """As many fields and as long a head as the route's settings say."""
    headers = [(b"x-%d" % number, b"y" * (size // fields)) for number in range(fields)]

    async def answer(_: Received) -> Reply:
        return Reply(headers=headers)

    route = {"max_answer_head": "128KiB", "max_answer_fields": 300}
    async with running_world(redis_server, route=route) as world:
        world.reply = answer
        assert status == (await (await world.signed_in()).call("/api/x")).status_code
