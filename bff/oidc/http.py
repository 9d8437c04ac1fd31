"""Calls to the provider over HTTP: with `http_clients` the only file of the proxy that imports httpx.

Rule 1: a call is made once. Nothing here resends, follows a redirect or keeps a cookie (the jar of one
client would be shared by all users).
Rule 2: a request that spends something goes over a connection of its own. On a kept-alive one that the
provider closes at that moment nobody can tell whether a refresh token was spent.
Rule 3: an answer is bounded in bytes and in time, as a whole; compressed ones are refused, so that the
bound is one.
Rule 4: no URL, form or body gets into a log line or an error's message.
Rule 5: a request that spends something is checked once more when its connection stands, before its first
byte.
Rule 6: each outcome of the HTTP client, foreseen or not, becomes one of three: an answer; "not sent", where
no byte of the form was written; "lost", where it may have been read and no answer came.
Rule 7: a time-out is told apart from a broken connection (`AnswerLateError`): the provider may be at it yet.

Rule 8: an outgoing proxy's CONNECT carries nothing of the form: it counts as part of connecting, and so does
its refusal. A plain http provider's form is read by the proxy, whose 407 says that it went no further; any
other answer of the proxy's own cannot be told from the provider's.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any, Self

import httpcore
import httpx

from bff.errors import ProviderUnavailableError
from bff.oidc.http_clients import Certificates, Clients
from bff.oidc.requests import Form
from bff.policy.certificate_fault import certificate_fault
from bff.policy.connection_fault import connection_fault
from bff.settings.model import ProviderSettings
from bff.settings.outgoing_proxy import OutgoingProxy

MAX_ANSWER = 1024 * 1024
MAX_RETRY_AFTER = 3600.0
NO_PROXY = OutgoingProxy()
NO_CERTIFICATES = Certificates()
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_PROXY_REFUSED = 407
_NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.InvalidURL,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
_TIMED_OUT = (TimeoutError, httpx.TimeoutException)


class AnswerLostError(ProviderUnavailableError):
    """The request may have reached the provider, and no usable answer came: its token or code may be spent.

    `status` is that of an answer that says so itself (a 5xx); None where none came.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class AnswerLateError(AnswerLostError):
    """No answer came in time: the provider, or a server before it, may be at the request yet."""


class CallWithdrawnError(Exception):
    """The caller's last look forbade the call: nothing of it was sent, and the provider is not to blame."""


@dataclass(frozen=True, slots=True)
class Sending:
    """The terms on which a form is sent.

    Attributes:
        patience: seconds for the whole call, where they are not those of every call. The connection has to
            stand as soon as ever.
        may_send: asked when the connection stands, right before the first byte is written.
        sent: told when the last one has been.
        question: it spends nothing and changes nothing there, and goes over a connection that is kept.
    """

    patience: float | None = None
    may_send: Callable[[], bool] = lambda: True
    sent: Callable[[], None] = lambda: None
    question: bool = False


PLAIN = Sending()


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer; field names in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def json(self, number: Callable[[str], float] = float) -> Any:
        """The body as JSON, or None if it is none. `number` reads all but integers, or raises ValueError."""
        try:
            return json.loads(self.body, parse_float=number, parse_constant=number)
        except (ValueError, RecursionError):
            return None

    def retry_after(self, now: float) -> float | None:
        """The seconds that the provider asks to wait (RFC 9110 10.2.3), an hour at most."""
        value = self.headers.get("retry-after", "")
        if value.isascii() and value.isdigit():
            return min(float(value[:9]), MAX_RETRY_AFTER)
        try:
            moment = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return None
        seconds = moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now
        return min(max(seconds, 0.0), MAX_RETRY_AFTER)


