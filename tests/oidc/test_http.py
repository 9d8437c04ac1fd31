"""Calls to the provider on real sockets: made once, bounded, over connections that lose nothing."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpcore
import httpx
import pytest
import uvloop

from bff.embedded import free_port
from bff.errors import ProviderUnavailableError
from bff.oidc.http import (
    MAX_ANSWER,
    Answer,
    AnswerLateError,
    AnswerLostError,
    CallWithdrawnError,
    ProviderHttp,
    Sending,
    _Watched,
)
from bff.oidc.http_clients import Certificates
from bff.oidc.requests import Client, refresh_form
from tests.support.network.resets import reset_at_close
from tests.support.network.tls import self_signed, server_tls
from tests.support.wait import until

FORM = refresh_form(Client("id", "secret"), refresh_token="r3fr3sh")


class Scripted:
    """A server that reads whole requests and gives what it was told to."""

    def __init__(self, reply: bytes) -> None:
        self.reply = reply
        self.drip = 0.0
        self.requests: list[bytes] = []
        self.connections = 0
        self.base = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while (head := await reader.readuntil(b"\r\n\r\n")) != b"":
                length = next(
                    (
                        int(line.split(b":")[1])
                        for line in head.split(b"\r\n")
                        if line.lower().startswith(b"content-l")
                    ),
                    0,
                )
                self.requests.append(head + await reader.readexactly(length))
                for byte in self.reply if self.drip else [self.reply]:
                    writer.write(bytes([byte]) if isinstance(byte, int) else byte)
                    await writer.drain()
                    await asyncio.sleep(self.drip)
                if b"content-length" not in self.reply.lower() or b"100000" in self.reply:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def scripted(reply: bytes, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Scripted]:
    provider = Scripted(reply)
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    provider.base = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    try:
        yield provider
    finally:
        server.close()


@asynccontextmanager
async def wire(*, seconds: float = 60.0, ca_file: Path | None = None) -> AsyncIterator[ProviderHttp]:
    made = ProviderHttp(timeout=seconds, certificates=Certificates(ca_file))
    try:
        yield made
    finally:
        await made.aclose()


def ok(body: bytes = b"{}", *, headers: bytes = b"", status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status, headers, len(body), body)


async def test_documents_come_over_a_kept_connection() -> None:
    """Two reads share one."""
    async with scripted(ok(b'{"a": 1}')) as provider, wire() as made:
        assert {"a": 1} == (await made.get(provider.base + "/x")).json()
        assert {"a": 1} == (await made.get(provider.base + "/x")).json()
        assert provider.connections == 1
        assert b"accept-encoding: identity" in provider.requests[0].lower()


async def test_what_spends_has_a_connection_of_its_own() -> None:
    """No token is ever sent on a connection that the provider may be closing."""
    async with scripted(ok()) as provider, wire() as made:
        await made.get(provider.base)
        for _ in range(3):
            assert (await made.post(provider.base, FORM)).status == 200
        assert provider.connections == 4
        assert provider.requests[1].endswith(b"grant_type=refresh_token&refresh_token=r3fr3sh")


@pytest.mark.requirement("T-09", "H-07")
@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{",
        b"nonsense\r\n\r\n",
        ok(b"x" * (MAX_ANSWER + 1)),
        ok(headers=b"Content-Encoding: gzip\r\n"),
    ],
)
async def test_an_answer_that_got_lost_is_not_asked_for_again(reply: bytes) -> None:
    """The request went out once, and the error says that it may have been worked on."""
    async with scripted(reply) as provider, wire() as made:
        with pytest.raises(AnswerLostError) as caught:
            await made.post(provider.base, FORM)
        assert len(provider.requests) == 1
        assert provider.connections == 1
        assert "r3fr3sh" not in repr(caught.value)
        assert caught.value.__cause__ is None


async def test_an_answer_of_the_largest_size_is_read() -> None:
    """1 MiB exactly."""
    async with scripted(ok(b"x" * MAX_ANSWER)) as provider, wire() as made:
        assert MAX_ANSWER == len((await made.get(provider.base)).body)


async def test_a_provider_that_is_not_there_was_never_sent_anything() -> None:
    """A refused connection spends no token."""
    async with wire() as made:
        with pytest.raises(ProviderUnavailableError) as caught:
            await made.post(f"http://127.0.0.1:{free_port()}/", FORM)
        assert not isinstance(caught.value, AnswerLostError)


async def test_a_dripping_answer_ends_in_time() -> None:
    """The limit holds for the whole answer, not for each byte of it."""
    async with scripted(ok(b"x" * 10_000)) as provider, wire(seconds=2) as made:
        assert 200 == (await made.get(provider.base)).status  # connected: the limit is the answer's alone
        provider.drip = 0.01
        with pytest.raises(AnswerLostError):
            await made.post(provider.base, FORM)


async def test_a_redirect_is_an_answer_and_nothing_more() -> None:
    """A client secret follows nobody."""
    reply = ok(status=b"307 Temporary Redirect", headers=b"Location: http://127.0.0.1:1/evil\r\n")
    async with scripted(reply) as provider, wire() as made:
        assert (await made.post(provider.base, FORM)).status == 307
        assert (await made.get(provider.base)).status == 307
        assert len(provider.requests) == 2


async def test_cookies_of_the_provider_are_not_kept() -> None:
    """One jar would carry them from one user's call to the next."""
    async with scripted(ok(headers=b"Set-Cookie: who=alice\r\n")) as provider, wire() as made:
        await made.get(provider.base)
        await made.get(provider.base)
        await made.post(provider.base, FORM)
        assert [] == [request for request in provider.requests if b"cookie" in request.lower()]


