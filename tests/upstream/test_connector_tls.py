"""Connecting over TLS: who is trusted, for which name, and what ends an answer."""

import asyncio
import socket
from pathlib import Path

import pytest

from bff.policy.routes import Upstream, compile_route
from bff.settings.model import RouteSettings
from bff.upstream.connector import UpstreamFaultError, client_tls
from bff.upstream.interfaces import Fault, FaultKind
from bff.upstream.pool_registry import Pools
from tests.support.network.backend import Conversation, Received, Reply, backend, raw_backend
from tests.support.network.tls import Certificate, self_signed, server_tls, trusting
from tests.support.network.upstream import begin, failure, fetch, pool_for, request
from tests.upstream.conftest import Resolve


async def hello(_: Received) -> Reply:
    return Reply(body=b"hello")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return self_signed(tmp_path_factory.mktemp("tls"))


async def test_calls_over_tls(certificate: Certificate) -> None:
    """Requests, bodies and reuse work over TLS; the name is sent (SNI)."""
    seen: list[str | None] = []
    body = b"x" * 1_000_000

    async def echo(asked: Received) -> Reply:
        return Reply(body=asked.body)

    async with backend(echo, tls=server_tls(certificate, seen)) as b:
        async with pool_for(b.upstream, tls=trusting(certificate)) as pool:
            for _ in range(2):
                assert body == (await fetch(pool, request(b"PUT", length=len(body)), body)).body
            assert 1 == pool.stats().idle
        assert (1, ["localhost"]) == (b.connections, seen)


async def test_a_certificate_that_nobody_vouches_for(certificate: Certificate) -> None:
    """Without the CA there is no connection."""
    async with backend(hello, tls=server_tls(certificate)) as b:
        fault = await failure(b.upstream, tls=client_tls())
        assert Fault(FaultKind.UNREACHABLE, "TLS: CERTIFICATE_VERIFY_FAILED") == fault
        assert [] == b.requests


async def test_a_certificate_of_another_name(certificate: Certificate, resolve: Resolve) -> None:
    """A trusted certificate is good for its own names only."""
    async with backend(hello, tls=server_tls(certificate)) as b:
        resolve(["127.0.0.1"])
        fault = await failure(Upstream("https", "other.example", b.port), tls=trusting(certificate))
        assert Fault(FaultKind.UNREACHABLE, "TLS: CERTIFICATE_VERIFY_FAILED") == fault


async def test_no_tls_at_the_other_end(certificate: Certificate) -> None:
    """A backend that speaks plain HTTP where TLS is expected is unreachable, and nothing is sent to it."""

    async def script(conversation: Conversation) -> None:
        await conversation.reader.read(1)
        await conversation.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with raw_backend(script) as b:
        fault = await failure(Upstream("https", "localhost", b.port), tls=trusting(certificate))
        assert (FaultKind.UNREACHABLE, True) == (fault.kind, fault.detail.startswith("TLS: "))


@pytest.mark.requirement("H-06")
@pytest.mark.parametrize("polite", [True, False])
async def test_only_a_goodbye_ends_a_close_delimited_answer_over_tls(
    certificate: Certificate, polite: bool
) -> None:
    """Anybody can end a TCP stream; only the backend can say close_notify (RFC 9112, 9.8)."""

    async def script(conversation: Conversation) -> None:
        await conversation.read_request()
        await conversation.send(b"HTTP/1.1 200 OK\r\n\r\nall of it?")
        await seen.wait()
        if not polite:
            raw = conversation.writer.get_extra_info("socket")
            with socket.socket(fileno=socket.dup(raw.fileno())) as plain:
                plain.shutdown(socket.SHUT_WR)
            await conversation.closed()

    seen = asyncio.Event()
    serving, trusted = server_tls(certificate), trusting(certificate)
    async with raw_backend(script, tls=serving) as b, pool_for(b.upstream, tls=trusted) as pool:
        _, sink = await begin(pool, request())
        await sink.until(lambda: sink.body == b"all of it?")
        seen.set()
        assert ("end" if polite else "error") == (await sink.done()).events[-1]


