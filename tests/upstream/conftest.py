"""The client's tests run on both event loops: they differ in flow control, TLS and timers."""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import uvloop

_ON_BOTH_LOOPS = {
    "test_call_timeouts",
    "test_connection",
    "test_connection_faults",
    "test_flow",
    "test_pool",
    "test_connector",
    "test_connector_tls",
    "test_expect_continue",
    "test_stale",
    "test_without_content",
}

Resolve = Callable[[list[str] | None], None]


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


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """Makes the running loop find these addresses for any name; None: it never answers."""

    def to(addresses: list[str] | None) -> None:
        async def getaddrinfo(_host: str, port: int, **_: Any) -> list[Any]:
            if addresses is None:
                await asyncio.Event().wait()
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses or ()
            ]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)

    return to
