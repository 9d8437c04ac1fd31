"""Requests with known heads through ASGI: to both sides as if uvicorn's own cycle had seen to them."""

import asyncio
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest

from bff.proxy.server import asgi_response as asgi_cycle
from bff.proxy.server import head_cache as known_fields
from tests.support.network.server_harness import Door, connected, open_door, request
from tests.support.wait import until

START = "http.response.start"
BODY = "http.response.body"
LENGTH = (b"content-length", b"5")


def start(*headers: Any, status: int = 200) -> dict[str, Any]:
    return {"type": START, "status": status, "headers": list(headers)}


def body(content: bytes = b"hello", **more: bool) -> dict[str, Any]:
    return {"type": BODY, "body": content, **more}


SCRIPTS: dict[str, list[dict[str, Any]]] = {
    "one part": [start(LENGTH), body()],
    "no content": [start((b"content-length", b"0")), body(b"")],
    "content left out": [start((b"content-length", b"0")), {"type": BODY}],
    "headers left out": [{"type": START, "status": 200}, body()],
    "two parts": [start(LENGTH), body(b"he", more_body=True), body(b"llo")],
    "an empty end": [start(LENGTH), body(more_body=True), body(b"")],
    "no length": [start((b"x", b"y")), body()],
    "neither length nor content": [start((b"x", b"y")), body(b"")],
    "no length, an empty end": [start(), body(more_body=True), body(b"")],
    "chunked by name": [start((b"transfer-encoding", b"chunked")), body()],
    "upper case": [start((b"Content-Length", b"5"), (b"X-Own", b"Y")), body()],
    "a hundred fields": [start(LENGTH, *((b"x-%d" % n, b"v" * n) for n in range(100))), body()],
    "a long value": [start(LENGTH, (b"x", b"y" * 5000)), body()],
    "the same field twice": [start(LENGTH, (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")), body()],
    "lists for tuples": [start([b"content-length", b"5"]), body()],
    "it closes": [start(LENGTH, (b"connection", b"close")), body()],
    "it keeps alive": [start(LENGTH, (b"connection", b"keep-alive")), body()],
    "no content, 204": [start(status=204), body(b"")],
    "not modified": [start(status=304), body(b"")],
    "another status": [start(LENGTH, status=418), body()],
    "too long": [start(LENGTH), body(b"hello!")],
    "too short": [start(LENGTH), body(b"hell")],
    "too short in two parts": [start(LENGTH), body(b"he", more_body=True), body(b"l")],
    "two lengths": [start(LENGTH, LENGTH), body()],
    "two lengths that differ": [start(LENGTH, (b"content-length", b"4")), body(b"hell")],
    "a length that is none": [start((b"content-length", b"+5")), body()],
    "a bad name": [start(LENGTH, (b"x y", b"z")), body()],
    "a bad value": [start(LENGTH, (b"x", b"y\r\nz: 1")), body()],
    "no such status": [start(LENGTH, status=799), body()],
    "it begins with the body": [body()],
    "it begins twice": [start(LENGTH), start(LENGTH), body()],
    "it goes on after the end": [start(LENGTH), body(), body()],
    "an empty part after the end": [start(LENGTH), body(), body(b"")],
    "it never ends": [start(LENGTH)],
    "it says nothing": [],
}


@pytest.fixture(autouse=True)
def _uvicorn_says_nothing() -> Iterator[None]:
    """Most of these are mistakes of an application, which uvicorn logs."""
    logging.getLogger("uvicorn.error").disabled = True
    yield
    logging.getLogger("uvicorn.error").disabled = False


async def answers(door: Door, method: str, known: int, *fields: str) -> tuple[bytes, int]:
    """All that a connection answers to such a request, sent after so many like it; and how many came in."""
    script, door.script = door.script, [start((b"content-length", b"0")), body(b"")]
    raw = request("/script?a=%20b", method, *fields)
    async with connected(door) as client:
        for _ in range(known):
            await client.send(raw)
            assert 200 == (await client.answer())[0]
        door.script = script
        door.seen.clear()
        await client.send(raw + request("/script", "GET", "Connection: close"))
        said = await client.rest()
    return re.sub(rb"date: [^\r]*", b"date: now", said), len(door.seen)


@pytest.mark.requirement("H-01", "H-02")
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
@pytest.mark.parametrize("name", SCRIPTS)
async def test_the_client_sees_no_difference(name: str, method: str) -> None:
    """Whatever the application sends, the same bytes come for a head that is known as for one that is not."""
    async with open_door() as door:
        door.script = SCRIPTS[name]
        first = await answers(door, method, 0)
        for known in (1, 2, 3):
            door.script = SCRIPTS[name]
            assert first == await answers(door, method, known)
    assert first[0].startswith(b"HTTP/1.1 ") or not first[0]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_the_application_sees_the_same_scope(method: str) -> None:
    """Every key and value of the scope, and the message that ends the request."""
    async with open_door() as door, connected(door) as client:
        door.script = [start(LENGTH), body()]
        for _ in range(4):
            await client.send(request("/script/%C3%A4?a=%20b", method, "X-One: 1"))
            assert 200 == (await client.answer())[0]
    first, *others = [{name: seen[name] for name in seen if name != "extensions"} for seen in door.seen]
    assert [first] * 3 == others
    assert "/script/ä" == first["path"]
    assert [{"type": "http.request", "body": b"", "more_body": False}] == first["received"]


async def test_who_has_left_is_not_answered() -> None:
    """An answer that comes when the client has gone counts as none."""
    async with open_door() as door:
        assert door.server is not None
        state = door.server.server_state
        async with connected(door) as client:
            door.release.set()
            for _ in range(4):
                await client.send(request("/wait", "GET"))
                assert 200 == (await client.answer())[0]
            answered = state.total_requests
            door.release.clear()
            await client.send(request("/wait", "GET"))
            await until(lambda: len(door.seen) == 5)
        await until(lambda: not state.connections)
        door.release.set()
        await until(lambda: not state.tasks)
        assert (4, 4) == (answered, state.total_requests)


async def test_a_client_that_reads_slowly_holds_its_application_back() -> None:
    """The last part of an answer waits like all others until what came before it has left."""
    size = 8 * 1024 * 1024
    half = bytes(size)

    async def app(_: Any, __: Any, send: Any) -> None:
        await send(start((b"content-length", b"%d" % (2 * size))))
        for more in (True, False):
            await send(body(half, more_body=more))
            sent.append(more)

    sent: list[bool] = []
    async with open_door() as door, connected(door) as client:
        vars(door)["_mine"] = app
        for _ in range(4):
            sent.clear()
            await client.send(request("/mine", "GET"))
            client.stop_reading()
            await until(lambda: sent == [True])
            for _ in range(100):
                await asyncio.sleep(0)
            assert [True] == sent
            client.go_on_reading()
            status, _, content = await client.answer()
            assert (200, 2 * size) == (status, len(content))
            assert [True, False] == sent


async def test_what_is_known_of_lines_is_bounded() -> None:
    """A client that asks for ever new things with the same fields fills nothing."""
    known: Any = None
    async with open_door() as door, connected(door) as client:
        door.script = [start(LENGTH), body()]
        for number in range(3 * known_fields._MOST_LINES):
            for _ in range(2):
                await client.send(request(f"/script/{number}", "GET"))
                assert 200 == (await client.answer())[0]
            known = door.seen[-1]["extensions"][known_fields.HEAD_EXTENSION]["known"]
            assert known.scopes.keys() <= known.lines.keys()
            assert len(known.lines) <= known_fields._MOST_LINES
        await client.send(request("/script/" + "x" * known_fields._LONGEST_HEAD, "GET"))
        assert 200 == (await client.answer())[0]
    assert 0 < len(known.scopes) <= known_fields._MOST_LINES
    assert max(map(len, known.scopes)) < known_fields._LONGEST_HEAD


async def test_cookies_are_not_kept() -> None:
    """A value that is one client's own does not stay in the process."""
    async with open_door() as door, connected(door) as client:
        door.script = [start(LENGTH, (b"x-kept", b"1"), (b"set-cookie", b"a=secret")), body()]
        before = None
        for _ in range(5):
            before = asgi_cycle._line.cache_info()
            await client.send(request("/script", "GET"))
            assert "a=secret" == (await client.answer())[1]["set-cookie"]
        after = asgi_cycle._line.cache_info()
    assert before is not None
    assert (2, 0) == (after.hits - before.hits, after.misses - before.misses)


async def test_what_an_application_does_to_its_scope_is_its_own() -> None:
    """A scope that was changed, its headers too, is not the next request's."""
    async with open_door() as door, connected(door) as client:

        async def app(scope: Any, _: Any, send: Any) -> None:
            seen.append((dict(scope), list(scope["headers"]), dict(scope["state"])))
            scope["headers"].append((b"x-mine", b"1"))
            scope["path"] = scope["raw_path"] = "elsewhere"
            scope["state"]["mine"] = 1
            for message in (start(LENGTH), body()):
                await send(message)

        seen: list[Any] = []
        vars(door)["_mine"] = app
        for _ in range(4):
            await client.send(request("/mine/x", "GET"))
            assert 200 == (await client.answer())[0]
    for scope, headers, state in seen:
        assert ("/mine/x", b"/mine/x", {}) == (scope["path"], scope["raw_path"], state)
        assert seen[0][1] == headers


async def test_a_stop_while_a_known_request_is_answered() -> None:
    """A server that stops says so in an answer that has not begun, and closes after it."""
    async with open_door() as door, connected(door) as client:
        for _ in range(3):
            await client.send(request("/early", "GET"))
            await client.answer()
        raw = request("/wait", "GET")
        door.release.set()
        for _ in range(2):
            await client.send(raw)
            await client.answer()
        door.release.clear()
        count = len(door.seen)
        await client.send(raw)
        while len(door.seen) == count:
            await client.send(b"")
        assert door.server is not None
        for connection in list(door.server.server_state.connections):
            connection.shutdown()
        door.release.set()
        assert b"connection: close" in await client.rest()
