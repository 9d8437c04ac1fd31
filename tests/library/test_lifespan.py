"""The life of a mounted proxy: one start for each event loop, as many stops and starts as the host wants."""

import asyncio
from contextvars import ContextVar

import httpx
import pytest

from bff.app import App
from bff.library import BFF
from tests.library.test_placement import settings

LOCAL = "http://localhost:8000"


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[App]:
    """The proxies that were made."""
    made: list[App] = []
    make = App.__init__

    def noted(self: App, *arguments: object, **named: object) -> None:
        made.append(self)
        make(self, *arguments, **named)  # type: ignore[arg-type] # handed through as they came

    monkeypatch.setattr(App, "__init__", noted)
    return made


def client(bff: BFF) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(bff), base_url=LOCAL)


async def test_many_at_once_start_it_once(starts: list[App]) -> None:
    """The first requests come together, and there is one proxy; the next ones find it."""
    bff = BFF(settings())
    async with client(bff) as browser:
        answers = await asyncio.gather(*(browser.get("/nothing") for _ in range(20)))
        assert {404} == {answer.status_code for answer in answers}
        assert 404 == (await browser.get("/nothing")).status_code
    assert 1 == len(starts)
    await bff.aclose()


async def test_a_lifespan_within_a_lifespan(starts: list[App]) -> None:
    """The host runs it, and a part of the host does: one proxy, which stops with the last of them."""
    bff = BFF(settings())
    async with bff.lifespan():
        async with bff.lifespan(), client(bff) as browser:
            assert 404 == (await browser.get("/nothing")).status_code
        assert bff._runs
    assert not bff._runs
    assert 1 == len(starts)


def test_each_event_loop_has_its_own(starts: list[App]) -> None:
    """An application that is started again, as test clients do, gets connections of its own each time."""
    bff = BFF(settings())

    async def ask() -> int:
        async with bff.lifespan(), client(bff) as browser:
            return (await browser.get("/nothing")).status_code

    assert [404, 404] == [asyncio.run(ask()), asyncio.run(ask())]
    assert 2 == len(starts)


def test_a_loop_that_ended_without_a_stop_is_forgotten(starts: list[App]) -> None:
    """Where nobody runs a lifespan, the end of the loop is the end of its proxy."""
    bff = BFF(settings())

    async def ask() -> int:
        async with client(bff) as browser:
            return (await browser.get("/nothing")).status_code

    assert [404, 404] == [asyncio.run(ask()), asyncio.run(ask())]
    assert 1 == len(bff._runs)
    assert 2 == len(starts)


async def test_a_failed_start_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """All who waited for it hear of it; the next request starts anew."""
    bff = BFF(settings())
    run, failures = App.running, [True]

    def running(self: App, _: object = None) -> object:
        if failures:
            failures.pop()
            raise OSError("no file descriptors")
        return run(self)

    monkeypatch.setattr(App, "running", running)
    async with client(bff) as browser:
        with pytest.raises(OSError, match="no file descriptors"):
            await browser.get("/nothing")
        assert 404 == (await browser.get("/nothing")).status_code
    await bff.aclose()
    await bff.aclose()


async def test_the_whole_application() -> None:
    """As the only application it answers its server's lifespan itself."""
    bff = BFF(settings())
    told: list[str] = []
    heard = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> dict[str, str]:
        told.append("running" if bff._runs else "not running")
        return next(heard)

    async def send(message: dict[str, str]) -> None:
        told.append(message["type"])

    await bff({"type": "lifespan", "state": {}}, receive, send)  # type: ignore[arg-type] # narrower messages
    assert ["not running", "lifespan.startup.complete", "running", "lifespan.shutdown.complete"] == told
    assert not bff._runs


async def test_metrics_without_an_ops_port() -> None:
    """A host that wants them asks for them."""
    bff = BFF(settings())
    body, kind = await bff.metrics()
    assert b"bff_change_feed_trusted" in body
    assert kind.startswith("text/plain")
    await bff.aclose()


async def test_the_proxy_does_not_go_on_in_the_context_of_its_first_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The host's trace and log fields of that request are not those of what runs beside the requests."""
    context: ContextVar[str] = ContextVar("trace of the host", default="none")
    run, seen = App.running, []

    def running(self: App, _: object = None) -> object:
        seen.append(context.get())
        return run(self)

    monkeypatch.setattr(App, "running", running)
    bff = BFF(settings())
    context.set("of the first request")
    async with client(bff) as browser:
        assert 404 == (await browser.get("/nothing")).status_code
    await bff.aclose()
    assert ["none"] == seen
