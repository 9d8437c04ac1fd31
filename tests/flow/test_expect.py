"""`Expect: 100-continue`, which the proxy adds to bodies that it cannot send twice."""

from collections.abc import AsyncIterator

import pytest

from tests.support.network.backend import Conversation, raw_backend
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import running_world

pytestmark = pytest.mark.usefixtures("both_fronts")

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
REFUSED = b"HTTP/1.1 417 Expectation Failed\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
BODY = bytes(range(256)) * 1024  # longer than what is kept


async def pieces(body: bytes = BODY, size: int = 40_000) -> AsyncIterator[bytes]:
    for at in range(0, len(body), size):
        yield body[at : at + size]


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_backend_that_takes_none(redis_server: RedisServer, chunked: bool) -> None:
    """417: the call is made again without, its body whole; the next one does not ask at all."""
    expected: list[int] = []

    async def script(conversation: Conversation) -> None:
        while (head := await conversation.read_head()) is not None:
            expected.append(len(head.values(b"expect")))
            if expected[-1]:
                await conversation.send(REFUSED)
                return
            assert BODY == await conversation.read_body(head)
            await conversation.send(OK)

    async with (
        raw_backend(script) as b,
        running_world(redis_server, route={"upstream": b.url, "expect_wait": "30s"}) as world,
    ):
        browser = await world.signed_in()
        for _ in range(2):
            content = pieces() if chunked else BODY
            got = await browser.call("/api/x", "POST", content=content)
            assert (200, b"hi") == (got.status_code, got.content)
    assert [1, 0, 0] == expected


async def test_a_route_without(redis_server: RedisServer) -> None:
    """`expect = false`: nothing is announced."""
    expected: list[int] = []

    async def script(conversation: Conversation) -> None:
        while (request := await conversation.read_request()) is not None:
            expected.append(len(request.values(b"expect")))
            await conversation.send(OK)

    async with (
        raw_backend(script) as b,
        running_world(redis_server, route={"upstream": b.url, "expect": False}) as world,
    ):
        browser = await world.signed_in()
        assert 200 == (await browser.call("/api/x", "POST", content=pieces())).status_code
        assert 200 == (await browser.call("/api/x", "POST", content=BODY)).status_code
    assert [0, 0] == expected


async def test_a_417_of_its_own(redis_server: RedisServer) -> None:
    """A backend's 417 to a call without an expectation is passed on."""

    async def script(conversation: Conversation) -> None:
        await conversation.read_request()
        await conversation.send(REFUSED)

    async with (
        raw_backend(script) as b,
        running_world(redis_server, route={"upstream": b.url}) as world,
    ):
        browser = await world.signed_in()
        assert 417 == (await browser.call("/api/x", "POST", content=b"hi")).status_code


@pytest.mark.parametrize(("size", "expects"), [(3, 0), (60_000, 0), (200_000, 1)])
async def test_what_is_at_hand_is_not_announced(redis_server: RedisServer, size: int, expects: int) -> None:
    """Both fronts decide alike, by how much there is of a chunked body, and not by when it comes."""
    expected: list[int] = []

    async def script(conversation: Conversation) -> None:
        while (head := await conversation.read_head()) is not None:
            expected.append(len(head.values(b"expect")))
            if expected[-1]:
                await conversation.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            assert size == len(await conversation.read_body(head))
            await conversation.send(OK)

    async with (
        raw_backend(script) as b,
        running_world(redis_server, route={"upstream": b.url, "expect_wait": "30s"}) as world,
    ):
        browser = await world.signed_in()
        for piece in (1 if size < 10 else 10_000, size):
            content = pieces(BODY[:size], piece)
            assert 200 == (await browser.call("/api/x", "POST", content=content)).status_code
    assert [expects, expects] == expected
