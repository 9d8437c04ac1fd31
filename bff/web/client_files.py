"""GET /bff/client.js and its types: the module by which a page talks to the proxy."""

import json
from collections.abc import Sequence
from functools import partial
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bff.web.responses import NO_STORE

_TYPES = {"client.js": "text/javascript; charset=utf-8", "client.d.ts": "text/plain; charset=utf-8"}


def client_routes(csrf_header: str, taken: Sequence[str] = ()) -> list[Route]:
    """The routes of both files, which are read once, with what is configured in them.

    That is the CSRF header's name, and `taken`: the paths that no sign-in may lead to, in lower case.
    """
    folder = files("bff.web") / "client"
    return [
        Route(
            f"/bff/{name}",
            partial(_file, configured(folder / name, csrf_header, taken), kind),
            methods=["GET"],
        )
        for name, kind in _TYPES.items()
    ]


def configured(file: Traversable, csrf_header: str, taken: Sequence[str]) -> bytes:
    """A file's content as it is served."""
    text = file.read_text(encoding="utf-8")
    text = text.replace('CSRF_HEADER = "X-CSRF"', f'CSRF_HEADER = "{csrf_header}"')
    return text.replace('TAKEN = ["/bff"]', f"TAKEN = {json.dumps(list(taken) or ['/bff'])}").encode()


async def _file(content: bytes, kind: str, _: Request) -> Response:
    return Response(content, headers={**NO_STORE, "content-type": kind})
