"""Redis' failures are told, and fill no log."""

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from structlog.testing import capture_logs

from bff.session.redis_failure_log import FailureLog

pytestmark = pytest.mark.requirement("T-10")


def test_each_kind_at_once_and_then_once_in_a_minute() -> None:
    """The line counts those that had none, names the setting of a time-out, and repeats no words of Redis."""
    moments = iter((0.0, 1.0, 59.0, 59.0, 60.0, 61.0))
    failures = FailureLog(lambda: next(moments))
    with capture_logs() as lines:
        for _ in range(3):
            failures.tell(RedisTimeoutError("Timeout reading from redis:6379"))
        failures.tell(RedisConnectionError("bff:session:k"))
        for _ in range(2):
            failures.tell(TimeoutError())
    late, gone = "does not answer in time (TimeoutError)", "cannot be reached (ConnectionError)"
    assert [(late, 1), (gone, 1), (late, 3)] == [(line["detail"], line["times"]) for line in lines]
    assert "redis.timeout" in lines[0]["fix"]
    assert {"redis_failed"} == {line["event"] for line in lines}
