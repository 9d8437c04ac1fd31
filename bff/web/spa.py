"""The page itself, from a folder: history fallback, caching, compressed copies, security headers.

Rule 1: only files below the folder are served, none whose name begins with a dot (`.well-known` excepted).
Rule 2: a path that names no file is answered with the index where a browser navigates there, else 404. A
path among the build's own files never is: a page that asks for one which is gone is out of date. Nor is one
of `spa.public`: the index needs the session that such a path does not.
Rule 3: nothing is compressed here. A copy `app.js.br` or `app.js.gz` beside `app.js`, not older than it, is
sent in its place to a client that takes it; a part of a file (Range) is always one of the file itself.
"""

import os
from mimetypes import guess_type
from pathlib import Path

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Receive, Scope, Send

from bff.errors import Problem
from bff.policy.content_coding import choose_coding
from bff.policy.immutable_assets import immutable_patterns, paths_pattern
from bff.settings.model import SpaSettings
from bff.web.responses import problem_answer

_IMMUTABLE = "max-age=31536000, immutable"
_REVALIDATE = "no-cache"
_SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
_NOT_FOUND = 404
_SUFFIXES = {"br": ".br", "gzip": ".gz"}
"""Where the copy in each coding lies, the smallest first."""


class Spa:
    """Serves a built single-page app. Raises OSError or RuntimeError if the folder is not there."""

    def __init__(self, folder: Path, settings: SpaSettings) -> None:
        self._files = _Files(directory=folder)
        self._index = settings.index
        self._headers = _SECURITY_HEADERS | {"content-security-policy": settings.csp}
        index = folder / settings.index
        text = index.read_text(encoding="utf-8", errors="replace") if index.is_file() else ""
        self._immutable = immutable_patterns(settings.immutable, text)
        self._public = paths_pattern(settings.public)
        shared = "public" if settings.auth == "none" else "private"
        self._kept = f"{shared}, {_IMMUTABLE}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        response = await self._respond(scope)
        await response(scope, receive, send)

    async def _respond(self, scope: Scope) -> Response:
        if scope["method"] not in {"GET", "HEAD"}:
            return problem_answer(Problem.METHOD_NOT_ALLOWED, headers=[(b"allow", b"GET, HEAD")])
        path = scope["path"].removeprefix(scope.get("root_path", "")).lstrip("/")
        hidden = any(part.startswith(".") and part != ".well-known" for part in path.split("/"))
        immutable = self._immutable.fullmatch(f"/{path}") is not None
        files_alone = immutable or self._public.fullmatch(f"/{path}") is not None
        response = None if hidden else await self._file(path or self._index, scope)
        if response is None and not hidden and not files_alone and _navigates(scope):
            response = await self._file(self._index, scope)
        if response is None:
            return problem_answer(Problem.NO_ROUTE)
        for name, value in self._headers.items():
            response.headers[name] = value
        response.headers["cache-control"] = self._kept if immutable else _REVALIDATE
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


class _Files(StaticFiles):
    """The files of a folder, each by its compressed copy where there is one that the client takes."""

    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        """The answer for a file that is there."""
        asked = Headers(scope=scope)
        name = os.fspath(full_path)
        copies = _copies(name, stat_result)
        coding = None if "range" in asked else choose_coding(asked.get("accept-encoding", ""), list(copies))
        response = FileResponse(
            name if coding is None else name + _SUFFIXES[coding],
            status_code=status_code,
            stat_result=stat_result if coding is None else copies[coding],
            media_type=guess_type(name)[0] or "application/octet-stream",
        )
        if coding is not None:
            response.headers["content-encoding"] = coding
        if copies:
            response.headers["vary"] = "accept-encoding"
        if self.is_not_modified(response.headers, asked):
            return NotModifiedResponse(response.headers)
        return response


def _copies(name: str, original: os.stat_result) -> dict[str, os.stat_result]:
    """The compressed copies of a file, by coding; one that is older than the file is out of date."""
    found = {}
    for coding, suffix in _SUFFIXES.items():
        try:
            copy = Path(name + suffix).stat()
        except OSError:
            continue
        if copy.st_mtime >= original.st_mtime:
            found[coding] = copy
    return found


def _navigates(scope: Scope) -> bool:
    """True where a browser goes to this address, False where a page loads something from it."""
    headers = dict(scope["headers"])
    mode = headers.get(b"sec-fetch-mode")
    if mode is not None:
        return bool(mode == b"navigate")
    return b"text/html" in headers.get(b"accept", b"")