class _Watched:
    """The progress of a call, told by httpcore."""

    def __init__(self, sending: Sending) -> None:
        self._how = sending
        self._heard = self._written = self._tunnelling = False
        self._deadline: asyncio.Timeout | None = None
        self._connecting = self._whole = 0.0

    def timed(self, deadline: asyncio.Timeout, connecting: float) -> None:
        """Says when the call ends, and how many seconds a proxy has for its answer to a CONNECT."""
        self._deadline, self._connecting, self._whole = deadline, connecting, deadline.when() or 0.0

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """The `trace` extension of httpcore: raising before a step ends the call before that step.

        What a form spends is in its body. A write that fails has written nothing: the connection had broken
        before, and httpcore reads on, for an answer that may have come.
        """
        self._heard = True
        if event == "http11.send_request_headers.started":
            request = info.get("request")
            self._tunnel(starts=request is not None and request.method == b"CONNECT")
        if self._tunnelling:
            return
        if event == "http11.send_request_headers.started":
            if not self._how.may_send():
                raise CallWithdrawnError
        elif event == "http11.send_request_body.started":
            self._written = True
        elif event == "http11.send_request_body.failed":
            self._written = not isinstance(info["exception"], httpcore.WriteError)
        elif event == "http11.send_request_body.complete":
            self._how.sent()

    def _tunnel(self, *, starts: bool) -> None:
        if self._deadline is not None and starts is not self._tunnelling:
            soon = asyncio.get_running_loop().time() + self._connecting
            self._deadline.reschedule(min(soon, self._whole) if starts else self._whole)
        self._tunnelling = starts

    def unsent(self, error: Exception) -> bool:
        """Returns True if nothing of the form had left when the call ended so.

        An error of httpx's own is believed where its transport told nothing.
        """
        believed = self._heard or not isinstance(error, httpx.HTTPError)
        return isinstance(error, _NEVER_SENT) or (believed and not self._written)


