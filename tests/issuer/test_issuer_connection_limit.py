"""The number of an issuer's connections is bounded."""

import asyncio
import resource
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bff.issuer import connection_limit, request_time
from bff.issuer.connection_limit import ConnectionLimit, most_connections
from tests.issuer.slow_server import HEAD, LONG, WHOLE, Served, serving
from tests.support.wait import until

MOST = 3


class Peer:
    """A connection that notes that it was told to go."""

    def __init__(self) -> None:
        self.gone = False

    def give_way(self) -> None:
        self.gone = True


def test_the_longest_wait_gives_way() -> None:
    """Of those that wait, by the beginning of their present wait; those at work stay."""
    limit = ConnectionLimit(MOST)
    first, second, third, fourth, fifth = (Peer() for _ in range(5))
    for peer in (first, second, third):
        assert limit.admit(peer)
        limit.wait(peer)
    limit.work(first)
    limit.wait(second)  # its next request: third waits longest now
    assert limit.admit(fourth)
    assert [False, False, True] == [peer.gone for peer in (first, second, third)]
    limit.work(fourth)
    limit.work(second)
    assert not limit.admit(fifth)
    limit.leave(first)
    assert limit.admit(fifth)


def test_a_connection_that_has_left_takes_no_place() -> None:
    """Neither by a wait that begins behind its end, nor by a second end."""
    limit = ConnectionLimit(1)
    gone, here = Peer(), Peer()
    assert limit.admit(gone)
    limit.leave(gone)
    limit.wait(gone)
    limit.leave(gone)
    assert limit.admit(here)
    assert not limit.admit(Peer())
    assert not gone.gone


def test_the_log_counts_in_one_line() -> None:
    """The first at once, the others with the next line after ten seconds."""
    now = [0.0]
    limit = ConnectionLimit(1, lambda: now[0])
    busy = Peer()
    limit.admit(busy)
    with capture_logs() as lines:
        for _ in range(5):
            limit.admit(Peer())
        now[0] = connection_limit.LOG_INTERVAL
        limit.wait(busy)
        limit.admit(Peer())
    assert [(1, 1, 0), (1, 4, 1)] == [(line["most"], line["refused"], line["closed"]) for line in lines]
    assert {"connections_full"} == {line["event"] for line in lines}


@pytest.mark.parametrize(
    ("soft", "most"), [(64, 48), (1024, 768), (100_000, 1000), (resource.RLIM_INFINITY, 1000)]
)
def test_descriptors_are_left_for_others(monkeypatch: pytest.MonkeyPatch, soft: int, most: int) -> None:
    """However few the process may have."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, soft))
    assert most == most_connections()


@pytest.fixture(name="served", params=[H11Protocol, HttpToolsProtocol], ids=["h11", "httptools"])
async def _served(request: pytest.FixtureRequest) -> AsyncIterator[Served]:
    async with serving(request_time.timed(request.param, ConnectionLimit(MOST))) as served:
        yield served


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def opened(served: Served, sent: bytes) -> list[Stream]:
    """As many connections as there are places, one after the other."""
    streams: list[Stream] = []
    for number in range(MOST):
        streams.append(await served.connect())
        streams[-1][1].write(sent)
        await until(lambda: served.connections() == number + 1)  # noqa: B023 - awaited at once
    return streams


async def answer(stream: Stream) -> bytes:
    stream[1].write(WHOLE)
    return await stream[0].readuntil(b"abcd")


def close(*streams: Stream) -> None:
    for _, writer in streams:
        writer.close()


@pytest.mark.parametrize("sent", [b"", HEAD[:19], LONG], ids=["nothing", "half a head", "half a body"])
async def test_slow_clients_do_not_keep_others_out(served: Served, sent: bytes) -> None:
    """The one that has waited longest is closed, and no other."""
    slow = await opened(served, sent)
    new = await served.connect()
    assert (await answer(new)).startswith(b"HTTP/1.1 200 OK")
    assert b"" == await slow[0][0].read()
    assert MOST == served.connections()
    close(*slow, new)


async def test_an_idle_connection_gives_way(served: Served) -> None:
    """The one whose answer was the first, though it is not the oldest."""
    idle = await opened(served, b"")
    for stream in (idle[1], idle[2], idle[0]):
        await answer(stream)
    new = await served.connect()
    assert (await answer(new)).startswith(b"HTTP/1.1 200 OK")
    assert b"" == await idle[1][0].read()
    assert b"" != await answer(idle[2])
    assert b"" != await answer(idle[0])
    close(*idle, new)


async def test_where_all_are_busy_a_new_one_is_refused(served: Served) -> None:
    """With 503, whatever it sends; what is under way is answered, and then there is a place again."""
    served.answers.clear()
    busy = await opened(served, WHOLE)
    await until(lambda: len(served.server.server_state.tasks) == MOST)
    with capture_logs() as lines:
        reader, writer = await served.connect()
        writer.write(LONG + b"x" * 4000)
        refusal = await reader.read()
        writer.close()
    head, _, body = refusal.partition(b"\r\n\r\n")
    assert (b"HTTP/1.1 503 Service Unavailable", True) == (head.splitlines()[0], b"Retry-After: 2" in head)
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"temporarily_unavailable" in body
    assert [("connections_full", "warning", 1)] == [
        (line["event"], line["log_level"], line["refused"]) for line in lines
    ]
    served.answers.set()
    for stream in busy:
        assert (await stream[0].readuntil(b"abcd")).startswith(b"HTTP/1.1 200 OK")
    new = await served.connect()
    assert (await answer(new)).startswith(b"HTTP/1.1 200 OK")
    close(*busy, new)


async def test_refused_connections_do_not_stay(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one that says nothing, nor more of them than are told why."""
    monkeypatch.setattr(request_time, "REFUSAL", 0.5)
    monkeypatch.setattr(request_time, "MOST_REFUSALS", 2)
    served.answers.clear()
    busy = await opened(served, WHOLE)
    await until(lambda: len(served.server.server_state.tasks) == MOST)
    refused = [await served.connect() for _ in range(5)]
    for reader, _ in refused:
        assert b"" == await reader.read()
    served.answers.set()
    close(*busy, *refused)
