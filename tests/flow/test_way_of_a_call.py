"""The way of a usual call from the client's bytes to the backend's wire, as a reader has to follow it."""

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import bff
from tests.support.processes.redis import RedisServer
from tests.tools.bench.call_loop import Load, call_loop

BFF = Path(bff.__file__).parent
MOST_CALLS, MOST_FILES = 20, 8


@pytest.mark.server_only
@pytest.mark.parametrize("frontends", [1, 4])
async def test_it_is_short(redis_server: RedisServer, frontends: int) -> None:
    """A GET with its session is few Python calls, in few files: whoever has read them knows it all."""
    way = await way_of("get", redis_server, frontends)
    assert "upstream/connection.py" == way[-1]
    assert len(way) <= MOST_CALLS
    assert len(set(way)) <= MOST_FILES


@pytest.mark.server_only
async def test_a_reverse_proxys_fields_add_little(redis_server: RedisServer) -> None:
    """The client's address is read, and its id judged: the files of both."""
    direct, behind = await way_of("get", redis_server), await way_of("forwarded", redis_server)
    assert {"policy/trace_context.py", "client_address_cache.py"} == set(behind) - set(direct)
    assert len(behind) <= MOST_CALLS


async def way_of(load: Load, redis: RedisServer, frontends: int = 1) -> list[str]:
    """The file of each function that is called for one request, until it is written to the backend."""
    way: list[str] = []

    def seen(frame: FrameType, event: str, _: Any) -> None:
        name = Path(frame.f_code.co_filename)
        if event == "call" and name.is_relative_to(BFF):
            way.append(name.relative_to(BFF).as_posix())

    async with call_loop(redis.url, load, frontends=frontends, users=8, different=200) as calls:
        await calls.run(2 * calls.different)  # until all that can be known is known
        calls._backend._transport.written = lambda: sys.setprofile(None)
        sys.setprofile(seen)
        try:
            await calls.run(1)
        finally:
            sys.setprofile(None)
    return way[way.index("proxy/server/http_protocol.py") :]
