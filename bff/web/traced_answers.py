"""The spans of what the proxy answers itself: its own endpoints and the page."""

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bff.observe.tracing import Spans
from bff.policy.fields import Fields
from bff.proxy.forward.traced_calls import parent_of

_SERVER_ERROR = 500


class TracedAnswers:
    """Wraps an application; `name` gives the name of what has answered."""

    def __init__(self, app: ASGIApp, *, spans: Spans, name: Callable[[Scope], str]) -> None:
        self._app = app
        self._spans = spans
        self._name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry point."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        fields = Fields(scope["headers"])
        parent = parent_of(fields.only(b"traceparent"), fields.values(b"tracestate"))
        path = scope["raw_path"].decode("ascii", "backslashreplace")
        trace, status = self._spans.call(parent, scope["method"], "", path), 0
        error: str | None = None

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            with trace.attached():
                await self._app(scope, receive, noted)
        except BaseException as failure:
            error = type(failure).__name__
            raise
        finally:
            trace.name(scope["method"], self._name(scope))
            trace.end(status, error)
