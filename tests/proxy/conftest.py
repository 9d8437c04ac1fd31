"""The client's tests run on both event loops: they differ in flow control, TLS and timers."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping

import pytest
import uvloop

_ON_BOTH_LOOPS = {
    "test_call_timeouts",
    "test_connection",
    "test_connection_faults",
    "test_flow",
    "test_pool",
    "test_dial",
}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    del config
    if item.path.stem in _ON_BOTH_LOOPS:
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


@pytest.fixture(autouse=True)
def _no_callback_raises(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The loop turns an exception in a callback into a log line and a close: a test must see it."""
    yield
    if request.path.stem in _ON_BOTH_LOOPS:
        records = caplog.get_records("call")
        assert [] == [r.getMessage() for r in records if r.name == "asyncio" and r.levelno >= logging.ERROR]
