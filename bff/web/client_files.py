"""GET /bff/client.js and its types: the module by which a page talks to the proxy."""

from functools import partial
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bff.web.answers import NO_STORE

_TYPES = {"client.js": "text/javascript; charset=utf-8", "client.d.ts": "text/plain; charset=utf-8"}


def client_routes(csrf_header: str) -> list[Route]:
    """The routes of both files, which are read once, with the CSRF header's configured name in them."""
    folder = files("bff.web") / "client"
    return [
        Route(f"/bff/{name}", partial(_file, _with_header(folder / name, csrf_header), kind), methods=["GET"])
        for name, kind in _TYPES.items()
    ]


def _with_header(file: Traversable, csrf_header: str) -> bytes:
    text = file.read_text(encoding="utf-8")
    return text.replace('CSRF_HEADER = "X-CSRF"', f'CSRF_HEADER = "{csrf_header}"').encode()


async def _file(content: bytes, kind: str, _: Request) -> Response:
    return Response(content, headers={**NO_STORE, "content-type": kind})
