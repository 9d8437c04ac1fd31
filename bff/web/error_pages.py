"""Error answers of our own endpoints and the page as HTML, where a person has navigated there (B-38)."""

import json

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bff.errors import problem_named
from bff.policy.navigation import navigates
from bff.problems import PAGE_HEADERS, PROBLEM_TYPE, error_redirect, problem_page

_REPLACED = frozenset({b"content-length", *(name for name, _ in PAGE_HEADERS)})


class ErrorPages:
    """Wraps an application: a navigation gets a problem as a page, everything else passes unchanged.

    `error_page` is the path of the page's own, `spa.error_page`; None for ours, which leads to `home`.
    """

    def __init__(self, app: ASGIApp, error_page: str | None = None, home: str = "/") -> None:
        self._app = app
        self._home = home
        self._error_page = error_page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] == "http" and navigates(scope["headers"]):
            send = _Pages(send, self._error_page, self._home, scope["path"].encode()).send
        await self._app(scope, receive, send)


class _Pages:
    """Holds the head of a problem until its document, which is one message, is there."""

    def __init__(self, send: Send, error_page: str | None, home: str, path: bytes) -> None:
        self._send = send
        self._error_page = error_page
        self._home = home
        self._path = path
        self._held: Message | None = None

    async def send(self, message: Message) -> None:
        """Sends it, or the page in its place."""
        if message["type"] == "http.response.start":
            if (b"content-type", PROBLEM_TYPE) in message["headers"]:
                self._held = message
                return
        elif self._held is not None:
            start, self._held = self._held, None
            document = json.loads(message["body"])
            redirect = error_redirect(problem_named(document["code"]), self._error_page, self._path)
            if redirect is not None:
                status, headers, body = redirect
                headers += [field for field in start["headers"] if field[0] == b"set-cookie"]
                await self._send({**start, "status": status, "headers": headers})
                await self._send({**message, "body": body})
                return
            body = problem_page(document, self._home)
            kept = [(name, value) for name, value in start["headers"] if name not in _REPLACED]
            length = (b"content-length", str(len(body)).encode())
            await self._send({**start, "headers": [*PAGE_HEADERS, length, *kept]})
            message = {**message, "body": body}
        await self._send(message)
