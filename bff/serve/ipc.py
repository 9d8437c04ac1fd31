"""Messages between the supervisor and a worker, over a socket pair that only these two hold.

Rule 1: the settings come first, secrets included: they stand on no command line and in no environment.
Rule 2: after them each line is one JSON object. The supervisor orders and asks, the worker reports and
answers; an answer bears its question's number.
Rule 3: neither waits for the other without an end: a worker that is stopped or busy blocks nobody.
"""

import asyncio
import base64
import contextlib
import json
import pickle
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Literal

from bff import __version__
from bff.settings.model import Settings
from bff.tasks import Tasks

Order = Literal["stop", "retire", "force", "drop"]
Question = Literal["readiness", "metrics", "openmetrics", "prepare"]

# A longer line would end the link: far beyond the settings of the largest file.
_LINE_LIMIT = 256 * 1024 * 1024
_SERVING: Final = "serving"
_STOPPING: Final = "stopping"
_ENDED = "the worker has ended"


class SupervisorSide:
    """The supervisor's end. `serving` is set once the worker listens, `stopping` before it stops to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._number = 0
        self.serving, self.stopping = asyncio.Event(), asyncio.Event()

    @classmethod
    async def opened(cls, own: socket.socket) -> "SupervisorSide":
        """Takes over the supervisor's half of a socket pair."""
        return cls(*await asyncio.open_unix_connection(sock=own, limit=_LINE_LIMIT))

    def hand_over(self, settings: Settings) -> None:
        """Sends the settings; the worker waits for them."""
        for part in (__version__.encode(), pickle.dumps(settings)):
            self._writer.write(struct.pack("!I", len(part)) + part)

    def reload(self, settings: Settings | None) -> None:
        """Asks the worker to read its files again, and to apply the settings that can change live."""
        self._say({"reload": _packed(settings)})

    def order(self, order: Order) -> None:
        """Asks the worker to stop, or to stop at once; no error if it is gone."""
        self._say({"order": order})

    async def ask(self, question: Question, settings: Settings | None = None) -> Any:
        """The worker's answer; ConnectionError if it ends meanwhile, or has. Bound the wait by a timeout.

        `settings` are those that the question is about, if it is about any.
        """
        if self._writer.is_closing():  # its process may still have to be reaped
            raise ConnectionResetError(_ENDED)
        self._number += 1
        number, answer = self._number, asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            self._say({"ask": question, "number": number, "settings": _packed(settings)})
            return await answer
        finally:
            del self._asked[number]

    async def listen(self) -> None:
        """Takes the worker's messages, until it is gone."""
        try:
            with contextlib.suppress(OSError, ValueError):
                while line := await self._reader.readline():
                    self._take(json.loads(line))
        finally:
            self._writer.close()
            for asked in self._asked.values():
                if not asked.done():
                    asked.set_exception(ConnectionResetError(_ENDED))

    def _take(self, said: dict[str, Any]) -> None:
        if said.get("report") == _SERVING:
            self.serving.set()
        elif said.get("report") == _STOPPING:
            self.stopping.set()
        elif (asked := self._asked.get(said.get("number", 0))) and not asked.done():
            asked.set_result(said["answer"])

    def _say(self, message: dict[str, Any]) -> None:
        if not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")


class WorkerSide:
    """The worker's end.

    Args:
        answers: a function for each question, of the settings that it is about; its result is JSON.
        orders: a function for each order.
        reload: called with newer settings, or with None where they cannot be used.
    """

    def __init__(
        self,
        own: socket.socket,
        answers: Mapping[Question, Callable[[Settings | None], Awaitable[Any]]],
        orders: Mapping[Order, Callable[[], None]],
        reload: Callable[[Settings | None], None],
    ) -> None:
        self._own, self._answers, self._orders, self._reload = own, answers, orders, reload
        self._writer: asyncio.StreamWriter | None = None
        self._tasks = Tasks()

    async def open(self) -> None:
        """Begins to listen, on the running loop."""
        reader, self._writer = await asyncio.open_unix_connection(sock=self._own, limit=_LINE_LIMIT)
        self._tasks.spawn(self._listen(reader), name="supervisor link")

    def report_serving(self) -> None:
        """Says that requests are taken from now on."""
        self._say({"report": _SERVING})

    def report_stopping(self) -> None:
        """Says that no requests are taken any more."""
        self._say({"report": _STOPPING})

    async def close(self) -> None:
        """Stops listening."""
        await self._tasks.cancel_all()
        if self._writer is not None:
            self._writer.close()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                heard = json.loads(line)
                if "order" in heard:
                    self._orders[heard["order"]]()
                elif "reload" in heard:
                    self._reload(_opened(heard["reload"]))
                else:
                    answer = self._answer(heard["ask"], heard["number"], _opened(heard["settings"]))
                    self._tasks.spawn(answer, name="supervisor question")
                    await asyncio.sleep(0)  # it begins before a message behind it, as an order to drop it

    async def _answer(self, question: Question, number: int, settings: Settings | None) -> None:
        self._say({"number": number, "answer": await self._answers[question](settings)})

    def _say(self, message: dict[str, Any]) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")


class OtherVersionError(Exception):
    """The supervisor is of another version: another one was installed while it runs."""


def receive_settings(own: socket.socket) -> Settings:
    """The settings that `hand_over` sent; blocks.

    Raises:
        EOFError: the supervisor is gone.
        OtherVersionError: its settings cannot be read.
    """
    own.setblocking(True)
    version = _part(own).decode("utf-8")
    packed = _part(own)
    if version != __version__:
        raise OtherVersionError(f"the supervisor is of version {version}, and this worker of {__version__}")
    settings = _unpacked(packed)
    own.setblocking(False)
    return settings


def _unpacked(packed: bytes) -> Settings:
    settings = pickle.loads(packed)  # noqa: S301 - from our own supervisor, nobody else has the socket
    assert isinstance(settings, Settings)
    return settings


def _packed(settings: Settings | None) -> str | None:
    return None if settings is None else base64.b64encode(pickle.dumps(settings)).decode("ascii")


def _opened(packed: str | None) -> Settings | None:
    return None if packed is None else _unpacked(base64.b64decode(packed))


def _part(own: socket.socket) -> bytes:
    (length,) = struct.unpack("!I", _exactly(own, 4))
    return _exactly(own, length)


def _exactly(own: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        piece = own.recv(count - len(received))
        if not piece:
            raise EOFError("the supervisor is gone")
        received += piece
    return received