class ProviderHttp:
    """The connections to one provider.

    `timeout` is in seconds, for a call as a whole; `token_calls` are as many as there can be at once.
    """

    def __init__(
        self,
        *,
        timeout: float,
        certificates: Certificates = NO_CERTIFICATES,
        token_calls: int = 1,
        proxy: OutgoingProxy = NO_PROXY,
    ) -> None:
        self._timeout = timeout
        self._proxy = proxy
        self._token_calls = token_calls
        self._clients = self._made(certificates)
        self._former: list[Clients] = []
        self._certificates = certificates
        self._retired = False

    def renew(self, certificates: Certificates) -> None:
        """Uses other certificates from the next call on; calls under way end as they began.

        Raises:
            OSError: a file holds no certificates; nothing has changed.
        """
        clients = self._made(certificates)
        self._certificates = certificates
        self._former.append(self._clients)
        self._clients = clients

    def thumbprints(self) -> set[str]:
        """Returns those of the client's own certificates that calls under way may show."""
        return {each.thumbprint for each in (*self._former, self._clients) if each.thumbprint is not None}

    async def retire(self) -> None:
        """Closes each connection after its call from now on: other settings have taken the place of these."""
        self._retired = True
        await self._rest()

    async def _rest(self) -> None:
        """Closes the connections of a retired provider once no call is under way."""
        if not self._retired or self._clients.calls:
            return
        with contextlib.suppress(OSError):  # a certificate's file that is gone: it goes on by these
            self.renew(self._certificates)
        await self._close_former()

    def _made(self, certificates: Certificates) -> Clients:
        return Clients(
            certificates, self._proxy, token_calls=self._token_calls, bounds=self._bounds(self._timeout)
        )

    @classmethod
    def of(cls, settings: ProviderSettings, token_calls: int = 1) -> Self:
        """The connections that the settings ask for."""
        proxy = OutgoingProxy.choose(settings.proxy, os.environ)
        certificates = Certificates.of(settings)
        return cls(timeout=settings.timeout, certificates=certificates, token_calls=token_calls, proxy=proxy)

    def _bounds(self, seconds: float) -> httpx.Timeout:
        """The bound on connecting is the shorter, so that "never sent" is seen as that."""
        return httpx.Timeout(seconds, connect=min(seconds, self._timeout) * 0.8)

    async def aclose(self) -> None:
        """Closes every connection."""
        for clients in (*self._former, self._clients):
            await clients.aclose()

    async def _close_former(self) -> None:
        """Closes the clients of former certificates whose last call has ended."""
        idle = [clients for clients in self._former if not clients.calls]
        self._former = [clients for clients in self._former if clients.calls]
        for clients in idle:
            await clients.aclose()

    async def get(self, url: str, *, headers: Mapping[str, str] = NO_HEADERS) -> Answer:
        """Reads a document; `headers` hold a token, for one that takes one.

        Raises:
            ProviderUnavailableError: no complete answer.
        """
        async with self._calling() as clients:
            return await self._send(
                clients.reading,
                lambda: clients.reading.build_request("GET", url, headers=dict(headers)),
                self._timeout,
                _Watched(PLAIN),
            )

    async def post(self, url: str, form: Form, sending: Sending = PLAIN) -> Answer:
        """Sends a form, once.

        Raises:
            ProviderUnavailableError: it was never sent.
            AnswerLostError: it was or may have been sent, and no complete answer came.
            AnswerLateError: the same, as the time for it ran out.
            CallWithdrawnError: `sending.may_send` said no.
        """
        seconds = self._timeout if sending.patience is None else sending.patience
        watched = _Watched(sending)

        def request() -> httpx.Request:
            return spending.build_request(
                "POST",
                url,
                data=dict(form.fields),
                headers=dict(form.headers),
                timeout=self._bounds(seconds),
                extensions={"trace": watched.trace},
            )

        async with self._calling() as clients:
            spending = clients.asking if sending.question else clients.spending
            return await self._send(spending, request, seconds, watched)

    @asynccontextmanager
    async def _calling(self) -> AsyncIterator[Clients]:
        clients = self._clients
        try:
            with clients.calling():
                yield clients
        finally:
            await self._rest()

    async def _send(
        self,
        client: httpx.AsyncClient,
        build: Callable[[], httpx.Request],
        seconds: float,
        watched: _Watched,
    ) -> Answer:
        """One call; its exceptions have no chain, because httpx's errors hold the request."""
        await self._close_former()
        failure: ProviderUnavailableError
        try:
            async with asyncio.timeout(seconds) as deadline:
                watched.timed(deadline, min(seconds, self._timeout) * 0.8)
                response = await client.send(build(), stream=True)
                try:
                    body = await _bounded(response)
                finally:
                    await response.aclose()
            answer = Answer(response.status_code, response.headers, body)
        except (CallWithdrawnError, AnswerLostError):
            raise
        except Exception as error:  # noqa: BLE001 - the boundary: the client can raise anything
            failure = _failure(error, unsent=watched.unsent(error))
        else:
            if answer.status != _PROXY_REFUSED or not self._proxy.proxies:
                return answer
            failure = ProviderUnavailableError("the provider cannot be reached: the proxy refused (407)")
        raise failure


def _failure(error: Exception, *, unsent: bool) -> ProviderUnavailableError:
    """The meaning of an error that came out of the HTTP client."""
    if isinstance(error, httpx.ProxyError) and (status := str(error)[:3]).isdigit():
        return ProviderUnavailableError(f"the provider cannot be reached: the proxy refused ({status})")
    if (fault := certificate_fault(error)) is not None:
        return ProviderUnavailableError(f"the provider's certificate is refused: {fault}")
    if unsent:
        why = connection_fault(error) or type(error).__name__
        return ProviderUnavailableError(f"the provider cannot be reached: {why}")
    late = isinstance(error, _TIMED_OUT)
    return (AnswerLateError if late else AnswerLostError)(
        f"no answer from the provider: {type(error).__name__}"
    )


async def _bounded(response: httpx.Response) -> bytes:
    if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise AnswerLostError("the provider's answer is compressed, which was not asked for")
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_ANSWER:
            raise AnswerLostError("the provider's answer is too long")
    return bytes(body)
