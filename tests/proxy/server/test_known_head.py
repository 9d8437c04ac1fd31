"""Heads whose fields are known from the request before: judged alike, told apart by their bytes."""

import json

import pytest

from tests.support.network.server_harness import HOST, connected, open_door, request

PLAIN = request("/a?b=c", "GET", "X-One: 1")


@pytest.mark.requirement("H-02")
@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET /a?b=c HTTP/1.1", 200),
        (b"DELETE /other HTTP/1.1", 200),
        (b"helloGET /a HTTP/1.1", 400),  # behind an A to Z, the parser knows which methods there are
        (b"HELLO /a HTTP/1.1", 400),
        (b"GET /a HTTP/1.2", 400),
        (b"GET /a#b HTTP/1.1", 400),
        (b"GET a HTTP/1.1", 400),
        (b"GET  /a HTTP/1.1", 400),
        (b"GET /\x00 HTTP/1.1", 400),
        (b"GET http://evil/ HTTP/1.1", 400),
        (b"TRACE / HTTP/1.1", 405),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1", 431),
    ],
)
async def test_a_request_line_before_known_fields_is_judged(line: bytes, status: int) -> None:
    """The fields have been seen before, byte for byte; the line is judged as if they had not."""
    head = line + PLAIN[PLAIN.index(b"\r\n") :]
    async with open_door() as door:
        for sent_before in (0, 1, 2):
            async with connected(door) as client:
                for _ in range(sent_before):
                    await client.send(PLAIN)
                    assert 200 == (await client.answer())[0]
                await client.send(head)
                assert status == (await client.answer())[0]


async def test_the_application_sees_no_difference() -> None:
    """Method, target, fields and the empty body are those of the request, known fields or not."""
    async with open_door() as door, connected(door) as client:
        for number in range(4):
            await client.send(request(f"/{number}?q", "GET", "X-One: 1"))
            status, _, answer = await client.answer()
            assert (200, f"/{number}", "") == (
                status,
                json.loads(answer)["target"],
                json.loads(answer)["body"],
            )
    assert 1 == len({json.dumps(seen["headers"]) for seen in door.seen})
    assert [["host", HOST], ["x-one", "1"]] == door.seen[-1]["headers"]


async def test_other_fields_are_other_fields() -> None:
    """One byte of difference, a longer field, a body behind it: never taken for the request before."""
    others = [
        request("/a?b=c", "GET", "X-One: 2"),
        request("/a?b=c", "GET", "X-One: 1", "X-Two: 2"),
        request("/a?b=c", "POST", "X-One: 1", "Content-Length: 2", body=b"hi"),
        request("/a?b=c", "GET", "X-One:1"),
    ]
    for other in others:
        async with open_door() as door, connected(door) as client:
            for raw in (PLAIN, PLAIN, other, PLAIN):
                await client.send(raw)
                assert 200 == (await client.answer())[0]
        expected = [["host", HOST], ["x-one", "1"]]
        assert [expected, expected, expected] == [door.seen[at]["headers"] for at in (0, 1, 3)]
        assert (expected == door.seen[2]["headers"]) is (other is others[3])


async def test_an_empty_line_before_each_request() -> None:
    """Old clients send one behind a body: it is skipped each time, known fields or not."""
    async with open_door() as door, connected(door) as client:
        for _ in range(4):
            await client.send(b"\r\n")
            await client.send(PLAIN)
            assert 200 == (await client.answer())[0]
        for _ in range(3):
            await client.send(b"\r\n" + PLAIN)
            assert 200 == (await client.answer())[0]
        await client.send(b"\r\n\r\n" + PLAIN)
        assert 400 == (await client.answer())[0]
