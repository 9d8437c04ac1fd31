"""GET /bff/client.js and its types: the module by which a page talks to the proxy."""

from functools import partial
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bff.web.answers import NO_STORE

_TYPES = {"client.js": "text/javascript; charset=utf-8", "client.d.ts": "text/plain; charset=utf-8"}


def client_routes() -> list[Route]:
    """The routes of both files, which are read once."""
    folder = files("bff.web") / "client"
    return [
        Route(f"/bff/{name}", partial(_file, (folder / name).read_bytes(), kind), methods=["GET"])
        for name, kind in _TYPES.items()
    ]


async def _file(content: bytes, kind: str, _: Request) -> Response:
    return Response(content, headers={**NO_STORE, "content-type": kind})
