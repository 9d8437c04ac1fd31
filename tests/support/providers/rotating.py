"""A provider that rotates refresh tokens, kills a family at a token's second use, and keeps a ledger.

It serves on a thread of its own, so that it can be slow without the test's loop being slow, and answers
each token call as it was told (`behaviour.py`): the next ones in order, then all others alike.

    with rotating_provider() as provider:
        provider.next(RESET_AFTER)
        ...
        assert 1 == provider.refreshes
        assert not provider.reused

Rule 1: everything but what the attributes' comments allow is changed on the provider's own thread.
"""

import asyncio
import base64
import json
import secrets
import threading
import time
from collections import deque
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

from joserfc import jwt

from bff.embedded import free_port
from tests.support.keys import rsa_key
from tests.support.network.resets import reset_at_close
from tests.support.providers.behaviour import HONEST, Behaviour
from tests.support.providers.token_ledger import Family, TokenLedger
from tests.support.settings import PATIENCE

KEY = rsa_key({"kid": "one", "use": "sig"})
CLIENT_ID = "spa-bff"
T = TypeVar("T")


@dataclass(slots=True)
class _Request:
    method: str
    path: str
    query: dict[str, str]
    form: dict[str, str]
    secret: str  # of the client, as Basic has it


class RotatingProvider(TokenLedger):
    """The provider itself. `usual`, `auto_sub` and `client_secrets` may be set from anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()
        self._served = False
        self.usual = HONEST
        self.auto_sub = "alice"  # whoever comes to the authorization endpoint is signed in as
        self.client_secrets: frozenset[str] | None = None  # those that are accepted; None: any
        self.refused_clients = 0
        self.held = 0  # calls that wait for `release`
        self._next: deque[Behaviour] = deque()
        self._codes: dict[str, tuple[str, str]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="provider")
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._gate = asyncio.Event()
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listens, on the port it had before; at first on one that nobody has taken meanwhile."""
        while True:
            try:
                return self._do(self._start())
            except OSError:
                if self._served:
                    raise
                self.port = free_port()

    def stop(self) -> None:
        """Connections are refused, and those that are open end."""
        self._do(self._stop())

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def next(self, *behaviours: Behaviour) -> None:
        """Sets the fate of the next token calls, one after the other."""
        self._next.extend(behaviours)

    def release(self) -> None:
        """Lets go what is held; what is held from now on waits for the next release."""
        self._do(self._release())

    def enrol(self, sub: str) -> tuple[Family, dict[str, Any]]:
        """`begin` from another thread."""

        async def enrol() -> tuple[Family, dict[str, Any]]:
            return self.begin(sub)

        return self._do(enrol())

    # On the provider's thread

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=2048)
        self._served = True

    async def _stop(self) -> None:
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _release(self) -> None:
        self._gate.set()
        self._gate = asyncio.Event()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._answer(await _read(reader), reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(
        self, request: _Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        known = self.client_secrets
        if request.path in ("/token", "/revoke") and known is not None and request.secret not in known:
            self.refused_clients += 1
            await _send(writer, 401, b'{"error":"invalid_client"}')
            return
        if request.path == "/token" and request.form["grant_type"] == "refresh_token":
            await self._refresh_call(request.form["refresh_token"], reader, writer)
            return
        match request.path:
            case "/.well-known/openid-configuration":
                await _send(writer, 200, json.dumps(self._metadata()).encode())
            case "/jwks":
                await _send(writer, 200, json.dumps({"keys": [KEY.as_dict(private=False)]}).encode())
            case "/authorize":
                await _send(writer, 302, b"", ("location", self._callback(request.query)))
            case "/token":
                await _send(writer, *self._first_tokens(request.form))
            case "/revoke":
                self.revoke(request.form["token"])
                await _send(writer, 200, b"{}")
            case _:
                await _send(writer, 404, b"{}")

    async def _refresh_call(
        self, token: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        behaviour = self._next.popleft() if self._next else self.usual
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        try:
            await asyncio.sleep(behaviour.delay)
            stays = behaviour.hold != "arrived" or await self._held(reader)
            spends = behaviour.spends and stays
            _, answer = self.refresh(token, spends=spends, rotates="refresh_token" not in behaviour.omits)
            if behaviour.hold == "spent":
                await self._held(reader)
            await _finish(behaviour, answer, reader, writer)
        finally:
            self.under_way -= 1

    async def _held(self, reader: asyncio.StreamReader) -> bool:
        """Waits for the gate; False if the client has left before."""
        waits = {asyncio.ensure_future(work) for work in (self._gate.wait(), reader.read(1))}  # noqa: TID251 - both are ended below
        self.held += 1
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            return any(task.exception() is None and task.result() is True for task in done)
        finally:
            self.held -= 1
            for task in waits:
                task.cancel()

    def _metadata(self) -> dict[str, Any]:
        names = {
            "authorization_endpoint": "authorize",
            "token_endpoint": "token",
            "jwks_uri": "jwks",
            "revocation_endpoint": "revoke",
            "end_session_endpoint": "end",
        }
        return {"issuer": self.url, **{name: f"{self.url}/{path}" for name, path in names.items()}}

    def _callback(self, asked: dict[str, str]) -> str:
        code = f"code-{secrets.token_hex(8)}"
        self._codes[code] = (asked["nonce"], self.auto_sub)
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def _first_tokens(self, form: dict[str, str]) -> tuple[int, bytes]:
        nonce, sub = self._codes.pop(form.get("code", ""), ("", ""))
        if not nonce:
            return 400, b'{"error":"invalid_grant"}'
        family, answer = self.begin(sub)
        now = int(time.time())
        claims = {"iss": self.url, "sub": sub, "aud": CLIENT_ID, "exp": now + 600, "iat": now}
        claims |= {"nonce": nonce, "sid": family.sid, "name": sub.title()}
        answer["id_token"] = jwt.encode({"alg": "RS256", "kid": "one"}, claims, KEY)
        return 200, json.dumps(answer).encode()


async def _finish(
    behaviour: Behaviour,
    answer: dict[str, Any] | None,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Ends a token call as it was told, or refuses a token that is good no more."""
    status, body = behaviour.status, behaviour.body
    if answer is None and behaviour.spends:
        status, body = 400, b'{"error":"invalid_grant"}'
    elif body is None:
        kept = {name: value for name, value in (answer or {}).items() if name not in behaviour.omits}
        body = json.dumps(kept).encode()
    match behaviour.end:
        case "answer":
            await _send(writer, status, body, *behaviour.headers)
        case "reset":
            reset_at_close(writer)
            writer.transport.abort()
        case "hang":
            await reader.read()  # until the client gives up
        case "cut":
            await _send(writer, status, body, cut=len(body) // 2)


async def _read(reader: asyncio.StreamReader) -> _Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    method, target, _ = first.split(" ")
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = await reader.readexactly(int(fields.get("content-length", "0")))
    parts = urlsplit(target)
    basic = base64.b64decode(fields.get("authorization", "").removeprefix("Basic ")).decode()
    return _Request(
        method,
        parts.path,
        dict(parse_qsl(parts.query)),
        dict(parse_qsl(body.decode())),
        unquote_plus(basic.partition(":")[2]),
    )


async def _send(
    writer: asyncio.StreamWriter, status: int, body: bytes, *headers: tuple[str, str], cut: int | None = None
) -> None:
    head = f"HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\nconnection: close\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers)
    writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body[:cut])
    await writer.drain()


@contextmanager
def rotating_provider() -> Iterator[RotatingProvider]:
    """One that serves."""
    provider = RotatingProvider()
    provider.start()
    try:
        yield provider
    finally:
        provider.close()
