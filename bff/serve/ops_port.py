"""The ops port: alive, ready, metrics. A listener of its own, so that no browser ever reaches it.

Rule 1: it answers GET and HEAD on three paths and closes the connection; every wait has an end.
Rule 2: it says nothing that opens anything: names of checks, counts, no URL with a password.
Rule 3: a Host that names neither an address, nor localhost, nor what `server.ops_hosts` names is refused: a
foreign page whose own name is made to resolve to this machine (DNS rebinding) would otherwise read the
answers.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import Awaitable, Callable, Collection, Sequence
from http import HTTPStatus
from ipaddress import ip_address
from typing import Protocol

from bff.observe.logs import get_logger

_HEAD_BYTES = 8 * 1024
_PATIENCE = 5.0
"""How long a request may take to arrive, and the checks to be made, in seconds."""

_LAST_MOMENT = 1.0
"""How long an answer under way may take at the end, in seconds."""

_SHOWN = 200
"""How many characters of a refused Host the log shows."""

_log = get_logger("bff.ops")


class CheckResult(Protocol):
    """One thing that has to be usable before requests are to come here."""

    @property
    def name(self) -> str: ...  # noqa: D102 - what was looked at
    @property
    def ok(self) -> bool: ...  # noqa: D102 - whether it is usable
    @property
    def detail(self) -> str: ...  # noqa: D102 - what was found; holds no secret
    @property
    def needed(self) -> bool: ...  # noqa: D102 - whether requests may not come while it is not usable


Readiness = Callable[[], Awaitable[Sequence[CheckResult]]]
MetricsPage = Callable[[bool], Awaitable[tuple[bytes, str]]]
"""Gives the page of metrics and its content type; True asks for OpenMetrics, which may be declined."""

_OPENMETRICS = b"application/openmetrics-text"


class OpsServer:
    """Serves `/livez`, `/readyz` and `/metrics`. Set `stopping` before anything else stops."""

    def __init__(self, metrics: MetricsPage, readiness: Readiness, names: Sequence[str] = ()) -> None:
        self._metrics = metrics
        self._readiness = readiness
        self._names = frozenset(name.lower() for name in names)
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self.stopping = False

    async def start(self, listener: socket.socket) -> None:
        """Serves on a bound socket, which it then owns."""
        self._server = await asyncio.start_server(self._serve, sock=listener, limit=_HEAD_BYTES)

    async def close(self) -> None:
        """Stops listening; an answer under way has a moment."""
        if self._server is not None:
            self._server.close()
        if self._serving:
            await asyncio.wait(self._serving, timeout=_LAST_MOMENT)
        for task in self._serving:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        # A cancelled task is an error to asyncio's streams, with a traceback: it ends here.
        with contextlib.suppress(OSError, TimeoutError, asyncio.CancelledError):
            try:
                async with asyncio.timeout(_PATIENCE):
                    head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                head = b""
            writer.write(await self._answer(head))
            async with asyncio.timeout(_PATIENCE):
                await writer.drain()
        writer.close()

    async def _answer(self, head: bytes) -> bytes:
        parts = head.partition(b"\r\n")[0].split(b" ")
        if len(parts) != 3:  # noqa: PLR2004 - method, target, version
            return _rendered(HTTPStatus.BAD_REQUEST, "text/plain", b"bad request\n")
        method, target, _ = parts
        if method not in {b"GET", b"HEAD"}:
            return _rendered(HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", b"GET and HEAD only\n")
        if (refused := host_problem(head, self._names)) is not None:
            _log.warning("ops_host_refused", host=_host_of(head))
            return _rendered(
                HTTPStatus.MISDIRECTED_REQUEST, "text/plain", refused, with_body=method == b"GET"
            )
        status, content_type, body = await self._page(target.partition(b"?")[0], _OPENMETRICS in head.lower())
        return _rendered(status, content_type, body, with_body=method == b"GET")

    async def _page(self, path: bytes, openmetrics: bool) -> tuple[HTTPStatus, str, bytes]:
        if path == b"/livez":
            return HTTPStatus.OK, "text/plain", b"alive\n"
        if path == b"/readyz":
            return await self._ready()
        if path == b"/metrics":
            body, content_type = await self._metrics(openmetrics)
            return HTTPStatus.OK, content_type, body
        return HTTPStatus.NOT_FOUND, "text/plain", b"/livez, /readyz, /metrics\n"

    async def _ready(self) -> tuple[HTTPStatus, str, bytes]:
        checks: Sequence[CheckResult] = ()
        state = "stopping"
        if not self.stopping:
            try:
                async with asyncio.timeout(_PATIENCE):
                    checks = await self._readiness()
                state = "ready" if all(check.ok or not check.needed for check in checks) else "not ready"
            except Exception as error:  # noqa: BLE001 - whatever it is, this process is not ready
                _log.error("readiness_check_failed", exc_info=error)
                state = "not ready"
        found = [said(check) for check in checks]
        body = json.dumps({"status": state, "checks": found}).encode() + b"\n"
        status = HTTPStatus.OK if state == "ready" else HTTPStatus.SERVICE_UNAVAILABLE
        return status, "application/json", body


def said(check: CheckResult) -> dict[str, object]:
    """A check as JSON says it."""
    return {"name": check.name, "ok": check.ok, "detail": check.detail, "needed": check.needed}


def host_problem(head: bytes, names: Collection[str]) -> bytes | None:
    """The reason to refuse a request's Host; None for an allowed one: Rule 3, without I/O.

    A browser always sends Host, and sends the name that a page was opened by; only a name can be rebound. So
    an address literal is let through, whatever address it is (Kubernetes and Prometheus name a pod by its
    own), and so is a request without Host (HTTP/1.0 probes).
    """
    hosts = _hosts(head)
    if not hosts:
        return None
    if len(hosts) > 1:
        return b"more than one Host\n"
    name = _name_of(hosts[0])
    if name in {"", "localhost"} or name.endswith(".localhost") or name in names or _is_address(name):
        return None
    return b"this Host is not served here: name it in server.ops_hosts\n"


def _hosts(head: bytes) -> list[str]:
    lines = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
    return [value.strip().decode("latin-1") for name, _, value in lines if name.strip().lower() == b"host"]


def _host_of(head: bytes) -> str:
    """The Host that the client sent, for the log."""
    return ", ".join(_hosts(head))[:_SHOWN]


def _name_of(host: str) -> str:
    """The name or address of a Host field, in lower case, without port, brackets and the root's dot."""
    host = host.lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].removesuffix(".")


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _rendered(status: HTTPStatus, content_type: str, body: bytes, *, with_body: bool = True) -> bytes:
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: {content_type}\r\n"
        f"content-length: {len(body)}\r\ncache-control: no-store\r\nconnection: close\r\n\r\n"
    )
    return head.encode("ascii") + (body if with_body else b"")
