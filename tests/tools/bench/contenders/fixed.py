"""An ASGI application that does nothing: the answers come from memory, chosen by the path."""

import os
from pathlib import Path

from starlette.types import Receive, Scope, Send

_FOLDER = Path(os.environ.get("FIXED_ANSWERS", "."))
_ANSWERS: dict[str, bytes] = {}


def _load() -> None:
    for path, name in (("/api/json", "small"), ("/api/large", "large"), ("/api/post", "taken")):
        _ANSWERS[path] = (_FOLDER / f"fixed.{name}").read_bytes()


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI entry point."""
    if scope["type"] == "lifespan":
        await receive()
        _load()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    while scope["method"] == "POST" and (await receive()).get("more_body"):
        pass
    body = _ANSWERS[scope["path"]]
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
