"""The number of sessions that live: who counts, and what becomes of a count that fails."""

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from bff.errors import StoreUnavailableError
from bff.observe.metrics import LiveSessions
from bff.session.inventory import Part
from bff.session.session_count import LiveCount
from tests.support.wait import until

EVERY = 0.01


class Scanned:
    """Two parts, of three sessions."""

    def __init__(self) -> None:
        self.scans = 0
        self.fails = False

    async def scan(self) -> AsyncIterator[Part]:
        self.scans += 1
        if self.fails:
            raise StoreUnavailableError("Redis: NoPermissionError")
        yield Part(["a", "b"], 0, 7, 0.5)
        yield Part(["c"], 7, 0, 1.0)


async def test_the_auditor_alone_counts() -> None:
    """The process that leads shows the sum of all parts; one that does no longer shows nothing."""
    scanned, shown, leads = Scanned(), LiveSessions(), [False]
    count = LiveCount(scanned, lambda: leads[0], shown, every=EVERY)
    await count.start()
    try:
        leads[0] = True
        await until(lambda: shown.number == 3)
        leads[0] = False
        await until(lambda: shown.number is None)
        (family,) = shown.collect()
        assert [] == family.samples
    finally:
        await count.aclose()


async def test_a_count_that_fails_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """An account that may not scan costs a line in the log, and shows no number."""
    monkeypatch.setattr("bff.session.session_count._AFTER_FAILURE", EVERY)
    scanned, shown = Scanned(), LiveSessions()
    scanned.fails = True
    count = LiveCount(scanned, lambda: True, shown, every=EVERY)
    with capture_logs() as lines:
        await count.start()
        try:
            await until(lambda: scanned.scans > 2)
            assert shown.number is None
        finally:
            await count.aclose()
    assert ["sessions_not_counted"] == [line["event"] for line in lines]
