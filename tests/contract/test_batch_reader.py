"""Batched loads, on a real redis-server."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest

from bff.embedded import EmbeddedRedis, RedisBinary
from bff.errors import StoreUnavailableError
from bff.observe.metrics import Metrics
from bff.session.batch_reader import LARGEST_BATCH, BatchReader
from bff.session.hash_read import Loaded, LoadedValues, SessionReads, WrongTypeError
from bff.session.record import FIELDS
from bff.session.store import SessionStore
from bff.settings.model import RedisSettings
from tests.support.network.relay import Relay, relay_to
from tests.support.processes.redis import RedisServer
from tests.support.settings import PATIENCE, redis_settings
from tests.support.tasks import background
from tests.support.wait import until


async def awaited(loading: "asyncio.Future[Loaded]") -> Loaded:
    return await loading


@pytest.fixture
async def relay(redis_server: RedisServer) -> AsyncIterator[Relay]:
    with redis_server.client() as client:
        for number in range(300):
            client.hset(f"h{number}", mapping={"sub": number, "version": 1})
    async with relay_to(redis_server.port) as relay:
        yield relay


@pytest.fixture
async def loads(relay: Relay) -> AsyncIterator[BatchReader]:
    loads = BatchReader(settings(relay.port))
    yield loads
    await loads.aclose()


def settings(port: int, timeout: float = PATIENCE) -> RedisSettings:
    return redis_settings(f"redis://127.0.0.1:{port}/0", timeout=timeout)


def reads(relay: Relay) -> list[int]:
    """How many reads each piece held that came from us."""
    return [count for piece in relay.asked if (count := piece.count(b"HMGET"))]


async def test_what_is_asked_for_in_one_turn_shares_a_round_trip(loads: BatchReader, relay: Relay) -> None:
    """Fifty reads are one write, and each gets its own answer."""
    await loads.load(b"h0")
    found = await asyncio.gather(*(loads.load(b"h%d" % number) for number in range(50)))
    assert [str(number) for number in range(50)] == [one.fields["sub"] for one in found]
    assert [1, 50] == reads(relay)


async def test_batches_are_bounded(loads: BatchReader, relay: Relay) -> None:
    """A crowd is served in several batches."""
    await loads.load(b"h0")
    found = await asyncio.gather(*(loads.load(b"h%d" % number) for number in range(300)))
    assert [str(number) for number in range(300)] == [one.fields["sub"] for one in found]
    assert LARGEST_BATCH >= max(reads(relay))
    assert 301 == sum(reads(relay))


async def test_one_keys_error_is_its_own(loads: BatchReader, redis_server: RedisServer) -> None:
    """A value of another type, or none at all, spoils no other answer of its batch, nor the next one."""
    with redis_server.client() as client:
        client.set("text", "x")
    names = [b"h1", b"text", b"nothing", b"h2"]
    found = await asyncio.gather(*(loads.load(name, timed=True) for name in names), return_exceptions=True)
    assert {"sub": "1", "version": "1"} == getattr(found[0], "fields", None)
    assert isinstance(found[1], WrongTypeError)
    assert Loaded({}, None) == found[2]
    assert {"sub": "2", "version": "1"} == getattr(found[3], "fields", None)
    assert "3" == (await loads.load(b"h3")).fields["sub"]


async def test_lifetimes(loads: BatchReader, redis_server: RedisServer) -> None:
    """A read says how long its hash is going to live, if it was asked."""
    with redis_server.client() as client:
        client.pexpire("h1", 30_000)
    timed, endless, untimed = await asyncio.gather(
        loads.load(b"h1", timed=True), loads.load(b"h2", timed=True), loads.load(b"h1")
    )
    assert timed.lifetime is not None
    assert 25 < timed.lifetime <= 30
    assert (None, None) == (endless.lifetime, untimed.lifetime)


async def test_an_account_that_may_not(loads: BatchReader, redis_server: RedisServer) -> None:
    """What may not be asked is not known: no lifetime is none to rely on, and no read is no answer."""
    with redis_server.client() as client:
        client.acl_setuser("default", enabled=True, nopass=True, commands=["+@all", "-pttl"])
        assert 0 == (await loads.load(b"h1", timed=True)).lifetime
        client.acl_setuser("default", enabled=True, nopass=True, commands=["-hmget"])
        with pytest.raises(StoreUnavailableError):
            await loads.load(b"h1")


async def test_who_goes_away_takes_nobodys_answer_along(loads: BatchReader, relay: Relay) -> None:
    """Of three who wait for one round trip, two leave; the third is answered, and whoever comes next."""
    await loads.load(b"h0")
    relay.silence()
    async with (
        background(awaited(loads.load(b"h1"))) as first,
        background(awaited(loads.load(b"h2"))) as second,
        background(awaited(loads.load(b"h3"))) as third,
    ):
        await until(lambda: len(reads(relay)) == 2)
        first.cancel()
        third.cancel()
        await asyncio.wait([first, third])
        relay.resume()
        assert "2" == (await second).fields["sub"]
    assert "4" == (await loads.load(b"h4")).fields["sub"]
    assert [1, 3, 1] == reads(relay)


async def test_a_caller_that_fails_takes_nobodys_answer_along(
    loads: BatchReader, redis_server: RedisServer
) -> None:
    """What a function raises that is told of its answer is reported; the others are told of theirs."""
    with redis_server.client() as client:
        for number in range(3):
            client.hset(f"bff:session:{number:064}", "sub", number)
    told: list[bytes | None] = []
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, report: reported.append(report))

    def take(answer: LoadedValues | Exception) -> None:
        assert isinstance(answer, LoadedValues)
        told.append(answer.values[FIELDS.index("sub")])
        if len(told) == 2:
            raise KeyError("a mistake")

    for number in range(3):
        loads.read(f"{number:064}", SessionReads("bff"), take, timed=True)
    await until(lambda: len(told) == 3)
    assert [b"0", b"1", b"2"] == told
    assert [KeyError] == [type(report["exception"]) for report in reported]
    assert "3" == (await loads.load(b"h3")).fields["sub"]


@pytest.mark.requirement("T-10")
async def test_a_connection_that_was_closed_meanwhile_is_no_outage(
    loads: BatchReader, relay: Relay, redis_server: RedisServer
) -> None:
    """Reads are sent once more on a new connection: the server closed the idle one, or it broke just now."""
    await loads.load(b"h0")
    with redis_server.client() as client:
        client.client_kill_filter(_type="normal", skipme=True)
    assert "1" == (await loads.load(b"h1")).fields["sub"]
    relay.silence()
    async with background(awaited(loads.load(b"h2"))) as waiting:
        await until(lambda: len(reads(relay)) == 3)
        relay.cut()
        assert "2" == (await waiting).fields["sub"]


async def served(loads: BatchReader, handle: bytes) -> Loaded:
    """A read that a busy machine's Redis answers in time, sooner or later."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(StoreUnavailableError):
                return await loads.load(handle)


