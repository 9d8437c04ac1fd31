"""How much of one client's input is handled in one turn of the loop: by counters, never by a clock (H-12)."""

from typing import Any

import pytest

from bff.policy.chunked_body import MOST_LINES, ChunkedContent, FramingError
from bff.proxy.server import websocket_protocol
from bff.proxy.server.asgi_bridge import AsgiBridge
from tests.support.network.server_harness import connected, open_door, problem_of, request

CHUNKED = request("/", "POST", "Transfer-Encoding: chunked")

pytestmark = pytest.mark.requirement("H-12")


def chunks(content: bytes, number: int) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content) * number


def refused_at(data: bytes, cut: int) -> int:
    """The number of the piece of at most `cut` bytes, times `cut`, whose bytes are refused."""
    body, taken = ChunkedContent(), 0
    for end in range(6, len(data), 6):  # a chunk's end: pieces end there too
        try:
            while taken < end:
                taken += body.take(data[taken : min(end, taken + cut)])[1]
        except FramingError:
            return end
    raise AssertionError("it is taken whole")


@pytest.mark.parametrize("cut", [1, 4, 6])
def test_framing_is_bounded_against_content(cut: int) -> None:
    """Chunks that are mostly framing are refused, at the same byte however they arrive."""
    assert refused_at(chunks(b"a", 10_000), 1) == refused_at(chunks(b"a", 10_000), cut)
    assert 3_000 < refused_at(chunks(b"a", 10_000), cut) // 6 < 5_000


def test_small_chunks_with_enough_content_go_on() -> None:
    """Lines of some bytes each, as a stream sends them, are never too many."""
    data, body, turns = chunks(b"a line of a log", 50_000), ChunkedContent(), 0
    while data:
        _, taken = body.take(data)
        assert taken <= MOST_LINES * 20
        data, turns = data[taken:], turns + 1
    assert 20 < turns


async def test_one_byte_chunks() -> None:
    """A body in chunks of one byte is refused with 400."""
    async with open_door() as door, connected(door) as client:
        await client.send(CHUNKED + chunks(b"a", 200_000))
        assert 400 == problem_of(await client.rest())[0]


async def test_content_is_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one read brings is handed on in one piece, turn by turn, and nothing of it is lost."""
    pieces: list[bytes] = []
    take = AsgiBridge.body

    def counted(self: Any, content: bytes) -> None:
        pieces.append(content)
        take(self, content)

    monkeypatch.setattr(AsgiBridge, "body", counted)
    async with open_door() as door, connected(door) as client:
        await client.send(CHUNKED + chunks(b"0123456", 9_000) + b"0\r\n\r\n" + request("/next"))
        assert 200 == (await client.answer())[0]
        assert 200 == (await client.answer())[0]
    assert b"0123456" * 9_000 == b"".join(pieces)
    assert 4 < len(pieces) < 100
    assert max(map(len, pieces)) <= MOST_LINES * 7


def test_a_turn_of_a_websocket_is_short() -> None:
    """The smallest frame of a client has seven bytes."""
    assert websocket_protocol._TURN // 7 < 1200
