"""Servers that refuse everything, send commands in circles, or answer what is no answer: scripted ones.

Each is an outage, of which clients are told by 503: no error of another kind, and no session that is gone.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from bff.errors import StoreUnavailableError
from bff.observe.metrics import Metrics
from bff.session.cluster.topology import MAX_REDIRECTS
from bff.session.hash_read import LoadedValues
from bff.session.model import EndReason
from bff.session.store import SessionStore
from tests.contract.cached import noted
from tests.session.sample import NOW, sample_session
from tests.support.network.redis_double import Answer, RedisDouble, redis_double, resp
from tests.support.settings import redis_settings

pytestmark = pytest.mark.requirement("S-13")

SESSION = sample_session(key="k" * 64)
RECORD = {"version": "1", "sub": SESSION.sub, "tokens": "sealed"}
SLOTS = 16384


async def asked(store: SessionStore) -> LoadedValues:
    """A read whose answer is told by a call."""
    told: asyncio.Future[LoadedValues | Exception] = asyncio.get_running_loop().create_future()
    store.ask(SESSION.key, told.set_result, timed=True)
    answer = await told
    if isinstance(answer, Exception):
        raise answer
    return answer


Operation = Callable[[SessionStore], Awaitable[object]]
OPERATIONS: dict[str, Operation] = {
    "load": lambda store: store.load(SESSION.key),
    "load noted": lambda store: store.load_noted(SESSION.key, timed=True),
    "ask": asked,
    "create": lambda store: store.create(SESSION, RECORD, now=NOW, idle_timeout=1800),
    "replace": lambda store: store.replace(SESSION, RECORD, expected_version=1, now=NOW, idle_timeout=1800),
    "mark": lambda store: store.mark_refreshing(SESSION.key, None, expected_version=1),
    "touch": lambda store: noted(store, SESSION, "1", now=NOW, idle_timeout=1800),
    "end": lambda store: store.end(SESSION, EndReason.LOGOUT),
    "end fenced": lambda store: store.end(SESSION, EndReason.LOGOUT, fence="version"),
    "claim": lambda store: store.one_time.claim("state", "x", lifetime=60),
    "lock": lambda store: store.locks.take(SESSION.key, "me", lifetime=60, formerly=["other"]),
    "readiness": lambda store: store.readiness(),
}
REFUSALS = [
    "CLUSTERDOWN The cluster is down",
    "LOADING Redis is loading the dataset in memory",
    "TRYAGAIN Multiple keys request during rehashing of slot",
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
    "READONLY You can't write against a read only replica.",
    "NOREPLICAS Not enough good replicas to write.",
    "OOM command not allowed when used memory > 'maxmemory'.",
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "NOAUTH Authentication required.",
    "NOPERM User default has no permissions to run the 'get' command",
    "CROSSSLOT Keys in request don't hash to the same slot",
    "NOSCRIPT No matching script. Please use EVAL.",
    "ERR max number of clients reached",
    "MOVED",
    "MOVED 1",
    "MOVED x y",
    "MOVED 1 127.0.0.1:x",
    "MOVED 1 127.0.0.1:99999",
    "MOVED 99999999 127.0.0.1:1",
    "ASK",
    "ASK 1 a\x00b:6379",
    "ASK 1 127.0.0.1:-1",
]
ODD = [
    b"+OK\r\n+OK\r\n",
    b"$1\r\nx\r\n",
    b",inf\r\n",
    b"*2\r\n*0\r\n*0\r\n",
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
]


async def outage(operation: Operation, store: SessionStore) -> None:
    """It ends as an outage."""
    with pytest.raises(StoreUnavailableError):
        await operation(store)


@asynccontextmanager
async def store_at(url: str) -> AsyncIterator[SessionStore]:
    settings = redis_settings(url)
    store = SessionStore(settings, Metrics())
    try:
        yield store
    finally:
        await store.aclose()


@asynccontextmanager
async def one_server(said: bytes) -> AsyncIterator[SessionStore]:
    """The store of a server that says the same to everything."""
    url = "redis://127.0.0.1:{}/0"
    async with redis_double(lambda _: said) as server, store_at(url.format(server.port)) as store:
        yield store


@asynccontextmanager
async def cluster(number: int) -> AsyncIterator[list[RedisDouble]]:
    """Servers that agree on their slots, and refuse everything else once they are told how."""
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(redis_double(lambda _: None)) for _ in range(number)]
        share = SLOTS // number
        slots = [
            [
                at * share,
                SLOTS - 1 if at == number - 1 else (at + 1) * share - 1,
                ["127.0.0.1", each.port, ""],
            ]
            for at, each in enumerate(servers)
        ]
        for each in servers:
            each.script = lambda words: resp(slots) if words[0] == "CLUSTER" else None
        yield servers


def refusing(server: RedisDouble, said: Callable[[], bytes]) -> None:
    """Has a server answer that to all but CLUSTER SLOTS."""
    tells_slots = server.script

    def script(words: list[str]) -> Answer | Awaitable[Answer]:
        return tells_slots(words) if words[0] == "CLUSTER" else said()

    server.script = script


def url_of(servers: list[RedisDouble]) -> str:
    return "redis+cluster://" + ",".join(f"127.0.0.1:{each.port}" for each in servers)


@pytest.mark.parametrize("said", REFUSALS)
async def test_one_server_that_refuses(said: str) -> None:
    """Each refusal is an outage, for each operation."""
    async with one_server(f"-{said}\r\n".encode()) as store:
        for operation in OPERATIONS.values():
            await outage(operation, store)


@pytest.mark.parametrize("said", REFUSALS)
async def test_a_cluster_that_refuses(said: str) -> None:
    """Each server; a redirect that leads nowhere is not followed for ever."""
    async with cluster(2) as servers, store_at(url_of(servers)) as store:
        for server in servers:
            refusing(server, f"-{said}\r\n".encode)
        for operation in OPERATIONS.values():
            await outage(operation, store)


@pytest.mark.parametrize("word", ["MOVED", "ASK"])
async def test_a_cluster_that_sends_commands_in_circles(word: str) -> None:
    """From one server to another: after a few it is an outage."""
    async with cluster(3) as servers, store_at(url_of(servers)) as store:
        for server, other in zip(servers, [*servers[1:], servers[0]], strict=True):
            refusing(server, lambda other=other: f"-{word} 7 127.0.0.1:{other.port}\r\n".encode())  # type: ignore[misc] # bound at once
        for name, operation in OPERATIONS.items():
            before = commands(servers)
            await outage(operation, store)
            assert commands(servers) <= before + 4 * MAX_REDIRECTS, name


def commands(servers: list[RedisDouble]) -> int:
    """The number of commands that the servers were sent."""
    told = ("CLUSTER", "ASKING")
    return sum(words[0] not in told for server in servers for words in server.asked)


@pytest.mark.parametrize("odd", ODD)
async def test_answers_that_are_none(odd: bytes) -> None:
    """To a read: what is no record is an outage, and not a session that is gone."""
    reads = ("load", "load noted", "ask")
    async with one_server(odd) as store:
        for name in reads:
            await outage(OPERATIONS[name], store)
    async with cluster(1) as servers, store_at(url_of(servers)) as store:
        refusing(servers[0], lambda: odd)
        for name in reads:
            await outage(OPERATIONS[name], store)


@pytest.mark.parametrize(
    "slots",
    [
        None,
        "OK",
        [],
        [[0, 16383]],
        [[0, 16383, {"host": "a"}]],
        [[0, 16383, ["127.0.0.1", "x"]]],
        [["x", 16383, ["127.0.0.1", 1]]],
        [[0, 16383, ["127.0.0.1", 99999, ""]]],
        [[0, 16383, ["a\x00b", 1, ""]]],
    ],
)
async def test_a_map_that_is_none(slots: object) -> None:
    """The answer to CLUSTER SLOTS."""
    async with redis_double(lambda _: resp(slots)) as server, store_at(url_of([server])) as store:
        for operation in OPERATIONS.values():
            await outage(operation, store)


@pytest.mark.parametrize("hello", [b"+OK\r\n", b":3\r\n", b"*0\r\n", b"%1\r\n+proto\r\n+x\r\n", b"-\r\n"])
async def test_a_greeting_that_is_none(hello: bytes) -> None:
    """The answer to HELLO."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            writer.write(hello)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        for url in (f"redis://:secret@127.0.0.1:{port}/0", f"redis+cluster://:secret@127.0.0.1:{port}"):
            async with store_at(url) as store:
                for operation in OPERATIONS.values():
                    await outage(operation, store)
