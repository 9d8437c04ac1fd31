"""The server protocol, by raw bytes on real sockets."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.error_log import no_error_logged
from tests.support.network.server_harness import HOST, Door, connected, open_door, problem_of, request

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "data" / "refused_requests.json").read_text()
)["cases"]


async def refusal(door: Door, raw: bytes, *, piecemeal: bool) -> tuple[int, dict[str, str], dict[str, Any]]:
    async with connected(door) as client:
        await client.send(raw, piecemeal=piecemeal)
        return problem_of(await client.rest())


@pytest.mark.requirement("H-02", "H-08", "B-12")
@pytest.mark.parametrize("piecemeal", [False, True], ids=["at-once", "byte-by-byte"])
@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
async def test_refused(case: dict[str, Any], piecemeal: bool) -> None:
    """What could be framed in two ways gets one problem, a closed connection, and no ERROR in the log."""
    raw = case["request"].encode("latin-1")
    step = 1 if piecemeal and len(raw) < 2000 else 997 if piecemeal else len(raw)
    with no_error_logged():
        async with open_door() as door, connected(door) as client:
            for at in range(0, len(raw), step):
                await client.send(raw[at : at + step])
            status, headers, body = problem_of(await client.rest())
    assert case["status"] == status
    assert "application/problem+json" == headers["content-type"]
    assert "close" == headers["connection"]
    assert "no-store" == headers["cache-control"]
    assert status == body["status"]
    assert [] == [seen for seen in door.seen if "smuggled" in seen["target"]]
    assert 1 == len(door.refusals)


CHUNKED = request("/", "POST", "Transfer-Encoding: Chunked")
ACCEPTED = [
    (request("/a?b=c%20d"), "/a", ""),
    (request("/", "GET", "X:  a b \t ", "x: ;"), "/", ""),
    (b"\r\n" + request("/after-an-empty-line"), "/after-an-empty-line", ""),
    (request("http://APP.example.com/a?b"), "/a", ""),
    (request("HTTP://app.example.com:80"), "/", ""),
    (request("http://app.example.com?b"), "/", ""),
    (
        request("/", "GET", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AA"),
        "/",
        "",
    ),
    (request("/", "GET", "UPGRADE:H2C "), "/", ""),
    (request("/", "POST", "Connection: Upgrade", "Upgrade: h2c", "Content-Length: 2", body=b"ok"), "/", "ok"),
    (
        request("/", "POST", "Upgrade: h2c", "Connection: Upgrade", "Transfer-Encoding: chunked")
        + b"2\r\nok\r\n0\r\n\r\n",
        "/",
        "ok",
    ),
    (b"GET / HTTP/1.1\r\nhost: APP.example.com\r\n\r\n", "/", ""),
    (b"GET / HTTP/1.1\r\nHost: app.example.com:80\r\n\r\n", "/", ""),
    (request("/", "POST", "Content-Length: 5", body=b"hello"), "/", "hello"),
    (request("/", "POST", "Content-Length: 000"), "/", ""),
    (CHUNKED + b"5\r\nhello\r\n1;x=y\r\n!\r\n0\r\n\r\n", "/", "hello!"),
    (request("/", "GET", "Content-Length: 2", body=b"ok"), "/", "ok"),
    (request("//double", "DELETE"), "//double", ""),
    (request("/", "GET", *(f"x-{number}: y" for number in range(99))), "/", ""),
    (request("/", "GET", "X: " + "y" * 32000), "/", ""),
]


@pytest.mark.requirement("H-02")
@pytest.mark.parametrize("piecemeal", [False, True], ids=["at-once", "byte-by-byte"])
@pytest.mark.parametrize(("raw", "target", "body"), ACCEPTED)
async def test_accepted(raw: bytes, target: str, body: str, piecemeal: bool) -> None:
    """What is beyond doubt reaches the application as it was sent, and the connection stays open."""
    async with open_door() as door, connected(door) as client:
        for _ in range(2):
            await client.send(raw, piecemeal=piecemeal and len(raw) < 4000)
            status, headers, answer = await client.answer()
            assert 200 == status
            assert (target, body) == (json.loads(answer)["target"], json.loads(answer)["body"])
            assert "connection" not in headers


async def test_an_offer_is_not_forwarded() -> None:
    """The offer of HTTP/2 and what belongs to it reach nobody."""
    fields = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AA", "X: y")
    async with open_door() as door, connected(door) as client:
        await client.send(request("/", "GET", *fields))
        await client.answer()
    assert ["host", "connection", "x"] == [name for name, _ in door.seen[0]["headers"]]


@pytest.mark.requirement("H-02")
async def test_values_and_trailers() -> None:
    """Blanks around a value are not part of it, and trailers never become headers."""
    raw = request(
        "/", "POST", "X-Padded:\t a b \t", "Transfer-Encoding: chunked", body=b"0\r\nX-CSRF: 1\r\n\r\n"
    )
    async with open_door() as door, connected(door) as client:
        await client.send(raw)
        await client.answer()
    assert [["host", HOST], ["x-padded", "a b"], ["transfer-encoding", "chunked"]] == door.seen[0]["headers"]


@pytest.mark.requirement("H-02")
@pytest.mark.parametrize("piecemeal", [False, True], ids=["at-once", "byte-by-byte"])
async def test_pipelined(piecemeal: bool) -> None:
    """Pipelined requests of all kinds are answered in order, each to its own request."""
    batch = b"".join(
        [
            request("/1"),
            request("/2", "POST", "Content-Length: 3", body=b"two"),
            request("/early/3", "POST", "Content-Length: 5", body=b"three"),
            request("/4", "POST", "Transfer-Encoding: chunked", body=b"4\r\nfour\r\n0\r\nX: y\r\n\r\n"),
            request("/early/5", "POST", "Transfer-Encoding: chunked", body=b"4\r\nfive\r\n0\r\n\r\n"),
            b"\r\n",
            request("/6", "HEAD"),
            request("/7"),
        ]
    )
    async with open_door() as door, connected(door) as client:
        await client.send(batch, piecemeal=piecemeal)
        for target, body in (("/1", ""), ("/2", "two"), (None, ""), ("/4", "four"), (None, "")):
            _, _, answer = await client.answer()
            if target is None:
                assert b"early" == answer
            else:
                assert (target, body) == (json.loads(answer)["target"], json.loads(answer)["body"])
        await client.reader.readuntil(b"\r\n\r\n")
        _, _, answer = await client.answer()
        assert "/7" == json.loads(answer)["target"]
    assert ["/1", "/2", "/4", "/6", "/7"] == [seen["target"] for seen in door.seen]


@pytest.mark.requirement("H-02")
async def test_pipelined_request_waits_for_its_turn() -> None:
    """A pipelined request does not reach the application before the answer in front of it is complete."""
    async with open_door() as door, connected(door) as client:
        await client.send(request("/wait") + request("/after"))
        while not door.seen:
            await client.send(b"")
        assert ["/wait"] == [seen["target"] for seen in door.seen]
        door.release.set()
        assert b"done" == (await client.answer())[2]
        assert "/after" == json.loads((await client.answer())[2])["target"]


@pytest.mark.requirement("H-02")
async def test_refusal_after_good_requests() -> None:
    """What is refused in a pipeline takes nothing away from the answers before it, and nothing follows it."""
    async with open_door() as door, connected(door) as client:
        await client.send(request("/1") + b"GET /2 HTTP/1.1\r\n\r\n" + request("/3"))
        assert "/1" == json.loads((await client.answer())[2])["target"]
        assert 400 == problem_of(await client.rest())[0]
    assert ["/1"] == [seen["target"] for seen in door.seen]


async def test_wrong_host_says_where_it_is() -> None:
    """Somebody who took another name for this server is told the right one."""
    async with open_door() as door:
        status, _, body = await refusal(door, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", piecemeal=False)
    assert (421, "wrong_host") == (status, body["code"])
    assert body["detail"].startswith(f"this is {HOST}: server.public_url has to be the address")
    assert body["detail"].endswith("a reverse proxy in front has to pass Host on as the browser sent it")


@pytest.mark.requirement("B-38")
@pytest.mark.parametrize("field", [b"Sec-Fetch-Mode: navigate", b"accept: text/html,*/*;q=0.8"])
async def test_a_person_gets_a_page_at_the_door(field: bytes) -> None:
    """Who opens a wrong name in a browser reads where to go; a script gets the document as ever."""
    async with open_door() as door, connected(door) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: evil.example\r\n" + field + b"\r\n\r\n")
        head, _, body = (await client.rest()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 421 ")
    assert b"content-type: text/html; charset=utf-8" in head
    assert b"content-security-policy: default-src 'none'" in head
    assert f"content-length: {len(body)}".encode() in head
    assert f"<p>this is {HOST}: ".encode() in body
    assert (
        f'<a href="http://{HOST}/">Open http://{HOST}/</a>'.encode() in body
    )  # not `/`: that is this page again
    assert b"evil" not in body


@pytest.mark.requirement("B-38")
@pytest.mark.parametrize("fields", [b"cookie: " + b"x" * 40_000, b"x: y\r\n" * 200])
async def test_a_person_with_too_many_cookies_gets_a_page(fields: bytes) -> None:
    """431 is what a browser full of cookies meets: as a page where the mode stands in what was read."""
    for field, kind in ((b"sec-fetch-mode: navigate", b"text/html"), (b"x: y", b"application/problem+json")):
        async with open_door() as door, connected(door) as client:
            await client.send(b"GET / HTTP/1.1\r\n" + field + b"\r\n" + fields + b"\r\n\r\n")
            head, _, body = (await client.rest()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 431 ")
        assert b"content-type: " + kind in head
        assert b"xxx" not in body


async def test_refused_head_request_gets_no_body() -> None:
    """An answer to HEAD has no content, also when it is a refusal."""
    async with open_door() as door, connected(door) as client:
        await client.send(b"HEAD / HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        head, _, body = (await client.rest()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 421 ")
    assert b"" == body


@pytest.mark.requirement("H-05")
async def test_expectation() -> None:
    """100 is sent when the application asks for the body, and not to HTTP/1.0."""
    async with open_door() as door:
        async with connected(door) as client:
            await client.send(request("/", "POST", "Content-Length: 5", "Expect: 100-Continue"))
            assert b"HTTP/1.1 100 Continue\r\n\r\n" == await client.reader.readuntil(b"\r\n\r\n")
            await client.send(b"hello")
            assert "hello" == json.loads((await client.answer())[2])["body"]
        async with connected(door) as client:
            await client.send(request("/early", "POST", "Content-Length: 100000", "Expect: 100-continue"))
            assert b"early" == (await client.answer())[2]
            assert b"" == await client.rest()
        async with connected(door) as client:
            raw = request("/", "POST", "Content-Length: 5", "Expect: 100-continue", body=b"hello")
            await client.send(raw.replace(b"HTTP/1.1", b"HTTP/1.0"))
            assert (await client.rest()).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.requirement("H-05", "H-06")
async def test_http_1_0() -> None:
    """An HTTP/1.0 client gets no chunks: its answer ends with the connection, a broken one by a reset."""
    old = request("/stream").replace(b"HTTP/1.1", b"HTTP/1.0")
    async with open_door() as door:
        async with connected(door) as client:
            await client.send(old)
            head, _, body = (await client.rest()).partition(b"\r\n\r\n")
            assert b"transfer-encoding" not in head
            assert b"connection: close" in head
            assert b"onetwoend" == body
        async with connected(door) as client:
            await client.send(request("/").replace(b"HTTP/1.1", b"HTTP/1.0"))
            assert b"content-length" in await client.rest()
        async with connected(door) as client:
            await client.send(old.replace(b"/stream", b"/stream/broken"))
            with pytest.raises(ConnectionResetError):
                await client.rest()


@pytest.mark.requirement("H-06")
async def test_broken_answer() -> None:
    """A chunked answer that breaks off has no last chunk."""
    async with open_door() as door, connected(door) as client:
        await client.send(request("/stream/broken"))
        raw = await client.rest()
    assert raw.endswith(b"3\r\none\r\n3\r\ntwo\r\n")


async def test_bad_chunk_after_the_answer_began() -> None:
    """A body that turns out malformed when its answer is complete ends the connection without a word."""
    async with open_door() as door, connected(door) as client:
        await client.send(request("/early", "POST", "Transfer-Encoding: chunked", body=b"2\r\nok\r\n"))
        assert b"early" == (await client.answer())[2]
        await client.send(b"zz\r\n")
        assert b"" == await client.rest()
    assert [] == door.refusals


async def test_bad_chunk_during_the_answer() -> None:
    """A body that turns out malformed while its answer streams breaks the answer."""
    async with open_door() as door, connected(door) as client:
        await client.send(request("/flood", "POST", "Transfer-Encoding: chunked", body=b"2\r\nok\r\n"))
        await client.reader.readuntil(b"\r\n\r\n")
        await client.send(b"zz\r\n")
        with pytest.raises(ConnectionResetError):
            await client.rest()
    assert [] == door.refusals


async def test_more_pipelined_than_one_can_hold() -> None:
    """Whoever goes on pipelining without an answer is paused, and costs a bounded amount of memory."""
    async with open_door() as door, connected(door) as client:
        await client.send(request("/wait"))
        while not door.seen:
            await client.send(b"")
        client.writer.transport.set_write_buffer_limits(high=1 << 30)
        client.writer.write(request("/x") * 200_000)
        for _ in range(200):
            await client.send(b"")
        assert door.server is not None
        (connection,) = door.server.server_state.connections
        assert 1024 * 1024 >= len(connection._flow.held)  # type: ignore[union-attr] # only ours has it
        client.writer.transport.abort()


@pytest.mark.requirement("H-09")
async def test_shutdown() -> None:
    """At a stop idle connections close at once, and a busy one after its answer."""
    async with open_door() as door, connected(door) as idle, connected(door) as busy:
        await idle.send(request("/"))
        await idle.answer()
        await busy.send(request("/wait"))
        while len(door.seen) < 2:
            await busy.send(b"")
        assert door.server is not None
        for connection in list(door.server.server_state.connections):
            connection.shutdown()
        assert b"" == await idle.rest()
        door.release.set()
        status, headers, _ = await busy.answer()
        assert (200, "close") == (status, headers["connection"])
        assert b"" == await busy.rest()