@pytest.mark.requirement("H-03")
async def test_backpressure_over_tls(certificate: Certificate) -> None:
    """A paused answer stops at one read's worth over TLS as well, and goes on to its end."""
    size = 16 * 1024 * 1024

    async def script(conversation: Conversation) -> None:
        await conversation.read_request()
        await conversation.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        for _ in range(size // 65536):
            await conversation.send(b"x" * 65536)
        await conversation.closed()

    serving, trusted = server_tls(certificate), trusting(certificate)
    async with raw_backend(script, tls=serving) as b, pool_for(b.upstream, tls=trusted) as pool:
        call, sink = await begin(pool, request())
        sink.keep = False
        sink.on["head"] = call.pause_answer
        await sink.until(lambda: bool(sink.status))
        await asyncio.sleep(0.3)  # that nothing more comes is what is tested
        assert sink.size <= 1024 * 1024
        call.resume_answer()
        assert (size, "end") == ((await sink.done()).size, sink.events[-1])


async def test_a_backend_that_never_says_goodbye_does_not_hold_up_the_end(certificate: Certificate) -> None:
    """`aclose` does not wait for a close_notify that does not come."""

    async def script(conversation: Conversation) -> None:
        await conversation.read_request()
        await conversation.send(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi")
        conversation.writer.transport.pause_reading()  # type: ignore[attr-defined] # a transport that reads
        await over.wait()
        conversation.cut()

    over = asyncio.Event()
    serving, trusted = server_tls(certificate), trusting(certificate)
    async with raw_backend(script, tls=serving) as b:
        async with asyncio.timeout(60), pool_for(b.upstream, tls=trusted) as pool:
            assert b"hi" == (await fetch(pool)).body
            assert 0 == pool.stats().open
        over.set()
        await b.until(lambda: not b.open)


async def test_a_backend_under_another_name(certificate: Certificate, resolve: Resolve) -> None:
    """`server_name` is what is sent and checked, whatever the URL's host is."""
    seen: list[str | None] = []
    async with backend(hello, tls=server_tls(certificate, seen)) as b:
        resolve(["127.0.0.1"])
        upstream = Upstream("https", "10.0.0.1", b.port)
        tls = trusting(certificate)
        assert "TLS: CERTIFICATE_VERIFY_FAILED" == (await failure(upstream, tls=tls)).detail
        async with pool_for(upstream, tls=tls, server_name="localhost") as pool:
            assert b"hello" == (await fetch(pool)).body
        assert "localhost" == seen[-1]


async def test_a_backend_that_asks_who_we_are(certificate: Certificate, tmp_path: Path) -> None:
    """The route's client certificate is shown; without one nothing is answered."""
    ours = self_signed(tmp_path, "bff.internal")
    async with backend(hello, tls=server_tls(certificate, clients=ours)) as b:
        async with pool_for(b.upstream, tls=trusting(certificate, ours)) as pool:
            assert b"hello" == (await fetch(pool)).body
        async with pool_for(b.upstream, tls=trusting(certificate)) as pool:
            try:
                fault = (await fetch(pool)).fault
            except UpstreamFaultError as refused:  # with TLS 1.3 it is told only after our side is done
                fault = refused.fault
            assert fault is not None
            assert fault.kind in {FaultKind.BROKEN, FaultKind.UNREACHABLE}
        assert 1 == len(b.requests)


async def test_a_routes_settings_make_its_connections(certificate: Certificate, tmp_path: Path) -> None:
    """CA, client certificate and name come from the route, each route's for itself."""
    ours = self_signed(tmp_path, "bff.internal")
    async with backend(hello, tls=server_tls(certificate, clients=ours)) as b:
        plain = {"path": "/a", "upstream": f"https://127.0.0.1:{b.port}"}
        known = plain | {
            "path": "/b",
            "ca_file": certificate.cert,
            "client_cert_file": ours.cert,
            "client_key_file": ours.key,
            "server_name": "localhost",
        }
        pools = Pools()
        bare, whole = (
            pools.for_upstream(compile_route(RouteSettings.model_validate(one))) for one in (plain, known)
        )
        with pytest.raises(UpstreamFaultError, match="CERTIFICATE_VERIFY_FAILED"):
            await bare.acquire()
        assert b"hello" == (await fetch(whole)).body
        await pools.aclose()
