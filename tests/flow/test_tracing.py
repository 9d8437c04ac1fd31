"""Traces by OpenTelemetry: one from the browser's `traceparent` to the backend, and no secret in it."""

import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, format_span_id, format_trace_id

from bff.observe import otel_setup
from bff.observe.logs import configure
from bff.observe.otel_setup import OpenTelemetry
from bff.settings.model import LogSettings
from tests.support.load.warm import Plain
from tests.support.network.backend import Received, Reply
from tests.support.network.sockets import running_sockets
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import Browser, World, running_world

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
STATE = "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"
ON = {"opentelemetry": "on"}
SAMPLED, NOT_SAMPLED = f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-00"


class Traces:
    """What has been exported so far."""

    def __init__(self, world: World, memory: InMemorySpanExporter) -> None:
        self._world = world
        self._memory = memory

    def taken(self) -> list[ReadableSpan]:
        """All spans that have ended since the last look."""
        telemetry = self._world.app.shared.telemetry
        assert isinstance(telemetry, OpenTelemetry)
        assert telemetry._provider is not None
        telemetry._provider.force_flush()
        spans = list(self._memory.get_finished_spans())
        self._memory.clear()
        return spans


def kept_in_memory(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    memory = InMemorySpanExporter()
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    monkeypatch.setattr(otel_setup, "_exporter", lambda *_: memory)
    return memory


@asynccontextmanager
async def traced_world(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[World, Browser, Traces]]:
    """A world with somebody signed in, whose spans are kept."""
    memory = kept_in_memory(monkeypatch)
    async with running_world(redis, telemetry=ON) as world:
        traces = Traces(world, memory)
        browser = await world.signed_in()
        yield world, browser, traces


def named(spans: Sequence[ReadableSpan], name: str, kind: SpanKind) -> ReadableSpan:
    (found,) = [span for span in spans if span.name == name and span.kind is kind]
    return found


def below(span: ReadableSpan, spans: Sequence[ReadableSpan]) -> set[str]:
    """The names of the spans right below this one."""
    assert span.context is not None
    return {
        one.name for one in spans if one.parent is not None and one.parent.span_id == span.context.span_id
    }


def told(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


def received(world: World) -> tuple[list[bytes], list[bytes]]:
    last = world.backend.requests[-1]
    return last.values(b"traceparent"), last.values(b"tracestate")


@pytest.mark.requirement("B-24")
@pytest.mark.usefixtures("both_fronts")
async def test_one_trace_from_browser_to_backend(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that waits for a rotation: with Redis, provider and backend in it, and no secret."""
    async with traced_world(redis_server, monkeypatch) as (world, browser, traces):
        traces.taken()
        world.clock.ahead = 400
        headers = {"traceparent": SAMPLED, "tracestate": STATE}
        answer = await browser.call("/api/orders/7?token=in-the-query", headers=headers)
        assert 200 == answer.status_code
        spans = traces.taken()
        assert {TRACE} == {format_trace_id(span.context.trace_id) for span in spans if span.context}

        server = named(spans, "GET /api", SpanKind.SERVER)
        assert server.parent is not None
        assert PARENT == format_span_id(server.parent.span_id)
        port = int(world.url.rpartition(":")[2])
        assert {
            "http.request.method": "GET",
            "http.route": "/api",
            "url.path": "/api/orders/7",
            "url.scheme": "http",
            "server.address": "localhost",
            "server.port": port,
            "http.response.status_code": 200,
        } == told(server)
        client = named(spans, "GET", SpanKind.CLIENT)
        backend = world.backend.port
        assert {
            "http.request.method": "GET",
            "server.address": "127.0.0.1",
            "server.port": backend,
            "url.full": f"http://127.0.0.1:{backend}/orders/7",
            "http.response.status_code": 200,
        } == told(client)
        assert client.context is not None
        sent = f"00-{TRACE}-{format_span_id(client.context.span_id)}-01".encode()
        assert ([sent], [STATE.encode()]) == received(world)

        assert {"load session", "wait for refresh", "GET"} <= below(server, spans)
        waited = named(spans, "wait for refresh", SpanKind.INTERNAL)
        assert {"refresh"} <= below(waited, spans)
        refresh = named(spans, "refresh", SpanKind.INTERNAL)
        assert {"bff.refresh.cause": "expiry", "bff.refresh.outcome": "rotated"} == told(refresh)
        assert {"take lock", "mark session", "POST", "replace session"} <= below(refresh, spans)
        assert 200 == told(named(spans, "POST", SpanKind.CLIENT))["http.response.status_code"]

        assert browser.handle is not None
        everything = repr([(span.name, told(span), span.events, span.links) for span in spans])
        secrets = {browser.handle, "in-the-query", browser.session_key.rpartition(":")[2], "alice"}
        secrets |= {
            form["refresh_token"] for _, _, form in world.issuer.seen.requests if "refresh_token" in form
        }
        assert [] == [secret for secret in secrets if secret in everything]
        assert not re.search(r"eyJ[A-Za-z0-9_-]{8,}", everything)


async def test_our_endpoints_and_faults_are_traced(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sign-in by its redirects, a refusal, a repeated call, a backend that breaks, an unknown method."""
    async with traced_world(redis_server, monkeypatch) as (world, browser, traces):
        spans = traces.taken()
        finish = named(spans, "GET /bff/callback/finish", SpanKind.SERVER)
        assert {"POST", "create session"} <= below(finish, spans)
        assert {"http.route", "url.path"} <= told(finish).keys()

        await browser.client.get("/api/orders")  # without our header
        (refused,) = traces.taken()
        assert ("GET /api", 403) == (refused.name, told(refused)["http.response.status_code"])
        assert "error.type" not in told(refused)

        replies = [Reply(status=401), Reply(status=200)]

        async def again(_: Received) -> Reply | None:
            return replies.pop(0) if replies else None

        world.reply = again
        assert 200 == (await browser.call("/api/orders")).status_code
        spans = traces.taken()
        tries = [told(span) for span in spans if span.name == "GET" and span.kind is SpanKind.CLIENT]
        assert [(401, "401", None), (200, None, 1)] == [
            (one["http.response.status_code"], one.get("error.type"), one.get("http.request.resend_count"))
            for one in tries
        ]
        assert 502 == (await browser.call("/api/orders", "POST")).status_code
        spans = traces.taken()
        assert "stale" == told(named(spans, "POST", SpanKind.CLIENT))["error.type"]
        server = named(spans, "POST /api", SpanKind.SERVER)
        assert "upstream_unreachable" == told(server)["error.type"]
        assert not server.status.is_ok
        assert 405 == (await browser.call("/api/orders", "PROPFIND")).status_code
        (odd,) = traces.taken()
        assert ("HTTP /api", "_OTHER") == (odd.name, told(odd)["http.request.method"])


@pytest.mark.usefixtures("both_fronts")
async def test_the_client_decides_as_far_as_it_may(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not sampled stays so, with its id; a hostile context is ignored, a hostile state is dropped."""
    async with traced_world(redis_server, monkeypatch) as (world, browser, traces):
        traces.taken()
        await browser.call("/api/a", headers={"traceparent": NOT_SAMPLED, "tracestate": STATE})
        assert [] == traces.taken()
        (parent,), states = received(world)
        assert re.fullmatch(rf"00-{TRACE}-[0-9a-f]{{16}}-00", parent.decode())
        assert parent.decode() != NOT_SAMPLED
        assert [STATE.encode()] == states

        zero = "0" * 32
        for hostile in ("x" * 5000, f"00-{zero}-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01", f"{SAMPLED}-x", ""):
            await browser.call("/api/a", headers={"traceparent": hostile, "tracestate": STATE})
            (parent,), states = received(world)
            assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", parent.decode())
            assert TRACE not in parent.decode()
            assert [] == states
        for hostile in ("no state", "a=b," * 40, "A=b", "a=" + "b" * 600, "a=b,a=c"):
            await browser.call("/api/a", headers={"traceparent": SAMPLED, "tracestate": hostile})
            (parent,), states = received(world)
            assert TRACE in parent.decode()
            assert [] == states


@pytest.mark.server_only
async def test_a_call_on_the_fast_path_is_traced(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, plain: Plain
) -> None:
    """It stays on the fast path, and its trace is an example of its metric."""
    async with traced_world(redis_server, monkeypatch) as (world, browser, traces):
        for _ in range(3):
            await browser.call("/api/a", headers={"traceparent": SAMPLED})
        traces.taken()
        before = plain.ended_plain
        await browser.call("/api/a", headers={"traceparent": SAMPLED})
        assert before + 1 == plain.ended_plain
        spans = traces.taken()
        server, client = named(spans, "GET /api", SpanKind.SERVER), named(spans, "GET", SpanKind.CLIENT)
        assert {"GET"} == below(server, spans)
        assert client.context is not None
        assert ([f"00-{TRACE}-{format_span_id(client.context.span_id)}-01".encode()], []) == received(world)
        page, kind = world.app.metrics.render(openmetrics=True)
        assert kind.startswith("application/openmetrics-text")
        assert f'# {{trace_id="{TRACE}"}}'.encode() in page


async def test_the_handshake_of_a_websocket_is_traced(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the wait for a rotation in it; over once the backend has answered, and a refused one as well."""
    memory = kept_in_memory(monkeypatch)
    async with running_sockets(redis_server, telemetry=ON) as sockets:
        traces = Traces(sockets.world, memory)
        browser = await sockets.world.signed_in()
        traces.taken()
        sockets.world.clock.ahead = 400
        headers = [("traceparent", SAMPLED), ("tracestate", STATE)]
        async with await sockets.connect(browser, headers=headers) as socket:
            spans = traces.taken()
            server, client = named(spans, "GET /api", SpanKind.SERVER), named(spans, "GET", SpanKind.CLIENT)
            assert {"wait for refresh", "GET"} <= below(server, spans)
            assert {"refresh"} <= below(named(spans, "wait for refresh", SpanKind.INTERNAL), spans)
            assert 101 == told(server)["http.response.status_code"]
            assert client.context is not None
            sent = f"00-{TRACE}-{format_span_id(client.context.span_id)}-01"
            assert [sent] == sockets.backend.headers.get_all("traceparent")
            assert [STATE] == sockets.backend.headers.get_all("tracestate")
            await socket.send("hello")
            assert "hello" == await socket.recv()
        await sockets.refused(None)
        (refused,) = traces.taken()
        assert ("GET /api", 401) == (refused.name, told(refused)["http.response.status_code"])


async def test_a_reverse_proxys_question_is_traced(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below the reverse proxy's span, the rotation in it; a refusal too, and nothing of a stranger's."""
    memory, proof = kept_in_memory(monkeypatch), {"BFF-Forward-Auth": "8c1f9f0b4e6d4d2ab0f1f5f6c7a3e9d2"}
    told_by = {"X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/api/orders?token=in-the-query"}
    asked = "/bff/forward-auth"
    async with running_world(
        redis_server, telemetry=ON, forward_auth={"secrets": list(proof.values())}
    ) as world:
        traces = Traces(world, memory)
        browser, stranger = await world.signed_in(), await world.browser()
        traces.taken()
        world.clock.ahead = 400
        headers = {"traceparent": SAMPLED, **told_by}
        assert 200 == (await browser.call(asked, headers=headers | proof)).status_code
        spans = traces.taken()
        assert {TRACE} == {format_trace_id(span.context.trace_id) for span in spans if span.context}
        server = named(spans, f"GET {asked}", SpanKind.SERVER)
        assert server.parent is not None
        assert PARENT == format_span_id(server.parent.span_id)
        assert {"http.route": asked, "url.path": "/api/orders", "http.response.status_code": 200}.items() <= (
            told(server).items()
        )
        assert {"load session", "wait for refresh"} <= below(server, spans)
        assert {"refresh"} <= below(named(spans, "wait for refresh", SpanKind.INTERNAL), spans)
        assert 401 == (await stranger.call(asked, headers=headers | proof)).status_code
        (refused,) = traces.taken()
        assert 401 == told(refused)["http.response.status_code"]
        assert 404 == (await stranger.call(asked, headers=headers)).status_code
        assert [] == traces.taken()


@pytest.mark.usefixtures("both_fronts")
@pytest.mark.parametrize("telemetry", [ON, {}])
async def test_log_lines_name_the_span_that_they_are_written_in(
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    telemetry: dict[str, str],
) -> None:
    """Access lines and audit events, those of a rotation too; without traces no line has any ids."""
    kept_in_memory(monkeypatch)
    async with running_world(redis_server, telemetry=telemetry) as world:
        browser = await world.signed_in()
        configure(LogSettings(format="json"))
        world.clock.ahead = 400
        for sent in (SAMPLED, NOT_SAMPLED):
            await browser.call("/api/orders", headers={"traceparent": sent})
        await browser.client.get("/api/orders", headers={"traceparent": SAMPLED})  # without our header
        await browser.call("/bff/logout", "POST", headers={"traceparent": SAMPLED})
    configure(LogSettings())
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    ids = [(line["event"], line.get("trace_id"), len(line.get("span_id", ""))) for line in lines]
    found = {event for event, trace, span in ids if (trace, span) == (TRACE, 16)}
    wanted = {"request", "tokens_refreshed", "csrf_rejected", "signed_out"}
    assert (wanted if telemetry else set()) == found & wanted
    paths = [line.get("trace_id") for line in lines if line.get("path") == "/api/orders"]
    assert ([TRACE, None, TRACE] if telemetry else [None] * 3) == paths
    assert {None, TRACE} >= {trace for _, trace, _ in ids}
