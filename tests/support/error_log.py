"""Records at level ERROR and above: no input of a client may cause one."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from structlog.testing import capture_logs

_LOGGERS = (None, "uvicorn.error", "asyncio")
"""The root, and those whose records may not get there: uvicorn's own configuration keeps them to itself."""


class _Listener(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        if not any(record is known for known in self.records):  # heard at its own logger and at the root
            self.records.append(record)


@contextmanager
def error_log(*expected: str) -> Iterator[list[str]]:
    """Collects ERROR records, ours and the libraries', into the list that it yields, filled at the end.

    Records that consist of one of the `expected` messages and bring no traceback are left out.
    """
    found: list[str] = []
    listener = _Listener()
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    for logger in loggers:
        logger.addHandler(listener)
    try:
        with capture_logs() as lines:
            yield found
    finally:
        for logger in loggers:
            logger.removeHandler(listener)
    messages = [(record, record.getMessage()) for record in listener.records]
    found += [message for record, message in messages if record.exc_info or message not in expected]
    found += [str(line) for line in lines if line["log_level"] in {"error", "critical"}]


@contextmanager
def no_error_logged(*expected: str) -> Iterator[None]:
    """Raises AssertionError at the end if an ERROR was logged, `expected` ones aside."""
    with error_log(*expected) as found:
        yield
    assert not found, found
