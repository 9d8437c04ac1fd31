"""Refusals of Redis in words for an operator."""

from ssl import SSLCertVerificationError

import pytest
from redis._parsers.base import BaseParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from bff.session.redis_errors import trouble

STATES = {
    "MISCONF Redis is configured to save RDB snapshots": "room on its disk",
    "NOREPLICAS Not enough good replicas to write.": "min-replicas-to-write",
    "CLUSTERDOWN The cluster is down": "slots without a master",
    "MASTERDOWN Link with MASTER is down": "its replication",
    "BUSY Redis is busy running a script.": "SCRIPT KILL",
    "READONLY You can't write against a read only replica.": "name the primary",
    "OOM command not allowed when used memory > 'maxmemory'.": "raise maxmemory",
    "LOADING Redis is loading the dataset in memory": "wait",
    "NOPERM this user has no permissions to run the 'set' command": "+set",
}


@pytest.mark.parametrize("said", STATES)
def test_a_refusal_is_named_with_its_remedy(said: str) -> None:
    """As redis-py reads it, and as it stands in a batch; none of Redis' own words is repeated."""
    code, _, words = said.partition(" ")
    told = trouble(BaseParser.parse_error(said))  # type: ignore[no-untyped-call] # redis-py gives it no types
    assert f"({code})" in told.detail
    assert STATES[said] in told.fix
    assert words not in told.detail
    if code != "NOPERM":
        assert told == trouble(ResponseError(said))


def test_what_is_not_known_is_named_by_its_kind() -> None:
    """A refusal of another kind, and a server that is not reached."""
    assert "it refuses (ResponseError)" == trouble(ResponseError("ERR something bff:session:k")).detail
    refused = RedisConnectionError("x")
    refused.__cause__ = SSLCertVerificationError(1, "certificate verify failed")
    refused.__cause__.verify_message = "certificate has expired"
    told = trouble(refused)
    assert ("its certificate is refused: certificate has expired", True) == (
        told.detail,
        "renew it" in told.fix,
    )
    assert "cannot be reached (ConnectionError)" == trouble(RedisConnectionError("x")).detail
