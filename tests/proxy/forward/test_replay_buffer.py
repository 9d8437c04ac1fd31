"""The replay buffer: what a second attempt can be made of (T-11)."""

import pytest

from bff.proxy.forward.replay_buffer import ReplayBuffer


@pytest.mark.requirement("T-11")
def test_a_body_within_the_limit_can_be_sent_again() -> None:
    """Up to exactly the limit every piece is kept, in order."""
    buffer = ReplayBuffer(4)
    for chunk in (b"ab", b"", b"cd"):
        buffer.add(chunk)
    assert (b"ab", b"cd") == buffer.chunks()
    assert (True, 4) == (buffer.replayable, buffer.size)


def test_an_unfinished_body_can_be_sent_again() -> None:
    """What is held begins a new attempt; what comes later is added to both."""
    buffer = ReplayBuffer(4)
    buffer.add(b"ab")
    held = buffer.chunks()
    buffer.add(b"c")
    assert ((b"ab",), (b"ab", b"c")) == (held, buffer.chunks())
    assert buffer.replayable


@pytest.mark.requirement("T-11")
def test_a_longer_body_is_forgotten_for_good() -> None:
    """One byte beyond the limit ends the replay and frees the memory; nothing brings it back."""
    buffer = ReplayBuffer(4)
    buffer.add(b"abcd")
    buffer.add(b"e")
    buffer.add(b"")
    buffer.add(b"f")
    assert (False, 0) == (buffer.replayable, buffer.size)
    with pytest.raises(LookupError):
        buffer.chunks()


def test_no_limit_no_replay() -> None:
    """A limit of 0 keeps the empty body alone replayable."""
    assert ReplayBuffer(0).replayable
    buffer = ReplayBuffer(0)
    buffer.add(b"a")
    assert not buffer.replayable


def test_dropped_by_hand() -> None:
    """Who knows that no replay will be wanted gives the memory back."""
    buffer = ReplayBuffer(4)
    buffer.add(b"ab")
    buffer.drop()
    assert (False, 0) == (buffer.replayable, buffer.size)


def test_a_buffer_can_begin_with_what_was_gathered() -> None:
    """Pieces that came before it was made count towards the limit like those that come later."""
    buffer = ReplayBuffer(4)
    buffer.keep([b"ab", b"c"])
    buffer.add(b"d")
    assert (True, 4, (b"ab", b"c", b"d")) == (buffer.replayable, buffer.size, buffer.chunks())
    buffer.add(b"e")
    assert (False, 0) == (buffer.replayable, buffer.size)
