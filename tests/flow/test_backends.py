"""Backends of every kind, through the whole proxy, over both of its fronts."""

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.network.backend import Backend, Conversation, Received, Reply, backend, raw_backend
from tests.support.network.resets import reset_at_close
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import World, running_world

pytestmark = pytest.mark.usefixtures("both_fronts")

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


@contextlib.asynccontextmanager
async def before(redis: RedisServer, b: Backend, prefix: str = "", **route: Any) -> AsyncIterator[World]:
    """The proxy in front of a backend of the test's own, without sessions."""
    route |= {"upstream": b.url + prefix, "auth": "none"}
    async with running_world(redis, route=route) as world:
        yield world


async def call(world: World, method: str = "GET", path: str = "/api/x", **options: Any) -> httpx.Response:
    browser = world.browsers[0] if world.browsers else await world.browser()
    return await browser.call(path, method, **options)


@pytest.mark.requirement("H-01")
async def test_what_is_for_one_hop_stays_there(redis_server: RedisServer) -> None:
    """Hop-by-hop fields, and those that Connection nominates, pass in neither direction; others do."""
    fields = {
        "Connection": "keep-alive, X-Internal, Accept",
        "X-Internal": "1",
        "Accept": "nominated",
        "Keep-Alive": "timeout=5",
        "Proxy-Connection": "keep-alive",
        "Proxy-Authorization": "Basic eDp5",
        "TE": "trailers",
        "X-Plain": "passes",
    }
    pairs = [(name.lower().encode(), value.encode()) for name, value in fields.items()]

    async def answer(_: Received) -> Reply:
        told = [(b"proxy-authenticate", b"Basic"), (b"trailer", b"x"), (b"upgrade", b"h2c")]
        return Reply(headers=[*pairs, *told], body=b"hi")

    async with (
        backend(answer) as b,
        before(redis_server, b) as w,
    ):
        got = await call(w, headers=fields)
        assert ("passes", b"hi") == (got.headers["x-plain"], got.content)
        hop = {*(name.lower() for name in fields), "proxy-authenticate", "trailer", "upgrade"} - {"x-plain"}
        assert set() == {name for name in hop if name in got.headers} - {"connection"}
        assert "x-internal" not in got.headers.get("connection", "").lower()
        sent = dict(b.requests[0].headers)
        assert b"passes" == sent[b"x-plain"]
        assert set() == {name for name in hop if name.encode() in sent}


@pytest.mark.requirement("H-05")
async def test_content_is_not_touched(redis_server: RedisServer) -> None:
    """Encoded content arrives as it was sent, whatever its framing and whatever came before it."""
    content = gzip.compress(bytes(range(256)) * 2000)
    hints = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    told = [(b"content-encoding", b"gzip"), (b"etag", b'"a"')]

    async def answer(asked: Received) -> Reply:
        pieces, framing = [content[:10], content[10:]], asked.target[1:].decode()
        return Reply(headers=told, body=pieces, framing=framing, interim=[hints, hints])

    async with backend(answer) as b, before(redis_server, b) as w:
        browser = await w.browser()
        browser.client.event_hooks["response"].clear()
        for framing in ("length", "chunked", "close"):
            async with browser.client.stream("GET", f"/api/{framing}") as got:
                assert content == b"".join([chunk async for chunk in got.aiter_raw()])
                assert ("gzip", '"a"') == (got.headers["content-encoding"], got.headers["etag"])


@pytest.mark.requirement("H-06")
async def test_a_reset_ends_a_close_delimited_answer_visibly(redis_server: RedisServer) -> None:
    """Where only the end of the stream could say that the answer is whole, a reset does not say so."""

    async def script(conversation: Conversation) -> None:
        await conversation.read_head()
        await conversation.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await seen.wait()
        reset_at_close(conversation.writer)
        conversation.cut()

    seen = asyncio.Event()
    async with raw_backend(script) as b, before(redis_server, b) as w:
        browser = await w.browser()
        browser.client.event_hooks["response"].clear()

        async def read() -> None:
            async with browser.client.stream("GET", "/api/x") as got:
                async for chunk in got.aiter_raw():
                    assert b"half" == chunk
                    seen.set()

        with pytest.raises(httpx.RemoteProtocolError):
            await read()


@pytest.mark.requirement("H-07")
@pytest.mark.parametrize("end", ["close", "408"])
async def test_only_what_is_safe_is_sent_again(redis_server: RedisServer, end: str) -> None:
    """On a kept connection that ends instead of answering a GET goes again unseen, a POST never does."""

    async def script(conversation: Conversation) -> None:
        await conversation.read_request()
        await conversation.send(OK)
        second = await conversation.read_request()
        if end == "408" and second is not None:
            await conversation.send(b"HTTP/1.1 408 Late\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")

    async with (
        raw_backend(script) as b,
        before(redis_server, b) as w,
    ):
        for number in range(2):
            got = await call(w, path=f"/api/{number}")
            assert (200, b"hi") == (got.status_code, got.content)
        assert [b"/0", b"/1", b"/1"] == [request.target for request in b.requests]
        got = await call(w, "POST", "/api/2", content=b"once")
        assert (408 if end == "408" else 502) == got.status_code
        assert 1 == sum(request.target == b"/2" for request in b.requests)


@pytest.mark.requirement("H-08")
async def test_heads_that_are_too_much_or_too_slow(redis_server: RedisServer) -> None:
    """A backend's head is bounded in size, in number and in time."""
    answers = {
        b"/long": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
        b"/many": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300 + b"\r\n",
        b"/endless": b"HTTP/1.1 102 Processing\r\n\r\n" * 20,
        b"/half": b"HTTP/1.1 200 OK\r\nConte",
        b"/silent": b"",
    }

    async def script(conversation: Conversation) -> None:
        head = await conversation.read_head()
        assert head is not None
        await conversation.send(answers[head.target])
        await conversation.closed()

    async with raw_backend(script) as b, before(redis_server, b, response_timeout=0.5) as w:
        for target in answers:
            slow = target in {b"/half", b"/silent"}
            got = await call(w, path=f"/api{target.decode()}")
            expected = (504, "upstream_timeout") if slow else (502, "upstream_invalid")
            assert expected == (got.status_code, got.json()["code"]), target
        await b.until(lambda: not b.open)


async def test_a_backend_behind_a_unix_socket(redis_server: RedisServer, tmp_path: Path) -> None:
    """It is reached by its path, with a prefix behind it, and is told an ordinary Host."""

    async def echo(request: Received) -> Reply:
        return Reply(body=request.target + b" " + request.body)

    async with backend(echo, socket=tmp_path / "app.sock") as b, before(redis_server, b, ":/v1") as w:
        got = await call(w, "PUT", "/api/7?a=b", content=b"body")
        assert b"/v1/7?a=b body" == got.content
        assert [b"localhost"] == b.requests[0].values(b"host")
        assert f'upstream="unix:{tmp_path}/app.sock"' in w.app.metrics.render()[0].decode()
