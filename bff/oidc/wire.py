"""Calls to the provider over HTTP: the only file of the proxy that imports httpx.

Rule 1: a call is made once. Nothing here resends, follows a redirect or keeps a cookie (the jar of one
client would be shared by all users).
Rule 2: what spends something goes over a connection of its own. On a kept-alive one that the provider
closes at that moment nobody can tell whether a refresh token was spent.
Rule 3: an answer is bounded in bytes and in time, as a whole; compressed ones are refused, so that the
bound is one.
Rule 4: no URL, form or body gets into a log line or an error's message.
Rule 5: what spends something is looked at once more when its connection stands, before its first byte leaves.

Environment variables for proxies and certificates are not read (`trust_env`): what a call to the provider
carries must not go elsewhere because of a variable that was set for another purpose.
"""

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any

import httpx

from bff import __version__
from bff.errors import ProviderUnavailableError
from bff.oidc.requests import Form

MAX_ANSWER = 1024 * 1024
MAX_RETRY_AFTER = 3600.0
_OTHER_CALLS = 30  # connections for revocations and the like, which no limit holds back
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_HEADERS = {
    "accept": "application/json",
    "accept-encoding": "identity",
    "user-agent": f"bff-session-proxy/{__version__}",
}


class AnswerLostError(ProviderUnavailableError):
    """The request may have reached the provider, and no usable answer came: what it spent may be spent."""


class RefusedError(ProviderUnavailableError):
    """The provider answered, and not with what was asked for; what it was sent is not spent."""


class CallWithdrawnError(Exception):
    """The caller's last look forbade the call: nothing of it was sent, and the provider is not to blame."""


@dataclass(frozen=True, slots=True)
class Sending:
    """How a form is sent.

    Attributes:
        patience: seconds for the whole call, where they are not those of every call.
        may_send: asked when the connection stands, right before the first byte is written.
        sent: told when the last one has been.
    """

    patience: float | None = None
    may_send: Callable[[], bool] = lambda: True
    sent: Callable[[], None] = lambda: None


PLAIN = Sending()


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer; field names in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """The body as JSON, or None if it is none."""
        try:
            return json.loads(self.body)
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
    """How far a call has come, told by httpcore."""

    def __init__(self, sending: Sending) -> None:
        self._how = sending
        self._connecting = self._sending = False

    async def trace(self, event: str, _: Mapping[str, Any]) -> None:
        """The `trace` extension of httpcore: what it raises before a step ends the call before that step."""
        if event.startswith("connection."):
            self._connecting = True
        elif event == "http11.send_request_headers.started":
            if not self._how.may_send():
                raise CallWithdrawnError
            self._sending = True
        elif event == "http11.send_request_body.complete":
            self._how.sent()

    @property
    def unsent(self) -> bool:
        """Whether the call ended before its first byte, as far as that was told."""
        return self._connecting and not self._sending


class Wire:
    """The connections to one provider.

    `timeout` is in seconds, for a call as a whole; `token_calls` are as many as there can be at once.
    """

    def __init__(self, *, timeout: float, ca_file: Path | None, token_calls: int = 1) -> None:
        self._timeout = timeout
        # Certificates of `ca_file` alone, if one is given: a private provider needs no public authority.
        verify = (
            ssl.create_default_context(cafile=ca_file)
            if ca_file
            else httpx.create_ssl_context(trust_env=False)
        )
        self._reading = self._client(verify, connections=_OTHER_CALLS, keep_alive=4)
        self._spending = self._client(verify, connections=_OTHER_CALLS + token_calls, keep_alive=0)

    def _client(self, verify: ssl.SSLContext, *, connections: int, keep_alive: int) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            verify=verify,
            http2=False,
            trust_env=False,
            follow_redirects=False,
            headers=_HEADERS,
            cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=())),
            timeout=_bounds(self._timeout),
            limits=httpx.Limits(
                max_connections=connections, max_keepalive_connections=keep_alive, keepalive_expiry=5.0
            ),
        )

    async def aclose(self) -> None:
        """Closes every connection."""
        await self._reading.aclose()
        await self._spending.aclose()

    async def get(self, url: str) -> Answer:
        """Reads a document.

        Raises:
            ProviderUnavailableError: no complete answer.
        """
        return await self._send(self._reading, self._reading.build_request("GET", url), self._timeout)

    async def post(self, url: str, form: Form, sending: Sending = PLAIN) -> Answer:
        """Sends a form, once.

        Raises:
            ProviderUnavailableError: it was never sent.
            AnswerLostError: it was or may have been sent, and no complete answer came.
            CallWithdrawnError: `sending.may_send` said no.
        """
        seconds = self._timeout if sending.patience is None else sending.patience
        watched = _Watched(sending)
        request = self._spending.build_request(
            "POST",
            url,
            data=dict(form.fields),
            headers=dict(form.headers),
            timeout=_bounds(seconds),
            extensions={"trace": watched.trace},
        )
        try:
            return await self._send(self._spending, request, seconds)
        except AnswerLostError as lost:
            if watched.unsent:
                raise ProviderUnavailableError("the provider cannot be reached in time") from lost
            raise

    async def _send(self, client: httpx.AsyncClient, request: httpx.Request, seconds: float) -> Answer:
        try:
            async with asyncio.timeout(seconds):
                response = await client.send(request, stream=True)
                try:
                    body = await _bounded(response)
                finally:
                    await response.aclose()
        except _NEVER_SENT as error:
            raise ProviderUnavailableError(
                f"the provider cannot be reached: {type(error).__name__}"
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as error:
            # TimeoutError is an OSError. The chain is cut, because httpx's errors hold the request.
            raise AnswerLostError(f"no answer from the provider: {type(error).__name__}") from None
        return Answer(response.status_code, response.headers, body)


def _bounds(seconds: float) -> httpx.Timeout:
    """The bound on connecting is the shorter, so that "never sent" is seen as that."""
    return httpx.Timeout(seconds, connect=seconds * 0.8)


async def _bounded(response: httpx.Response) -> bytes:
    if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise AnswerLostError("the provider's answer is compressed, which was not asked for")
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_ANSWER:
            raise AnswerLostError("the provider's answer is too long")
    return bytes(body)
