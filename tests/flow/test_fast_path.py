"""Calls on the fast path, and what a backend can do to one: answers as by the forwarder, counts right."""

import asyncio
import re
from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from tests.support.load.warm import (
    ENOUGH,
    GET,
    Caller,
    Plain,
    nothing_is_left,
    pool,
    warm_caller,
    watched,
)
from tests.support.network.backend import Conversation, Received, Reply, backend
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import World, running_world
from tests.support.wait import until

WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello"

Handler = Callable[[Received], Awaitable[Reply | bytes | None]]


def conversation(world: World, request: Received) -> Conversation:
    """The connection on which a request came."""
    return next(found for found in world.backend.open if found.number == request.connection)


def says(data: bytes) -> Handler:
    async def reply(_: Received) -> bytes:
        return data

    return reply


def in_pieces(world: World, plain: Plain, *pieces: bytes) -> Handler:
    """Says the first, and each other one once the proxy has seen that it was not all."""

    async def reply(request: Received) -> bytes:
        before = plain.fell_back + plain.passed_on
        for piece in pieces[:-1]:
            await conversation(world, request).send(piece)
            await until(lambda: plain.fell_back + plain.passed_on > before)
            await asyncio.sleep(0.01)
        return pieces[-1]

    return reply


def once(first: Handler) -> Handler:
    """One request goes to `first`; what comes after it is answered."""
    asked: list[Received] = []

    async def reply(request: Received) -> Reply | bytes | None:
        asked.append(request)
        return await first(request) if len(asked) == 1 else WHOLE

    return reply


async def close(_: Received) -> None:
    return None


def without_ids(head: bytes) -> tuple[bytes, ...]:
    """Its lines; the order of different fields means nothing."""
    same = re.sub(rb"(?<=x-request-id: )[0-9a-f]{32}|(?<=traceparent: )00-[0-9a-f-]{52}", b"*", head)
    first, *lines = same.split(b"\r\n")
    return (first, *sorted(lines))


# The same as by the long way


@pytest.mark.requirement("B-14", "B-17", "H-01")
async def test_a_plain_call_is_like_any_other(world: World, plain: Plain) -> None:
    """What the backend gets, what the client gets, the access line and the metrics: the same, ids aside."""

    async def reply(_: Received) -> bytes:
        return (
            b"HTTP/1.1 200 Fine\r\nServer: x\r\nContent-Type: text/html\r\nSet-Cookie: a=1\r\n"
            b"Set-Cookie: BFF=planted\r\nConnection: keep-alive\r\nKeep-Alive: 5\r\nContent-Length: 2\r\n"
            b"X-Own:  spaces \t\r\nAccess-Control-Allow-Origin: *\r\nCache-Control: public\r\n\r\nok"
        )

    world.reply = reply
    fields = ("User-Agent: t", "Accept: */*", "X-Forwarded-For: 9.9.9.9", "X-Own: 1", "X-Real-IP: 9.9.9.9")
    browser = await world.signed_in()
    caller = await Caller.connected(world, browser)
    answers, told, counts = [], [], []
    for number in range(5):
        before = world.app.metrics.render()[0]
        with capture_logs() as lines:
            head = caller.head("GET /api/orders?a=b%20c HTTP/1.1", *fields)
            if number == 0:  # in two reads, so by the long way
                caller.writer.write(head[:20])
                await asyncio.sleep(0.1)
                head = head[20:]
            caller.writer.write(head)
            answers.append(await caller.answer())
        told.append([line for line in lines if line["event"] == "request"])
        counts.append(grown(before, world.app.metrics.render()[0]))
    assert 4 == plain.sent
    assert 0 == plain.fell_back
    assert {answers[0].lasting} == {answer.lasting for answer in answers}
    assert {b"ok"} == {answer.content for answer in answers}
    heads = [request.raw_head for request in world.backend.requests[-5:]]
    assert {without_ids(heads[0])} == {without_ids(head) for head in heads}
    assert b"x-own: 1" in heads[-1].lower()
    assert 5 == len(set(heads)), "an id was given twice"
    ids = [request.values(b"x-request-id")[0].decode() for request in world.backend.requests[-5:]]
    assert ids == [line["request_id"] for (line,) in told]
    ours = ("duration_ms", "request_id")
    assert [told[0][0].keys()] * 5 == [line.keys() for (line,) in told]
    same = [{name: value for name, value in line.items() if name not in ours} for (line,) in told]
    assert [same[0]] * 5 == same
    assert (browser.session_key.rpartition(":")[2][:12], "/api/orders") == (
        same[0]["session"],
        same[0]["path"],
    )
    assert [counts[1]] * 4 == counts[1:]
    assert {'bff_requests_total{method="GET",route="/api",status="2xx"}': 1.0}.items() <= counts[4].items()


