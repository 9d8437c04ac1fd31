"""GET /bff/client.js and its types: the module by which a page talks to the proxy."""

import hashlib
import json
import re
from collections.abc import Sequence
from functools import partial
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bff.web.responses import NO_STORE

_TYPES = {"client.js": "text/javascript; charset=utf-8", "client.d.ts": "text/plain; charset=utf-8"}


_SETTINGS = re.compile(r"^(const settings = )(\{.*\});$", re.MULTILINE)
_IMPORT = re.compile(r'^import \{ \w+ \} from "\./(\w+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=function )", re.MULTILINE)


def client_routes(
    csrf_header: str,
    taken: Sequence[str] = (),
    *,
    base_path: str = "",
    heartbeat: float | None = None,
    notice: float | None = None,
) -> list[Route]:
    """The routes of both files, which are read once, with their settings filled in.

    That is the CSRF header's name; `base_path`, under which the endpoints lie; `taken`: the paths that no
    sign-in may lead to, in lower case; `heartbeat` and `notice`, in seconds, as events are sent.
    """
    folder = files("bff.web") / "client"
    return [
        Route(
            f"/bff/{name}",
            partial(
                _file,
                configured(folder / name, csrf_header, taken, heartbeat, notice, base_path=base_path),
                kind,
            ),
            methods=["GET"],
        )
        for name, kind in _TYPES.items()
    ]


def configured(
    file: Traversable,
    csrf_header: str,
    taken: Sequence[str],
    heartbeat: float | None = None,
    notice: float | None = None,
    *,
    base_path: str = "",
) -> bytes:
    """A file's content as it is served: with these settings, and with its imports in it."""
    settings: dict[str, object] = {"csrfHeader": csrf_header, "taken": list(taken) or ["/bff"]}
    settings |= {"base": base_path + "/bff"} if base_path else {}
    settings |= {"heartbeat": heartbeat} if heartbeat is not None else {}
    settings |= {"notice": notice} if notice is not None else {}
    folder = files("bff.web") / "client"
    text = _IMPORT.sub(lambda line: _inlined(folder / line[1]), file.read_text(encoding="utf-8"))
    return _SETTINGS.sub(
        lambda line: f"{line[1]}{{ ...{line[2]}, ...{json.dumps(settings)} }};", text
    ).encode()


def _inlined(module: Traversable) -> str:
    """A module of the package as a part of another one: without its head and its exports."""
    _, _, code = module.read_text(encoding="utf-8").partition("*/\n\n")
    return _EXPORT.sub("", code)


async def _file(content: bytes, kind: str, request: Request) -> Response:
    """The file, or 304 for a client that has it (RFC 9110 13.1.2), such as a service worker or a mirror."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {**NO_STORE, "content-type": kind, "etag": tag}
    known = {item.strip().removeprefix("W/") for item in request.headers.get("if-none-match", "").split(",")}
    if tag in known or "*" in known:
        return Response(status_code=304, headers={**NO_STORE, "etag": tag})
    return Response(content, headers=headers)
