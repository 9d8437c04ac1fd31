"""Slow, silent and vanishing clients of the server protocol: every wait has an end."""

import contextlib
import json
import time

import pytest

from tests.support.network.server_harness import connected, open_door, problem_of, request


@pytest.mark.requirement("H-08")
async def test_slow_head() -> None:
    """A head that does not become complete is answered 408, however steadily it drips."""
    async with open_door(head_timeout=0.2) as door, connected(door) as client:
        await client.send(b"GET / HTTP/1.1\r\nX: ")
        while not door.refusals:
            await client.send(b"y")
        status, _, body = problem_of(await client.rest())
    assert (408, "request_timeout") == (status, body["code"])


@pytest.mark.requirement("H-08")
async def test_slow_body() -> None:
    """A body that stops is answered 408, and the application learns that its client has gone."""
    async with open_door(body_timeout=0.2) as door, connected(door) as client:
        await client.send(request("/slow", "POST", "Content-Length: 5", body=b"he"))
        assert 408 == problem_of(await client.rest())[0]
    assert ["/slow"] == door.gone


@pytest.mark.requirement("H-08")
async def test_body_that_keeps_coming() -> None:
    """A body that goes on coming is no slow body, whatever it takes in all."""
    async with open_door(body_timeout=0.6) as door, connected(door) as client:
        started = time.monotonic()
        await client.send(request("/", "POST", "Transfer-Encoding: chunked"))
        while time.monotonic() - started < 0.7:
            await client.send(b"8\r\nsome way\r\n")
        await client.send(b"0\r\n\r\n")
        assert 200 == (await client.answer())[0]


@pytest.mark.requirement("H-08")
async def test_silent_connection() -> None:
    """A connection on which nothing comes is closed without a word."""
    async with open_door() as door:
        assert door.server is not None
        door.server.config.timeout_keep_alive = 0
        async with connected(door) as client:
            assert b"" == await client.rest()
    assert [] == door.refusals


@pytest.mark.requirement("H-08")
@pytest.mark.parametrize("path", ["/flood", "/large"])
async def test_client_that_does_not_read(path: str) -> None:
    """A client that reads nothing loses its connection, whether or not the application still writes."""
    async with open_door(write_timeout=0.2) as door, connected(door) as client:
        client.stop_reading()
        await client.send(request(path))
        assert door.server is not None
        state = door.server.server_state
        while not state.connections:
            await client.send(b"")
        while state.connections:
            await client.send(b"")
        while state.tasks:
            await client.send(b"")


@pytest.mark.requirement("H-08", "H-09")
async def test_unread_answer_of_a_closed_connection() -> None:
    """An answer that nobody reads does not keep a connection alive that was to be closed after it."""
    async with open_door(write_timeout=0.2) as door, connected(door) as client:
        client.stop_reading()
        await client.send(request("/large", "GET", "Connection: close"))
        assert door.server is not None
        while not door.server.server_state.connections:
            await client.send(b"")
        while door.server.server_state.connections:
            await client.send(b"")


@pytest.mark.requirement("H-08")
async def test_little_unread_of_a_closed_connection() -> None:
    """The same where so little is unread that the transport's buffer never counts as full."""
    async with (
        open_door(write_timeout=0.2, small_buffers=True) as door,
        connected(door, small_buffers=True) as client,
    ):
        client.stop_reading()
        await client.send(request("/medium", "GET", "Connection: close"))
        assert door.server is not None
        while not door.server.server_state.connections:
            await client.send(b"")
        while door.server.server_state.connections:
            await client.send(b"")


@pytest.mark.requirement("H-08")
async def test_client_that_is_made_to_wait() -> None:
    """A client that waits for our 100 is not slow."""
    async with open_door(body_timeout=0.4) as door, connected(door) as client:
        started = time.monotonic()
        await client.send(request("/wait", "POST", "Content-Length: 5", "Expect: 100-continue"))
        while time.monotonic() - started < 0.5:
            await client.send(b"")
        door.release.set()
        assert b"done" == (await client.answer())[2]


async def test_late_answer_after_a_refusal(caplog: pytest.LogCaptureFixture) -> None:
    """An application that answers a request refused meanwhile writes nothing, and does not fail."""
    async with open_door() as door, connected(door) as client:
        await client.send(request("/wait", "POST", "Transfer-Encoding: chunked", body=b"zz\r\n"))
        assert 400 == problem_of(await client.rest())[0]
        door.release.set()
        assert door.server is not None
        while door.server.server_state.tasks:
            await client.send(b"")
    assert [] == caplog.records


@pytest.mark.requirement("H-08")
async def test_early_answer_small_rest() -> None:
    """After an early answer a short rest of the body is thrown away, and the connection goes on."""
    async with open_door() as door, connected(door) as client:
        await client.send(request("/early", "POST", "Content-Length: 60000"))
        assert b"early" == (await client.answer())[2]
        await client.send(bytes(60000) + request("/next"))
        assert "/next" == json.loads((await client.answer())[2])["target"]
    assert ["/next"] == [seen["target"] for seen in door.seen]


@pytest.mark.requirement("H-08")
@pytest.mark.parametrize("framing", ["Content-Length: 10000000", "Transfer-Encoding: chunked"])
async def test_early_answer_long_rest(framing: str) -> None:
    """After an early answer a long rest is not read: the answer arrives, and the connection ends."""
    async with open_door() as door, connected(door) as client:
        await client.send(request("/early", "POST", framing))
        if "chunked" in framing:
            await client.send(b"989680\r\n")
        assert b"early" == (await client.answer())[2]
        for _ in range(20):
            await client.send(bytes(16 * 1024))
        with contextlib.suppress(ConnectionError):  # what is sent after the end may be answered by a reset
            assert b"" == await client.rest()
        assert door.server is not None
        while door.server.server_state.connections:
            await client.send(b"")
    assert [] == door.seen