def grown(before: bytes, after: bytes) -> dict[str, float]:
    """By how much each count is above what it was; times and what goes on by itself left out."""

    def counts(text: bytes) -> dict[str, float]:
        lines = [line.rpartition(" ") for line in text.decode().splitlines() if line.startswith("bff_")]
        return {
            name: float(value)
            for name, _, value in lines
            if not re.search("seconds|feed|redis|process", name)
        }

    former = counts(before)
    return {
        name: value - former.get(name, 0)
        for name, value in counts(after).items()
        if value != former.get(name)
    }


async def test_what_cannot_be_plain_is_not(world: World, plain: Plain) -> None:
    """HEAD, nominated fields, a large body, an answer to end with: never plain, and right each time."""
    caller = await Caller.connected(world, await world.signed_in())
    for _ in range(5):
        head = await caller.call("HEAD /api/orders HTTP/1.1")
        assert (200, ["13"]) == (head.status, head.values("content-length"))
    for _ in range(5):
        assert 200 == (await caller.call(GET, "X-Own: 1", "Connection: x-own")).status
        assert [] == world.backend.requests[-1].values(b"x-own")
    large = b"x" * 70_000
    for _ in range(5):
        caller.writer.write(caller.head("POST /api/orders HTTP/1.1", "Content-Length: 70000") + large)
        assert 200 == (await caller.answer()).status
        assert large == world.backend.requests[-1].body
    assert 0 == plain.sent
    own = ("X-Request-ID: of-the-client-1", f"traceparent: 00-{'1' * 32}-{'2' * 16}-01")
    assert 200 == (await caller.plain(plain, GET, *own)).status
    last = world.backend.requests[-1]
    assert [b"of-the-client-1"] == last.values(b"x-request-id")
    assert [b"1" * 32] == [value[3:35] for value in last.values(b"traceparent")]
    before = plain.ended_plain
    caller.writer.write(caller.head("POST /api/orders HTTP/1.1", "Content-Length: 2") + b"hi")
    assert 200 == (await caller.answer()).status
    assert b"hi" == world.backend.requests[-1].body
    assert 1 == plain.ended_plain - before
    for line in (GET, "POST /api/orders HTTP/1.1", "DELETE /api/orders/1 HTTP/1.1"):
        more = ["Content-Length: 0"] if line.startswith("POST") else []
        assert 200 == (await caller.plain(plain, line, *more)).status
        assert line.split()[0].encode() == world.backend.requests[-1].method
    ending = await caller.call(GET, "Connection: close")
    assert (200, ["close"]) == (ending.status, ending.values("connection"))
    assert b"" == await caller.rest()


# What a backend can do


