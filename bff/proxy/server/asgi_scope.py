"""The scope of an ASGI request or upgrade, made of a head and its connection, and the task that serves it."""

import asyncio
from collections.abc import Coroutine
from typing import Any
from urllib.parse import unquote

from bff.proxy.server.request_parser import Head


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
