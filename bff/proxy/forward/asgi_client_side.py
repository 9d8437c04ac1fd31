"""The client's side of a call over ASGI: messages that wait to be sent, and a listener for the request.

Rule 1: the request's body is asked for only while the call takes it, so that the server's own flow control
holds the client back.
Rule 2: at most one buffer's worth of the answer waits here; beyond that the backend is told to pause.
Rule 3: an answer is broken off by returning without its last message: the server then closes the connection.
"""

import asyncio

from starlette.types import Message, Receive, Send

from bff.policy.fields import Header
from bff.proxy.forward.forward_auth import ForwardAuthCall
from bff.proxy.forward.forwarder import ForwardedCall
from bff.tasks import Tasks

_BUFFER = 64 * 1024
_NOT_MODIFIED = 304


class AsgiClientSide:
    """The client's side of one call (`ClientSide`)."""

    call: ForwardedCall | ForwardAuthCall

    def __init__(self, tasks: Tasks, send: Send, *, bodyless: bool) -> None:
        self._tasks = tasks
        self._send = send
        self._outbox: asyncio.Queue[Message | None] = asyncio.Queue()  # None: nothing more is sent
        self._waiting = 0  # bytes in the outbox
        self._paused = False
        self._wanted = asyncio.Event()  # the call takes the request's body
        self._body_over = bodyless

    async def run(self, call: ForwardedCall | ForwardAuthCall, receive: Receive) -> None:
        """Begins the call, and carries it to its end, or until the client has gone."""
        self.call = call
        call.begin()
        listening = self._tasks.spawn(self._listen(receive), name="client")
        try:
            while (message := await self._outbox.get()) is not None:
                await self._send(message)
                self._waiting -= len(message.get("body", b""))
                if self._paused and self._waiting <= 0:
                    self._paused = False
                    call.resume_answer()
        except BaseException:
            call.client_gone()
            raise
        finally:
            listening.cancel()

    async def _listen(self, receive: Receive) -> None:
        while True:
            if not self._body_over:
                await self._wanted.wait()
            message = await receive()
            if message["type"] == "http.disconnect":
                self.call.client_gone()
                self._outbox.put_nowait(None)
                return
            if chunk := message.get("body", b""):
                self.call.body(chunk)
            if not message.get("more_body", False) and not self._body_over:
                self._body_over = True
                self.call.body_end()

    # ClientSide

    def send_head(self, status: int, headers: list[Header]) -> None:
        """Begins the answer."""
        if status == _NOT_MODIFIED:
            # The length there is of a body that is not sent (RFC 9110 8.6); some servers wait for it.
            headers = [header for header in headers if header[0] != b"content-length"]
        self._outbox.put_nowait({"type": "http.response.start", "status": status, "headers": headers})

    def send_data(self, chunk: bytes) -> None:
        """Queues a piece of the content."""
        self._waiting += len(chunk)
        self._outbox.put_nowait({"type": "http.response.body", "body": chunk, "more_body": True})
        if self._waiting > _BUFFER and not self._paused:
            self._paused = True
            self.call.pause_answer()

    def send_end(self) -> None:
        """Ends the answer cleanly."""
        self._outbox.put_nowait({"type": "http.response.body", "body": b"", "more_body": False})
        self._outbox.put_nowait(None)

    def abort(self) -> None:
        """Breaks the answer off."""
        self._outbox.put_nowait(None)

    def pause_request(self) -> None:
        """Asks for no more of the request's body."""
        self._wanted.clear()

    def resume_request(self) -> None:
        """Asks for the body again."""
        self._wanted.set()
