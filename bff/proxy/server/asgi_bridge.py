"""The ASGI bridge: one request that the ASGI application answers, over our own connection.

Rule 1: the request's body is asked for only while the application takes it, so that the client is held back.
Rule 2: an answer that is shorter than announced, or never ended, breaks the connection off.
"""

import asyncio
import re
from collections.abc import Coroutine, Iterable
from typing import Any, Protocol
from urllib.parse import unquote

from starlette.types import ASGIApp, Message

from bff.errors import Problem
from bff.observe.logs import get_logger
from bff.policy.chunked_body import WITHOUT_CONTENT
from bff.policy.fields import Header
from bff.problems import problem_response
from bff.proxy.forward.client_side import ClientSide
from bff.proxy.server.request_parser import Head

_BUFFER = 64 * 1024  # bytes of the request's body
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_CONNECTION = frozenset({b"connection", b"transfer-encoding"})  # ours to say
_log = get_logger("bff.server")


class AsgiClient(ClientSide, Protocol):
    """The connection that a request for the application came on."""

    def close_after_answer(self) -> None:
        """Ends the connection after this answer."""


class AsgiBridge:
    """One request and its answer: `receive` and `send` for the application, events from the connection."""

    def __init__(self, client: AsgiClient, scope: dict[str, Any], *, bodyless: bool) -> None:
        self._client = client
        self._scope = scope
        self._received = bytearray()
        self._more = not bodyless  # of the request's body is to come
        self._told = False  # the application knows of the body's end
        self._news = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._begun = self._over = False  # the answer
        self._left: int | None = None  # of its content; None: not announced

    async def run(self, app: ASGIApp) -> None:
        """Lets the application answer; an answer that it leaves open is broken off."""
        try:
            await app(self._scope, self._receive, self._send)
            if not (self._over or self._begun):
                _log.error("application_gave_no_answer", path=self._scope["path"])
                self._fail()
        except Exception:  # noqa: BLE001 - an application's mistake ends its own request alone
            _log.exception("application_failed", path=self._scope["path"])
            self._fail()
        finally:
            if not self._over:
                self._over = True
                self._client.abort()

    # From the connection

    def body(self, chunk: bytes) -> None:
        """Takes a piece of the request's body."""
        self._received += chunk
        if len(self._received) > _BUFFER:
            self._client.pause_request()
        self._news.set()

    def body_end(self) -> None:
        """Notes that the request's body is complete."""
        self._more = False
        self._news.set()

    def client_gone(self) -> None:
        """The client has left: the application is told."""
        self._over = True
        self._news.set()
        self._writable.set()

    def pause_answer(self) -> None:
        """Makes the application wait: the client reads slowly."""
        self._writable.clear()

    def resume_answer(self) -> None:
        """Lets the application go on: the client has caught up."""
        self._writable.set()

    # From the application

    async def _receive(self) -> Message:
        while not self._over:
            if self._received or not (self._more or self._told):
                body = bytes(self._received)
                self._received.clear()
                self._told = not self._more
                return {"type": "http.request", "body": body, "more_body": self._more}
            if self._more:
                self._client.resume_request()
            self._news.clear()
            await self._news.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        await self._writable.wait()
        if self._over:
            return
        expected = "http.response.body" if self._begun else "http.response.start"
        if message["type"] != expected:
            raise RuntimeError(f"expected {expected}, got {message['type']}")
        if self._begun:
            self._content(message.get("body", b""), last=not message.get("more_body", False))
        else:
            self._start(message["status"], message.get("headers", ()))

    def _start(self, status: int, headers: Iterable[Header]) -> None:
        passed: list[Header] = []
        for given, value in headers:
            name = given.lower()
            if not (_NAME.fullmatch(name) and _VALUE.fullmatch(value)):
                raise RuntimeError("invalid header")
            if name == b"content-length":
                self._left = int(value)
            elif name == b"connection" and b"close" in value.lower():
                self._client.close_after_answer()
            if name not in _CONNECTION:
                passed.append((name, value))
        if self._scope["method"] == "HEAD" or status in WITHOUT_CONTENT:
            self._left = None  # none of it is sent
        self._begun = True
        self._client.send_head(status, passed)

    def _content(self, chunk: bytes, *, last: bool) -> None:
        if self._left is not None:
            self._left -= len(chunk)
            if self._left < 0 or (last and self._left):
                raise RuntimeError("content of another length than announced")
        self._client.send_data(chunk)
        if last:
            self._over = True
            self._news.set()
            self._client.send_end()

    def _fail(self) -> None:
        """Answers with an error, where the application has not begun to answer."""
        if not (self._begun or self._over):
            status, headers, body = problem_response(Problem.INTERNAL_ERROR)
            self._client.close_after_answer()
            self._start(status, headers)
            self._content(body, last=True)


def connection_scope(config: Any, transport: asyncio.BaseTransport, state: dict[str, Any]) -> dict[str, Any]:
    """Makes the part of a scope that is the same for all requests of a connection."""
    server, client = (transport.get_extra_info(name) for name in ("sockname", "peername"))
    return {
        "asgi": {"version": config.asgi_version, "spec_version": "2.4"},
        "scheme": "http" if transport.get_extra_info("sslcontext") is None else "https",
        "client": (str(client[0]), int(client[1])) if isinstance(client, tuple) else None,
        "server": (str(server[0]), int(server[1])) if isinstance(server, tuple) else (str(server), None),
        "root_path": config.root_path,
        "state": state,
    }


def asgi_scope(kind: str, head: Head, connection: dict[str, Any]) -> dict[str, Any]:
    """Makes the scope of a request or an upgrade; `connection` is made by `connection_scope`."""
    root, path = connection["root_path"], head.path.decode("ascii")
    return {
        **connection,
        "type": kind,
        "http_version": "1.0" if head.http_1_0 else "1.1",
        "method": head.method.decode("ascii"),
        "path": root + (unquote(path) if "%" in path else path),
        "raw_path": root.encode("ascii") + head.path,
        "query_string": head.query,
        "headers": head.fields,
        "state": connection["state"].copy(),
    }


def start(
    work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, tasks: set[asyncio.Task[None]]
) -> None:
    """Runs the application beside the connection, among the tasks that the server waits for at its stop."""
    task = loop.create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)