async def test_the_environment_leads_nothing_astray(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy variable that was set for something else is not followed."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with scripted(ok()) as provider, wire() as made:
        assert (await made.get(provider.base)).status == 200


@pytest.mark.parametrize(
    ("seconds", "value"),
    [
        (7.0, "7"),
        (0.0, "0"),
        (3600.0, "99999999999"),
        (60.0, "Tue, 14 Nov 2023 22:14:20 GMT"),
        (60.0, "Tue, 14 Nov 2023 22:14:20 -0000"),
        (0.0, "Tue, 14 Nov 2023 22:00:00 GMT"),
        (None, "soon"),
        (None, "-7"),
        (None, "\u0667"),
        (None, "Tue, 14 Nov 99999999999 22:14:20 GMT"),
        (None, ""),
    ],
)
def test_how_long_the_provider_asks_to_wait(seconds: float | None, value: str) -> None:
    """Seconds or a date, an hour at most."""
    assert seconds == Answer(503, {"retry-after": value}, b"").retry_after(1_700_000_000.0)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_json(body: bytes) -> None:
    """It reads as nothing, whatever is wrong with it."""
    assert Answer(200, {}, body).json() is None


async def test_a_private_authority_is_trusted_by_setting_alone(tmp_path: Path) -> None:
    """`ca_file` lets a private provider in; without it its certificate is refused before anything is sent."""
    certificate = self_signed(tmp_path)
    async with scripted(ok(), tls=server_tls(certificate)) as provider:
        async with wire(ca_file=certificate.cert) as trusting:
            assert (await trusting.get(provider.base)).status == 200
        async with wire() as strict:
            with pytest.raises(ProviderUnavailableError) as caught:
                await strict.post(provider.base, FORM)
            assert not isinstance(caught.value, AnswerLostError)
        assert len(provider.requests) == 1


@pytest.mark.requirement("T-05")
async def test_the_last_look_is_when_the_connection_stands() -> None:
    """Who has changed their mind by then sends nothing; who has not is told when it has left."""
    async with scripted(ok()) as provider, wire() as made:
        looks: list[int] = []
        left: list[int] = []

        def look(*, allowed: bool) -> bool:
            looks.append(provider.connections)
            return allowed

        no = Sending(may_send=lambda: look(allowed=False), sent=lambda: left.append(0))
        with pytest.raises(CallWithdrawnError):
            await made.post(provider.base, FORM, no)
        await until(lambda: provider.connections == 1)
        assert ([], []) == (provider.requests, left)
        yes = Sending(may_send=lambda: look(allowed=True), sent=lambda: left.append(len(provider.requests)))
        assert 200 == (await made.post(provider.base, FORM, yes)).status
        assert (2, 1, 1) == (len(looks), len(left), len(provider.requests))


async def test_a_call_can_be_given_more_patience_than_others() -> None:
    """An answer that nobody waits for may be the only copy of the next tokens."""
    async with scripted(ok(b"x" * 10)) as provider, wire(seconds=0.5) as made:
        provider.drip = 0.1
        assert 200 == (await made.post(provider.base, FORM, Sending(patience=5.0))).status
        with pytest.raises(AnswerLostError):
            await made.post(provider.base, FORM)


async def test_a_handshake_that_never_ends_has_sent_nothing() -> None:
    """However the time runs out: what got no further than the connection was not spent."""
    async with scripted(ok()) as silent, wire(seconds=2) as made:
        with pytest.raises(ProviderUnavailableError) as caught:
            await made.post(silent.base.replace("http:", "https:"), FORM)
        assert not isinstance(caught.value, AnswerLostError)


@pytest.mark.requirement("T-09")
@pytest.mark.parametrize(
    ("expected", "steps"),
    [
        (True, ["connection.connect_tcp.started"]),
        (True, ["http11.send_request_headers.started", "http11.send_request_headers.failed"]),
        (False, ["http11.send_request_body.started"]),
        (False, ["http11.send_request_body.started", "http11.send_request_body.complete"]),
        (True, ["http11.send_request_body.started", "http11.send_request_body.failed"]),
    ],
)
async def test_what_was_written_tells_what_was_sent(expected: bool, steps: list[str]) -> None:
    """A form is in the body: however the call ends, before that it has spent nothing."""
    for error in (TimeoutError(), AttributeError("getpeername"), httpx.ReadError("x"), RuntimeError()):
        watched = _Watched(Sending())
        for step in steps:
            await watched.trace(step, {"exception": httpcore.WriteError("broken")})
        assert expected is watched.unsent(error)


@pytest.mark.requirement("T-09")
async def test_a_write_that_took_too_long_may_have_been_read() -> None:
    """Only one that failed at once has written nothing."""
    watched = _Watched(Sending())
    await watched.trace("http11.send_request_body.started", {})
    await watched.trace("http11.send_request_body.failed", {"exception": httpcore.WriteTimeout("slow")})
    assert not watched.unsent(httpx.WriteTimeout("slow"))


@pytest.mark.requirement("T-09")
@pytest.mark.parametrize(
    ("lost", "owner", "name"),
    [
        (False, anyio, "connect_tcp"),
        (False, httpx.AsyncClient, "build_request"),
        (False, httpcore.AsyncHTTP11Connection, "_send_request_headers"),
        (True, httpcore.AsyncHTTP11Connection, "_receive_response_headers"),
        (True, httpx.Response, "aiter_raw"),
    ],
)
@pytest.mark.parametrize("error", [AttributeError("getpeername"), RuntimeError("x"), KeyError("x")])
async def test_whatever_the_http_client_raises_is_sent_or_not(
    monkeypatch: pytest.MonkeyPatch, lost: bool, owner: Any, name: str, error: Exception
) -> None:
    """An error that nobody foresaw is one of the two, by what was written; reading is out of reach by it."""

    def broken(*_: Any, **__: Any) -> Any:
        raise error

    async with scripted(ok()) as provider, wire() as made:
        monkeypatch.setattr(owner, name, broken)
        with pytest.raises(ProviderUnavailableError) as caught:
            await made.post(provider.base, FORM)
        assert lost is isinstance(caught.value, AnswerLostError)
        assert None is caught.value.__cause__ is caught.value.__context__
        with pytest.raises(ProviderUnavailableError):
            await made.get(provider.base)


@pytest.mark.requirement("T-09")
def test_a_provider_that_accepts_and_resets_is_a_provider_out_of_reach() -> None:
    """As one that goes down; uvloop has an AttributeError for that now and then, and asyncio has none."""

    async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reset_at_close(writer)
        writer.transport.abort()

    async def works() -> int:
        async with scripted(ok()) as provider, wire() as made:
            return (await made.post(provider.base, FORM)).status

    async def run() -> int:
        server = await asyncio.start_server(reset, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with wire() as made:
            calls = [made.post(f"http://127.0.0.1:{port}/", FORM) for _ in range(300)]
            ends: list[Any] = [await asyncio.gather(call, return_exceptions=True) for call in calls]
        server.close()
        return sum(isinstance(end, ProviderUnavailableError) for (end,) in ends)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert 300 == runner.run(run())
        assert 200 == runner.run(works())


@pytest.mark.requirement("T-17")
async def test_an_answer_that_is_late_is_told_apart_from_one_that_is_lost() -> None:
    """The provider may be at it yet: a broken connection is another thing."""
    async with scripted(ok(b"x" * 10_000)) as provider, wire(seconds=2) as made:
        provider.drip = 0.01
        with pytest.raises(AnswerLateError):
            await made.post(provider.base, FORM)
    async with scripted(b"") as provider, wire() as made:
        with pytest.raises(AnswerLostError) as caught:
            await made.post(provider.base, FORM)
        assert not isinstance(caught.value, AnswerLateError)


@pytest.mark.requirement("T-17")
async def test_much_patience_for_an_answer_is_none_for_connecting() -> None:
    """Who cannot be reached is not waited for as long as an answer."""
    async with wire(seconds=5) as made:
        bounds = made._bounds(300.0)
        assert (4.0, 300.0) == (bounds.connect, bounds.read)
