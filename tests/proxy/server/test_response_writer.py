"""The response writer: what leaves, in how many writes."""

import asyncio
from typing import Any, cast

import pytest

from bff.proxy.server.request_parser import Head
from bff.proxy.server.response_writer import ResponseWriter

OLD = Head(b"GET", b"/", b"", [], http_1_0=True, keep_alive=False)


class Recorded:
    """A transport, and a server's state: what is written to it is kept; it may be lost."""

    def __init__(self) -> None:
        self.default_headers = [(b"date", b"today")]
        self.writes: list[bytes | memoryview] = []
        self.lost = False

    def write(self, data: bytes | memoryview) -> None:
        assert not self.lost, "uvloop refuses to write to a lost connection"
        self.writes.append(data)

    def is_closing(self) -> bool:
        return self.lost


def made() -> tuple[Recorded, ResponseWriter]:
    recorded = Recorded()
    transport = cast("Any", recorded)
    return recorded, ResponseWriter(transport, asyncio.get_running_loop(), recorded)


@pytest.mark.requirement("H-13")
async def test_a_head_that_waits_is_not_written_to_a_lost_connection() -> None:
    """The client resets between the head and the loop's next turn: nothing is written, and nothing raises."""
    recorded, writer = made()
    writer.head(200, [(b"content-length", b"5")])
    recorded.lost = True
    await asyncio.sleep(0)
    assert [] == recorded.writes
    writer.end()
    assert [] == recorded.writes


async def test_one_write_for_a_whole_answer() -> None:
    """The head waits for its content, in chunks or not."""
    for fields, expected in (
        ([(b"content-length", b"2")], b"content-length: 2\r\n\r\nok"),
        ([], b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n"),
    ):
        recorded, writer = made()
        writer.head(200, fields)
        writer.data(b"ok")
        await asyncio.sleep(0)
        assert [b"HTTP/1.1 200 OK\r\ndate: today\r\n" + expected] == recorded.writes


async def test_a_head_without_content_leaves_in_the_next_turn() -> None:
    """An event stream that has nothing to say yet begins all the same."""
    recorded, writer = made()
    writer.head(200, [])
    assert [] == recorded.writes
    await asyncio.sleep(0)
    assert 1 == len(recorded.writes)


@pytest.mark.requirement("H-05")
async def test_an_old_client_gets_no_chunks() -> None:
    """An answer of unknown length to HTTP/1.0 ends with the connection."""
    recorded, writer = made()
    writer.begin(OLD)
    writer.head(200, [])
    writer.data(b"ok")
    writer.end()
    assert [b"HTTP/1.1 200 OK\r\ndate: today\r\nconnection: close\r\n\r\nok"] == recorded.writes
    assert writer.endless


async def test_much_content_is_not_copied() -> None:
    """A view of what came is written as it is, behind its head."""
    recorded, writer = made()
    content = memoryview(b"x" * 20_000)
    writer.part(200, [b"content-length: 20000\r\n"], content)
    head, written = recorded.writes
    assert b"HTTP/1.1 200 OK\r\ndate: today\r\ncontent-length: 20000\r\n\r\n" == head
    assert written is content


async def test_the_default_headers_are_those_of_now() -> None:
    """Uvicorn makes the list anew each second."""
    recorded, writer = made()
    writer.part(204, [], b"")
    recorded.default_headers = [(b"date", b"tomorrow")]
    writer.part(204, [], b"")
    assert [b"today", b"tomorrow"] == [bytes(sent).split(b"\r\n")[1][6:] for sent in recorded.writes]