@pytest.mark.requirement("H-02", "H-05", "H-06", "H-07")
async def test_whatever_the_backend_answers(
    world: World, plain: Plain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each on a warm connection: the client gets it as by the long way, and all is in order for the next."""
    early = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
    closing = WHOLE.replace(b"content-type", b"connection: close\r\ncontent-type")
    none = b"HTTP/1.1 204 No Content\r\n\r\n"
    same = b'HTTP/1.1 304 Not Modified\r\netag: "a"\r\n\r\n'
    sized = same[:-2] + b"content-length: 1234\r\n\r\n"
    twice = WHOLE.replace(b"content-length: 5", b"content-length: 5\r\ncontent-length: 5")
    both = WHOLE.replace(b"content-length: 5", b"content-length: 5\r\ntransfer-encoding: chunked")
    nominating = WHOLE.replace(b"content-type", b"connection: x-a\r\nx-a: 1\r\ncontent-type")
    cases: list[tuple[str, Handler, tuple[int, bytes] | tuple[int, str], bool]] = [
        ("chunks", says(chunked), (200, b"hello"), True),
        ("head and content apart", in_pieces(world, plain, WHOLE[:-5], WHOLE[-5:]), (200, b"hello"), True),
        ("a head in two", in_pieces(world, plain, WHOLE[:30], WHOLE[30:]), (200, b"hello"), True),
        ("byte by byte", in_pieces(world, plain, WHOLE[:1], WHOLE[1:2], WHOLE[2:]), (200, b"hello"), True),
        ("hints before it", says(early + WHOLE), (200, b"hello"), True),
        ("hints, then it", in_pieces(world, plain, early, WHOLE), (200, b"hello"), True),
        ("it is the last", says(closing), (200, b"hello"), False),
        ("nothing", says(none), (204, b""), True),
        ("not modified", says(same), (304, b""), True),
        ("not modified, with a length", says(sized), (304, b""), False),
        ("fields for one hop", says(nominating), (200, b"hello"), True),
        ("an older protocol", says(WHOLE.replace(b"1.1", b"1.0", 1)), (200, b"hello"), False),
        ("two lengths", says(twice), (502, "upstream_invalid"), False),
        ("length and coding", says(both), (502, "upstream_invalid"), False),
        ("more than announced", says(WHOLE + b"!"), (502, "upstream_invalid"), False),
        ("two answers", says(WHOLE + WHOLE.replace(b"hello", b"other")), (502, "upstream_invalid"), False),
        ("no HTTP", says(b"SSH-2.0-x\r\n\r\n"), (502, "upstream_invalid"), False),
        ("gone without a word", once(close), (200, b"hello"), False),
        ("tired of waiting", once(says(TIRED)), (200, b"hello"), False),
    ]
    with watched(monkeypatch) as made:
        caller = await warm_caller(world)
        total = made[-1]._server
        for name, handler, expected, kept in cases:
            world.reply = None
            assert 200 == (await caller.plain(plain)).status
            before = plain.sent, plain.fell_back, total.total_requests
            connections = world.backend.connections
            world.reply = handler
            answer = await caller.call()
            got = answer.code if isinstance(expected[1], str) else (answer.status, answer.content)
            assert expected == got, name
            assert [] == answer.values("x-a")
            fell_back = name not in ("head and content apart", "nothing", "not modified")
            assert (before[0] + 1, before[1] + fell_back, before[2] + 1) == (
                plain.sent,
                plain.fell_back,
                total.total_requests,
            ), name
            await nothing_is_left(world)
            assert (1 if kept or handler.__qualname__.startswith("once") else 0) == pool(world).open, name
            resent = handler.__qualname__.startswith("once")
            assert connections + resent == world.backend.connections, name
            assert b"other" not in answer.content
        world.reply = None
        await caller.plain(plain)
        counted = total.total_requests
        await caller.plain(plain)
        assert counted + 1 == total.total_requests


TIRED = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


@pytest.mark.requirement("H-06")
async def test_an_answer_that_breaks_off(world: World, plain: Plain) -> None:
    """A part of an answer, and the end: never a clean end on truncated data, and never asked again."""
    browser = await world.signed_in()
    for said in (WHOLE[:-1], WHOLE[:60], WHOLE[:20], WHOLE[:1]):

        async def breaking(request: Received, said: bytes = said) -> None:
            await conversation(world, request).send(said)

        world.reply = None
        caller = await Caller.connected(world, browser)
        await caller.plain(plain)
        before = len(world.backend.requests)
        world.reply = breaking
        caller.writer.write(caller.head())
        if said == WHOLE[:-1]:
            head, _, content = (await caller.rest()).partition(b"\r\n\r\n")
            assert b"content-length: 5" in head
            assert b"hell" == content
        else:
            assert (502, "upstream_unreachable") == (await caller.answer()).code
        assert before + 1 == len(world.backend.requests)
        await nothing_is_left(world)
        assert 0 == pool(world).open


@pytest.mark.requirement("H-07")
async def test_only_what_is_safe_is_sent_again(world: World, plain: Plain) -> None:
    """A kept connection that ends without an answer: POST is not repeated, DELETE and GET once only."""
    caller = await warm_caller(world)
    cases = [("POST /api/1 HTTP/1.1", 1), ("DELETE /api/1 HTTP/1.1", 2), (GET, 2)]
    for line, times in cases:
        world.reply = None
        more = ["Content-Length: 0"] if line.startswith("POST") else []
        await caller.plain(plain, line, *more)
        before = len(world.backend.requests)
        world.reply = close
        assert (502, "upstream_unreachable") == (await caller.call(line, *more)).code
        assert before + times == len(world.backend.requests)
        await nothing_is_left(world)


async def test_connections_that_end_between_calls(world: World, plain: Plain) -> None:
    """A backend that closes what is idle: noticed, and the next call goes over a new connection."""
    caller = await warm_caller(world)
    for _ in range(3):
        await caller.plain(plain)
        world.backend.cut_all()
        await until(lambda: pool(world).open == 0)
        assert 200 == (await caller.call()).status
    await caller.plain(plain)
    (idle,) = world.backend.open
    await idle.send(WHOLE)  # an answer to nothing
    await until(lambda: pool(world).open == 0)
    world.reply = says(WHOLE.replace(b"hello", b"right"))
    assert b"right" == (await caller.call()).content
    assert 0 == plain.fell_back


@pytest.mark.requirement("H-08")
async def test_a_silent_backend(redis_server: RedisServer, plain: Plain) -> None:
    """504 once `response_timeout` has passed, whichever timer was running before; the next call goes on."""
    async with running_world(redis_server, route={"response_timeout": 0.5}) as world:
        hang = asyncio.Event()

        async def silent(_: Received) -> None:
            await hang.wait()

        caller = await warm_caller(world)
        await caller.plain(plain)
        started = asyncio.get_running_loop().time()
        world.reply = silent
        assert (504, "upstream_timeout") == (await caller.call()).code
        waited = asyncio.get_running_loop().time() - started
        assert 0.49 <= waited < 60
        await nothing_is_left(world)
        assert 0 == pool(world).open
        world.reply = None
        assert 200 == (await caller.plain(plain)).status

        async def slow(_: Received) -> Reply:
            await asyncio.sleep(0.3)  # a third timer would ring here, set for a call before
            return Reply(body=b"slow")

        world.reply = slow
        assert [b"slow"] * 3 == [(await caller.call()).content for _ in range(3)]
        await asyncio.sleep(0.55)  # no timer is left
        world.reply = silent
        assert (504, "upstream_timeout") == (await caller.call()).code


# 401


@pytest.mark.requirement("T-01", "T-05")
async def test_a_401_is_healed(world: World, plain: Plain) -> None:
    """One rotation, one repetition with the new token; and the calls after it are plain with that token."""
    caller = await warm_caller(world)
    await caller.plain(plain)
    old = world.backend.requests[-1].values(b"authorization")

    async def strict(request: Received) -> Reply:
        return Reply(401) if request.values(b"authorization") == old else Reply(body=b"new")

    world.reply = strict
    before = len(world.backend.requests)
    with capture_logs() as lines:
        assert b"new" == (await caller.call()).content
    assert [True] == [line["retried"] for line in lines if line["event"] == "request"]
    assert (1, before + 2) == (world.refreshes, len(world.backend.requests))
    answer = await caller.plain(plain)
    assert (200, b"new") == (answer.status, answer.content)
    assert 1 == world.refreshes


async def test_a_401_that_stays(world: World, plain: Plain) -> None:
    """After the one repetition it is the backend's answer, and marked as that; the session lives."""
    caller = await warm_caller(world)
    await caller.plain(plain)
    world.reply = says(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno")
    before = len(world.backend.requests)
    answer = await caller.call()
    assert (401, b"no", ["1"]) == (answer.status, answer.content, answer.values("bff-upstream"))
    assert (1, before + 2) == (world.refreshes, len(world.backend.requests))
    world.reply = None
    assert 200 == (await caller.plain(plain)).status
    await nothing_is_left(world)


@pytest.mark.requirement("B-12")
async def test_our_own_endpoints_are_no_backends(redis_server: RedisServer, plain: Plain) -> None:
    """A development server's page is for all other paths: on a warm line it gets none of ours either."""
    async with backend(page) as vite, running_world(redis_server, spa={"url": vite.url}) as world:
        caller = await Caller.connected(world, None)
        assert b"page" == (await caller.plain(plain, "GET /app.js HTTP/1.1")).content
        seen = len(vite.requests)
        answers = [await caller.call("GET /bff/user HTTP/1.1") for _ in range(ENOUGH)]
        assert [(401, "session_missing")] * ENOUGH == [answer.code for answer in answers]
        assert seen == len(vite.requests)


async def page(_: Received) -> Reply:
    return Reply(body=b"page")
