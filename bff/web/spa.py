"""The page itself, from a folder: history fallback, caching by fingerprint, security headers.

Rule 1: only files below the folder are served, none whose name begins with a dot (`.well-known` excepted).
Rule 2: a path that names no file is answered with the index where a browser navigates there, else 404.
"""

import re
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from bff.errors import Problem
from bff.settings.model import SpaSettings
from bff.web.responses import problem_answer

_FINGERPRINT = re.compile(
    r"[.-](?=[A-Za-z0-9_-]*[0-9])(?=[A-Za-z0-9_-]*[A-Za-z])[A-Za-z0-9_-]{8,}\.[a-z0-9]+$"
)
_IMMUTABLE = "public, max-age=31536000, immutable"
_REVALIDATE = "no-cache"
_SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
_NOT_FOUND = 404


class Spa:
    """Serves a built single-page app. Raises OSError or RuntimeError if the folder is not there."""

    def __init__(self, folder: Path, settings: SpaSettings) -> None:
        self._files = StaticFiles(directory=folder)
        self._index = settings.index
        self._headers = _SECURITY_HEADERS | {"content-security-policy": settings.csp}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        response = await self._respond(scope)
        await response(scope, receive, send)

    async def _respond(self, scope: Scope) -> Response:
        if scope["method"] not in {"GET", "HEAD"}:
            return problem_answer(Problem.METHOD_NOT_ALLOWED, headers=[(b"allow", b"GET, HEAD")])
        path = scope["path"].lstrip("/")
        hidden = any(part.startswith(".") and part != ".well-known" for part in path.split("/"))
        response = None if hidden else await self._file(path or self._index, scope)
        if response is None and not hidden and _navigates(scope):
            path = self._index
            response = await self._file(path, scope)
        if response is None:
            return problem_answer(Problem.NO_ROUTE)
        for name, value in self._headers.items():
            response.headers[name] = value
        response.headers["cache-control"] = _IMMUTABLE if _FINGERPRINT.search(path) else _REVALIDATE
        return response

    async def _file(self, path: str, scope: Scope) -> Response | None:
        try:
            return await self._files.get_response(path, scope)
        except HTTPException as refusal:
            if refusal.status_code == _NOT_FOUND:
                return None
            raise
        except ValueError:  # a NUL in the path
            return None


def _navigates(scope: Scope) -> bool:
    """Whether a browser goes to this address, rather than a page loading something from it."""
    headers = dict(scope["headers"])
    mode = headers.get(b"sec-fetch-mode")
    if mode is not None:
        return bool(mode == b"navigate")
    return b"text/html" in headers.get(b"accept", b"")
