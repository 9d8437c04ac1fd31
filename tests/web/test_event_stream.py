"""A stream of `/bff/events` whose client reads slowly, or not at all."""

import asyncio

import pytest
from starlette.types import Message

from bff.errors import Problem
from bff.session.expiry_watch import Watched
from bff.session.model import EndReason
from bff.session.page_events import Refreshed
from bff.session.sessions import Found, NoSession
from bff.tasks import Tasks
from bff.web.event_stream import EventStream
from tests.session.sample import sample_session

pytestmark = pytest.mark.requirement("S-03")


class Client:
    """The server's side of a client: `gate` is closed while it does not read."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.said = b""
        self.ended = False
        self.leaves = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            return
        await self.gate.wait()
        if self.leaves:
            raise OSError
        self.said += message["body"]
        self.ended = not message["more_body"]


async def begun(client: Client, tasks: Tasks) -> EventStream:
    stream = EventStream(client.send, tasks, Watched(Found("handle", sample_session())), 1)
    await stream.begin()
    return stream


async def test_heartbeats_do_not_pile_up() -> None:
    """While the client does not read none is kept for it, and news is."""
    client, tasks = Client(), Tasks()
    stream = await begun(client, tasks)
    await asyncio.sleep(0)
    for _ in range(1000):
        stream.beat()
    stream.announce((Refreshed(1),))
    stream.announce((Refreshed(2),))
    assert 1 == len(tasks)
    client.gate.set()
    assert [] == await tasks.drain(60)
    assert (
        b"retry: 1000\n\n"
        + b"".join(b'event: refreshed\ndata: {"rotations": %d}\n\n' % number for number in (1, 2))
        == client.said
    )
    assert not client.ended


async def test_nothing_follows_the_end() -> None:
    """The end is the last word, said once, whatever else happens then."""
    client, tasks = Client(), Tasks()
    stream = await begun(client, tasks)
    stream.over(NoSession(Problem.SESSION_ENDED, EndReason.LOGOUT))
    stream.announce((Refreshed(1),))
    stream.drain()
    stream.beat()
    client.gate.set()
    assert [] == await tasks.drain(60)
    assert client.said.endswith(b'data: {"code": "session_ended", "reason": "logout"}\n\n')
    assert 1 == client.said.count(b"event:")
    assert client.ended


async def test_a_client_that_has_left() -> None:
    """A server that says so by an error makes no noise."""
    client, tasks = Client(), Tasks()
    client.leaves = True
    client.gate.set()
    stream = await begun(client, tasks)
    stream.beat()
    assert [] == await tasks.drain(60)
    assert b"" == client.said