@pytest.mark.requirement("T-10")
async def test_an_outage_is_everyones(relay: Relay, redis_server: RedisServer) -> None:
    """Silence for longer than the timeout, or no server: all who wait are told, and are served afterwards."""
    loads = BatchReader(settings(relay.port, timeout=0.2))
    await served(loads, b"h0")
    relay.silence()
    asked = [loads.load(b"h%d" % number) for number in range(200)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert {StoreUnavailableError} == {type(outcome) for outcome in outcomes}
    assert "1" == (await served(loads, b"h1")).fields["sub"]
    redis_server.stop()
    with pytest.raises(StoreUnavailableError):
        await loads.load(b"h1")
    redis_server.start()
    assert "1" == (await served(loads, b"h1")).fields["sub"]
    await loads.aclose()


async def test_a_read_on_a_kept_connection_takes_no_task(loads: BatchReader, relay: Relay) -> None:
    """A session that is not in memory costs its call two turns of the loop more, and no task."""
    await loads.load(b"h0")
    relay.silence()
    await until(lambda: not loads._tasks)
    reading = loads.load(b"h1")
    await until(lambda: len(reads(relay)) == 2)
    assert not loads._tasks
    relay.resume()
    assert "1" == (await reading).fields["sub"]


async def test_a_reply_to_nothing_answers_no_question(loads: BatchReader, relay: Relay) -> None:
    """A server that has said too much is not asked again on that connection: its replies are out of step."""
    await loads.load(b"h0")
    relay.say(b"%1\r\n$1\r\nn\r\n$6\r\nforged\r\n")
    await until(lambda: loads._renewing)
    assert "1" == (await loads.load(b"h1")).fields["sub"]
    assert "2" == (await loads.load(b"h2")).fields["sub"]


@pytest.mark.requirement("T-10")
async def test_a_server_that_never_greets(redis_server: RedisServer) -> None:
    """Who waits for a connection that comes to nothing is told in time, and the next one is made anew."""

    async def listens(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(listens, "127.0.0.1", 0)
    async with silent, relay_to(silent.sockets[0].getsockname()[1]) as relay:
        loads = BatchReader(settings(relay.port, timeout=0.2))
        outcomes = await asyncio.gather(loads.load(b"h0"), loads.load(b"h1"), return_exceptions=True)
        assert {StoreUnavailableError} == {type(outcome) for outcome in outcomes}
        relay.lead_to(redis_server.port)
        assert Loaded({}, None) == await served(loads, b"h2")
        await loads.aclose()
        assert not loads._tasks


async def test_closing_tells_those_who_wait(relay: Relay) -> None:
    """Nobody waits for an answer of a store that was closed."""
    loads = BatchReader(settings(relay.port))
    await loads.load(b"h0")
    relay.silence()
    async with background(awaited(loads.load(b"h1"))) as under_way:
        await until(lambda: len(reads(relay)) == 2)
        async with background(awaited(loads.load(b"h2"))) as queued:
            await asyncio.sleep(0)
            await loads.aclose()
            for waiting in (under_way, queued):
                with pytest.raises(StoreUnavailableError):
                    await waiting


async def test_failures_are_counted(redis_server: RedisServer) -> None:
    """Each call that failed counts, however many shared the round trip."""
    metrics = Metrics()
    store = SessionStore(settings(redis_server.port), metrics)
    redis_server.stop()
    await asyncio.gather(*(store.load(str(number)) for number in range(5)), return_exceptions=True)
    assert b"bff_store_errors_total 5.0" in metrics.render()[0]
    await store.aclose()


@pytest.fixture
def imitation() -> Iterator[EmbeddedRedis]:
    import sys  # noqa: PLC0415 - only this fixture starts it

    with EmbeddedRedis(
        binary=RedisBinary((sys.executable, "-m", "bff.embedded"), "fake", None, real=False)
    ) as fake:
        yield fake


async def test_the_imitation_answers_as_well(imitation: EmbeddedRedis) -> None:
    """Without any Redis server the reads work all the same."""
    loads = BatchReader(redis_settings(imitation.url))
    assert [Loaded({}, None)] * 3 == await asyncio.gather(*(loads.load(b"h", timed=True) for _ in range(3)))
    await loads.aclose()
