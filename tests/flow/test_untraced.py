"""Calls of a process that leaves no traces."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import bff
from tests.support.load.warm import Plain
from tests.support.processes.world import World

BFF = Path(bff.__file__).parent
OF_TRACES = {
    "observe/otel_metrics.py",
    "observe/otel_spans.py",
    "observe/tracing.py",
    "oidc/traced_http.py",
    "proxy/forward/traced_calls.py",
    "proxy/websocket/traced_upgrade.py",
    "refresh/traced_coordinator.py",
    "session/traced_store.py",
}


@contextmanager
def files_run() -> Iterator[set[str]]:
    """Collects our files of which a function is called in this thread."""
    names: set[str] = set()

    def seen(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            names.add(frame.f_code.co_filename)

    ours: set[str] = set()
    sys.setprofile(seen)
    try:
        yield ours
    finally:
        sys.setprofile(None)
        ours |= {Path(name).relative_to(BFF).as_posix() for name in names if Path(name).is_relative_to(BFF)}


@pytest.mark.requirement("S-14")
@pytest.mark.server_only
async def test_no_code_of_traces_runs(world: World, plain: Plain) -> None:
    """From the sign-in over plain calls, a body, a rotation and the page's own questions to the sign-out."""
    assert {name for name in OF_TRACES if not (BFF / name).exists()} == set()
    with files_run() as run:
        browser = await world.signed_in()
        for _ in range(2):
            assert 200 == (await browser.call("/api/orders")).status_code
        assert 200 == (await browser.call("/api/orders", "POST", content=b"x" * 2048)).status_code
        world.clock.ahead = 400
        assert 200 == (await browser.call("/api/orders")).status_code
        await browser.call("/bff/user")
        await browser.call("/bff/logout", "POST")
    assert plain.sent
    assert {"proxy/forward/fast_path.py", "proxy/forward/forwarder.py", "refresh/coordinator.py"} <= run
    assert set() == OF_TRACES & run
