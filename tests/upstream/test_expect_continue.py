"""A backend that takes no `Expect: 100-continue` (RFC 9110, 10.1.1)."""

import pytest

from bff.upstream.expect_continue import Expectation
from bff.upstream.interfaces import FaultKind
from tests.support.network.backend import Conversation, raw_backend
from tests.support.network.upstream import begin, fetch, pool_for, request

REFUSED = b"HTTP/1.1 417 Expectation Failed\r\ncontent-length: 0\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


def test_it_is_remembered_for_a_while() -> None:
    """Ten minutes, and again after the next refusal."""
    expectation = Expectation()
    assert expectation.may_be_sent(0.0)
    expectation.refused(100.0)
    assert not expectation.may_be_sent(699.0)
    assert expectation.may_be_sent(700.0)
    expectation.refused(700.0)
    assert not expectation.may_be_sent(701.0)


@pytest.mark.parametrize("length", [6, None])
async def test_what_was_held_is_handed_back(length: int | None) -> None:
    """Nothing of the body was sent: it is all there for the next attempt, which expects nothing."""
    heads: list[bytes] = []

    async def script(conversation: Conversation) -> None:
        head = await conversation.read_head()
        assert head is not None
        heads.append(head.raw_head)
        if head.values(b"expect"):
            await conversation.send(REFUSED)
            assert b"" == await conversation.closed()
        else:
            assert b"abcdef" == await conversation.read_body(head)
            await conversation.send(OK)

    async with raw_backend(script) as b, pool_for(b.upstream) as pool:
        asked = request(b"POST", length=length, expect=True)
        call, first = await begin(pool, asked, b"abc")
        call.write(b"def")
        call.finish()
        await first.done()
        assert first.fault is not None
        assert (FaultKind.EXPECTATION, (b"abc", b"def")) == (first.fault.kind, first.fault.unsent)
        assert b"abc" not in repr(first.fault).encode()
        call, second = await begin(pool, asked, b"abcdef")
        call.finish()
        assert (b"hi", "end") == ((await second.done()).body, second.events[-1])
    assert [1, 0] == [head.count(b"expect:") for head in heads]


async def test_a_417_to_nothing_of_ours_is_an_answer() -> None:
    """Without an expectation it is the backend's word about something else."""

    async def script(conversation: Conversation) -> None:
        while (head := await conversation.read_head()) is not None:
            heads.append(head.raw_head)
            if not head.values(b"expect"):
                await conversation.read_body(head)
            await conversation.send(REFUSED)

    heads: list[bytes] = []
    async with raw_backend(script) as b, pool_for(b.upstream) as pool:
        assert 417 == (await fetch(pool, request(b"POST", length=2), b"hi")).status
        asked = request(b"POST", length=2, expect=True)
        assert (await fetch(pool, asked, b"hi")).fault is not None
    assert [0, 1] == [head.count(b"expect:") for head in heads]
