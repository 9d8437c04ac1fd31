"""Connecting: addresses in turn, names, TLS."""

import asyncio
import datetime as dt
import ipaddress
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bff.policy.routes import Upstream
from bff.proxy.dial import UpstreamFaultError, client_tls
from bff.proxy.pool import PoolLimits, PoolStats
from bff.proxy.sinks import Fault, FaultKind
from tests.support.backend import Conversation, Received, Reply, backend, raw_backend
from tests.support.upstream import begin, fetch, pool_for, request


async def hello(_: Received) -> Reply:
    return Reply(body=b"hello")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def failure(
    upstream: Upstream, limits: PoolLimits | None = None, tls: ssl.SSLContext | None = None
) -> Fault:
    async with pool_for(upstream, limits, tls=tls) as pool:
        with pytest.raises(UpstreamFaultError) as raised:
            await pool.acquire()
        assert PoolStats(open=0, idle=0, waiting=0) == pool.stats()
        return raised.value.fault


async def test_nobody_listens() -> None:
    """A refused connection is UNREACHABLE, and the slot is free again."""
    fault = await failure(Upstream("http", "127.0.0.1", free_port()))
    assert Fault(FaultKind.UNREACHABLE, "connect: Connection refused") == fault


async def test_a_name_that_does_not_exist() -> None:
    """An unknown name is UNREACHABLE, and so is one that is none."""
    for name in ("name.invalid", "a" * 70 + ".invalid"):
        fault = await failure(Upstream("http", name, 80))
        assert (FaultKind.UNREACHABLE, True) == (fault.kind, fault.detail.startswith("resolve: "))


Resolve = Callable[[list[str] | None], None]


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """Makes the running loop find these addresses for any name; None: it never answers."""

    def to(addresses: list[str] | None) -> None:
        async def getaddrinfo(_host: str, port: int, **_: Any) -> list[Any]:
            if addresses is None:
                await asyncio.Event().wait()
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses or ()
            ]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)

    return to


async def test_addresses_are_tried_in_turn(resolve: Resolve) -> None:
    """A name with several addresses is reachable as long as one of them is."""
    async with backend(hello) as b:
        resolve(["127.0.0.2", "127.0.0.3", "127.0.0.1", "127.0.0.1"])
        async with pool_for(Upstream("http", "several", b.port)) as pool:
            assert b"hello" == (await fetch(pool)).body


async def test_no_address_takes_the_connection(resolve: Resolve) -> None:
    """What the last address said is the fault; a name without addresses is unreachable."""
    port = free_port()
    resolve(["127.0.0.2", "127.0.0.3"])
    assert FaultKind.UNREACHABLE == (await failure(Upstream("http", "several", port))).kind
    resolve([])
    assert "resolve: no address" == (await failure(Upstream("http", "none", port))).detail


@pytest.mark.requirement("H-08")
async def test_a_silent_address_leaves_time_for_the_next(resolve: Resolve) -> None:
    """Each address gets an equal share of the time: one that swallows packets does not use it all up."""
    with socket.socket() as full:  # a listener whose queue is full answers no further connection
        full.bind(("127.0.0.9", 0))
        full.listen(0)
        port = full.getsockname()[1]
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.9", port))
        async with backend(hello, port=port):
            resolve(["127.0.0.9", "127.0.0.1"])
            async with pool_for(Upstream("http", "several", port), PoolLimits(connect_timeout=2.0)) as pool:
                assert b"hello" == (await fetch(pool)).body
            resolve(["127.0.0.9"])
            fault = await failure(Upstream("http", "silent", port), PoolLimits(connect_timeout=0.2))
            assert Fault(FaultKind.TIMEOUT, "connect") == fault
        for filler in fillers:
            filler.close()


async def test_a_resolver_that_does_not_answer(resolve: Resolve) -> None:
    """Looking the name up counts against `connect_timeout`."""
    resolve(None)
    fault = await failure(Upstream("http", "slow", 80), PoolLimits(connect_timeout=0.05))
    assert Fault(FaultKind.TIMEOUT, "resolve") == fault


# TLS.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for `localhost` and 127.0.0.1, with its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


def server_tls(certificate: Path, seen: list[str | None] | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if seen is not None:
        context.sni_callback = lambda _socket, name, _context: seen.append(name)
    return context


def trusting(certificate: Path) -> ssl.SSLContext:
    context = client_tls()
    context.load_verify_locations(certificate)
    return context


async def test_calls_over_tls(certificate: Path) -> None:
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


async def test_a_certificate_that_nobody_vouches_for(certificate: Path) -> None:
    """Without the CA there is no connection."""
    async with backend(hello, tls=server_tls(certificate)) as b:
        fault = await failure(b.upstream, tls=client_tls())
        assert Fault(FaultKind.UNREACHABLE, "TLS: CERTIFICATE_VERIFY_FAILED") == fault
        assert [] == b.requests


async def test_a_certificate_of_another_name(certificate: Path, resolve: Resolve) -> None:
    """A trusted certificate is good for its own names only."""
    async with backend(hello, tls=server_tls(certificate)) as b:
        resolve(["127.0.0.1"])
        fault = await failure(Upstream("https", "other.example", b.port), tls=trusting(certificate))
        assert Fault(FaultKind.UNREACHABLE, "TLS: CERTIFICATE_VERIFY_FAILED") == fault


async def test_no_tls_at_the_other_end(certificate: Path) -> None:
    """A backend that speaks plain HTTP where TLS is expected is unreachable, and nothing is sent to it."""

    async def script(conversation: Conversation) -> None:
        await conversation.reader.read(1)
        await conversation.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with raw_backend(script) as b:
        fault = await failure(Upstream("https", "localhost", b.port), tls=trusting(certificate))
        assert (FaultKind.UNREACHABLE, True) == (fault.kind, fault.detail.startswith("TLS: "))


@pytest.mark.requirement("H-06")
@pytest.mark.parametrize("polite", [True, False])
async def test_only_a_goodbye_ends_a_close_delimited_answer_over_tls(certificate: Path, polite: bool) -> None:
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
async def test_backpressure_over_tls(certificate: Path) -> None:
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


async def test_a_backend_that_never_says_goodbye_does_not_hold_up_the_end(certificate: Path) -> None:
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
        async with asyncio.timeout(10), pool_for(b.upstream, tls=trusted) as pool:
            assert b"hi" == (await fetch(pool)).body
            assert 0 == pool.stats().open
        over.set()
        await b.until(lambda: not b.open)
