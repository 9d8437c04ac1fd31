"""The questions that a server is asked while its changes are followed, on paper."""

from typing import Any

import pytest

from bff.session.client_tracking import FeedBrokenError, MasterQuestion
from bff.session.redis_connection import new_connection
from bff.settings.model import RedisSettings

INFO = "# Replication\r\nrole:{}\r\nconnected_slaves:0\r\n"


def question() -> MasterQuestion:
    return MasterQuestion(new_connection(RedisSettings()))


@pytest.mark.parametrize("answer", [["master", 0, []], INFO.format("master")])
def test_a_master_is_followed(answer: Any) -> None:
    """By the answer to ROLE, or to INFO where that is refused."""
    question().settle(answer)


@pytest.mark.parametrize(
    "answer", [["slave", "h", 1, "connected", 0], INFO.format("slave"), [], "", None, "OK"]
)
def test_anything_else_is_not(answer: Any) -> None:
    """A replica, and what is no answer to the question."""
    with pytest.raises(FeedBrokenError):
        question().settle(answer)


def test_there_is_one_other_question() -> None:
    """A server that refuses ROLE is asked for INFO; one that refuses that as well is asked nothing more."""
    asked = question()
    assert ["ROLE"] == list(asked.words)
    assert asked.refused()
    assert ["INFO", "replication"] == list(asked.words)
    assert not asked.refused()
