"""A request's body as its call keeps it: what can be sent a second time (T-11)."""

from typing import Any, cast

import pytest

from bff.proxy.forward.request_body import NO_BODY, RequestBody
from bff.settings.model import RouteSettings


class Client:
    """Takes the words to the client's side."""

    paused = False

    def pause_request(self) -> None:
        self.paused = True

    def resume_request(self) -> None:
        self.paused = False


def upload(buffer: int = 4, *, client: Any = None) -> RequestBody:
    settings = RouteSettings.model_validate(
        {"path": "/api", "upstream": "http://backend", "replay_buffer": buffer, "max_body": 8}
    )
    return RequestBody(settings, client or cast("Any", Client()), lambda: None)


@pytest.mark.requirement("T-11")
async def test_a_body_within_the_limit_can_be_sent_again() -> None:
    """Up to exactly the limit every piece is kept, in order, however often it is sent."""
    body = upload()
    for chunk in (b"ab", b"cd"):
        assert body.add(chunk)
    body.end()
    assert (True, True) == (body.gathered, body.at_hand)
    assert b"abcd" == body.take() == body.take()
    assert body.replayable


@pytest.mark.requirement("T-11")
async def test_an_unfinished_body_can_be_sent_again() -> None:
    """What has come begins a new attempt; the rest follows, and is kept for the next one."""
    body = upload()
    body.add(b"ab")
    assert b"ab" == body.take()
    body.add(b"c")
    assert b"abc" == body.take()
    assert (True, False) == (body.replayable, body.at_hand)


@pytest.mark.requirement("T-11")
async def test_a_longer_body_is_forgotten_for_good() -> None:
    """One byte beyond the limit, once a part was sent, ends the replay; nothing brings it back."""
    body = upload()
    body.add(b"abcd")
    assert (True, b"abcd") == (body.gathered, body.take())
    body.add(b"e")
    assert (False, b"") == (body.replayable, body.take())
    body.add(b"f")
    assert (False, b"") == (body.replayable, body.take())


async def test_what_was_gathered_is_sent_even_where_one_read_was_too_much() -> None:
    """A read beyond the limit is kept until more comes: it is here, and costs nothing more."""
    body = upload()
    body.add(b"abcdef")
    assert b"abcdef" == body.take()
    assert (True, False) == (body.replayable, body.at_hand)
    body.add(b"g")
    assert not body.replayable


async def test_no_limit_no_replay() -> None:
    """A limit of 0 keeps nothing of a body that was sent."""
    body = upload(0)
    body.add(b"a")
    assert (True, b"a") == (body.gathered, body.take())
    assert (False, b"") == (body.replayable, body.take())


async def test_what_was_not_sent_after_all_begins_anew() -> None:
    """After a refused expectation the body that was held is all that has come, and nothing was sent."""
    body = upload(0)
    body.add(b"ab")
    body.take()
    body.restart((b"ab",))
    assert (True, b"ab") == (body.replayable, body.take())


async def test_a_body_beyond_the_routes_bound_is_not_taken() -> None:
    """The byte that is one too many is told at once."""
    body = upload()
    assert body.add(b"x" * 8)
    assert not body.add(b"x")


async def test_the_client_waits_until_it_is_asked() -> None:
    """A body waits when it is announced, goes on when it is wanted, and is never late once it is here."""
    client = Client()
    body = upload(client=client)
    assert client.paused
    body.want()
    assert not client.paused
    body.hold()
    assert client.paused
    body.end()
    assert body._timer is None
    body.hold()
    assert (True, b"") == (NO_BODY.at_hand, NO_BODY.take())
