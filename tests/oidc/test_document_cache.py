"""A provider's document is fetched by one for all, and kept through an outage."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from bff.errors import ProviderUnavailableError
from bff.oidc.document_cache import DocumentCache
from bff.tasks import Tasks


class Source:
    """A provider that counts, and that can be down or slow."""

    def __init__(self) -> None:
        self.calls = 0
        self.down = False
        self.asked = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.now = 1000.0

    async def fetch(self) -> str:
        self.calls += 1
        number = self.calls
        self.asked.set()
        await self.gate.wait()
        if self.down:
            raise ProviderUnavailableError("down", 7.0)
        return f"document {number}"


@pytest.fixture(name="tasks")
async def _tasks() -> AsyncIterator[Tasks]:
    tasks = Tasks()
    yield tasks
    assert [] == await tasks.drain(5)


@pytest.fixture(name="source")
async def _source() -> Source:
    return Source()


@pytest.fixture(name="kept")
async def _kept(source: Source, tasks: Tasks) -> DocumentCache[str]:
    return DocumentCache("document", source.fetch, lifetime=100.0, clock=lambda: source.now, tasks=tasks)


async def test_many_ask_and_one_fetches(source: Source, kept: DocumentCache[str]) -> None:
    """Fifty at once cost one fetch, and so do those who come later."""
    assert ["document 1"] * 50 == await asyncio.gather(*(kept.get() for _ in range(50)))
    assert await kept.get() == "document 1"
    assert source.calls == 1


async def test_who_goes_away_takes_nothing_with_them(source: Source, kept: DocumentCache[str]) -> None:
    """The first caller's end does not cancel the fetch that others wait for."""
    source.gate.clear()
    first = asyncio.ensure_future(kept.get())  # noqa: TID251 - a caller that will be cancelled
    second = asyncio.ensure_future(kept.get())  # noqa: TID251 - one that stays
    await source.asked.wait()
    first.cancel()
    source.gate.set()
    assert await second == "document 1"
    assert source.calls == 1


async def test_an_old_document_is_used_while_the_new_one_is_fetched(
    source: Source, kept: DocumentCache[str], tasks: Tasks
) -> None:
    """Nobody waits at the end of its lifetime."""
    await kept.get()
    source.now += 100
    source.gate.clear()
    assert await kept.get() == "document 1"
    assert await kept.get() == "document 1"
    source.gate.set()
    await tasks.drain(5)
    assert await kept.get() == "document 2"
    assert source.calls == 2


async def test_a_very_old_document_is_renewed_first(source: Source, kept: DocumentCache[str]) -> None:
    """After a long sleep the caller waits for the new one, if there is one."""
    await kept.get()
    source.now += 200
    assert await kept.get() == "document 2"


@pytest.mark.requirement("T-08")
async def test_an_outage_takes_nothing_away(source: Source, kept: DocumentCache[str], tasks: Tasks) -> None:
    """However old it is, and the provider is asked once in a while only."""
    await kept.get()
    source.down = True
    source.now += 10_000
    for _ in range(10):
        assert await kept.get() == "document 1"
    await tasks.drain(5)
    assert source.calls == 2
    source.now += 5
    source.down = False
    assert await kept.get() == "document 3"


async def test_without_any_document_the_failure_is_told(source: Source, kept: DocumentCache[str]) -> None:
    """With the wait that the provider asked for, and without a fetch for each who asks."""
    source.down = True
    for _ in range(5):
        with pytest.raises(ProviderUnavailableError) as caught:
            await kept.get()
        assert caught.value.retry_after == 7.0
    assert source.calls == 1
    source.down = False
    source.now += 5
    assert await kept.get() == "document 2"


async def test_a_clock_that_is_put_back_makes_nothing_last(
    source: Source, kept: DocumentCache[str], tasks: Tasks
) -> None:
    """A document from the future is used, and fetched anew beside it; one that is asked for is fetched."""
    await kept.get()
    source.now -= 10_000
    assert await kept.get() == "document 1"
    await tasks.drain(5)
    assert await kept.get() == "document 2"
    source.now -= 10_000
    assert await kept.renew() == "document 3"


@pytest.mark.requirement("O-09")
async def test_a_forced_renewal_is_rate_limited(source: Source, kept: DocumentCache[str]) -> None:
    """Once fetched, a document is not fetched again within the pause, however often that is asked."""
    assert await kept.renew() == "document 1"
    assert await kept.renew() == "document 1"
    source.now += 5
    assert ["document 2"] * 10 == await asyncio.gather(*(kept.renew() for _ in range(10)))
    assert source.calls == 2


async def test_a_renewal_that_fails_leaves_what_there_was(source: Source, kept: DocumentCache[str]) -> None:
    """And is not repeated at once."""
    await kept.get()
    source.down = True
    source.now += 5
    assert await kept.renew() == "document 1"
    assert await kept.renew() == "document 1"
    assert source.calls == 2


async def test_a_fetch_that_was_cancelled_is_a_failure(
    source: Source, kept: DocumentCache[str], tasks: Tasks
) -> None:
    """At a shutdown whoever waits is told, and a later call begins anew."""
    source.gate.clear()
    waiting = asyncio.ensure_future(kept.get())  # noqa: TID251 - waits while the process stops
    await source.asked.wait()
    await tasks.cancel_all()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    source.gate.set()
    assert await kept.get() == "document 2"
