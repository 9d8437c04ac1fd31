"""Two ways to one backend: through nginx, and through ours."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import h11

from bff.embedded import free_port
from tests.support.network.backend import Conversation, raw_backend
from tests.support.network.nginx import listens, running_nginx
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import running_world
from tests.support.wait import until

_QUIET = 5.0
"""After how long without another byte an open connection has said what it had to say, in seconds."""

"""The same where the connection is to be closed."""

_CONFIGURATION = """
master_process off;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://127.0.0.1:{backend};
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_next_upstream off;
    }}
  }}
}}
"""


@dataclass(frozen=True)
class Front:
    """Where to send requests, and the name to call it by."""

    port: int
    host: bytes


@dataclass
class Seen:
    """What reached the backend, and what it is to answer.

    `requests` by the tag in their target: method, rest of the target, content; `doubtful` is what an
    independent reader could not make sense of.
    """

    answers: dict[bytes, bytes] = field(default_factory=dict)
    requests: dict[bytes, list[tuple[bytes, bytes, bytes]]] = field(default_factory=dict)
    heads: list[list[tuple[bytes, bytes]]] = field(default_factory=list)
    doubtful: list[str] = field(default_factory=list)

    def note(self, asked: h11.Request, body: bytes) -> bytes:
        """Records a request; returns its tag."""
        parts = asked.target.split(b"/", 3)
        tag, rest = parts[2] if len(parts) > 2 else b"", b"".join(parts[3:])
        self.requests.setdefault(tag, []).append((asked.method, rest, body))
        self.heads.append(list(asked.headers))
        return tag


@contextlib.asynccontextmanager
async def both(redis: RedisServer, folder: Path, seen: Seen) -> AsyncIterator[tuple[Front, Front]]:
    """Nginx and ours in front of one backend, which reads by h11 and hangs up after special answers."""

    async def script(conversation: Conversation) -> None:
        server = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        asked, body = None, b""
        while True:
            try:
                event = server.next_event()
            except h11.RemoteProtocolError as error:
                if not str(error).startswith("peer closed"):  # a request broken off is beyond doubt
                    seen.doubtful.append(str(error))
                return
            if event is h11.NEED_DATA:
                server.receive_data(await conversation.reader.read(65536))
            elif isinstance(event, h11.Request):
                asked, body = event, b""
                if server.they_are_waiting_for_100_continue:
                    go_ahead = h11.InformationalResponse(status_code=100, headers=[])
                    await conversation.send(server.send(go_ahead))
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert asked is not None
                answer = seen.answers.get(seen.note(asked, body))
                if answer is not None:
                    await conversation.send(answer)
                    return
                head = server.send(h11.Response(status_code=200, headers=[("content-length", "2")]))
                body = b"" if asked.method == b"HEAD" else server.send(h11.Data(b"ok"))
                server.send(h11.EndOfMessage())
                await conversation.send(head + body)
                if server.states[h11.CLIENT] is h11.MUST_CLOSE:
                    return
                server.start_next_cycle()
            else:
                return

    port = free_port()
    async with raw_backend(script) as b:
        text = _CONFIGURATION.format(folder=folder, port=port, backend=b.port)
        with running_nginx(folder, text) as process:
            await until(lambda: listens(port) or process.poll() is not None)
            waits = {"connect_timeout": 60, "queue_timeout": 60}  # a busy machine is no outage
            route = {"upstream": b.url, "auth": "none", "strip_prefix": False, **waits}
            async with running_world(redis, route=route) as world:
                ours = Front(world.port, world.url.removeprefix("http://").encode())
                yield Front(port, b"localhost"), ours


async def _say(front: Front, data: bytes, quiet: float) -> bytes:
    """Sends bytes, and returns what comes until the front hangs up or falls silent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    heard = b""
    try:
        writer.write(data)
        with contextlib.suppress(TimeoutError, ConnectionError):
            while True:
                async with asyncio.timeout(quiet):
                    more = await reader.read(65536)
                if not more:
                    break
                heard += more
    finally:
        writer.close()
    return heard


async def say_all(front: Front, messages: Iterable[bytes], quiet: float = _QUIET) -> list[bytes]:
    """Says each on a connection of its own, all at once."""
    return list(await asyncio.gather(*(_say(front, data, quiet) for data in messages)))


Outcome = tuple[Literal["answer", "refused", "broken"], int, bytes]
"""An answer as its client understands it; refused: 502, or nothing at all; broken: cut off."""


def understood(heard: bytes, method: bytes) -> Outcome:
    """What an independent client makes of one answer and the end of the connection."""
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    client.send(h11.Request(method=method, target="/", headers=[("host", "x"), ("connection", "close")]))
    client.send(h11.EndOfMessage())
    client.receive_data(heard)
    client.receive_data(b"")
    status, body = 0, b""
    while True:
        try:
            event = client.next_event()
        except h11.RemoteProtocolError:
            return ("broken", status, b"") if status else ("refused", 0, b"")
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            return ("refused", 0, b"") if status == 502 else ("answer", status, body)
        elif event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
            return "refused", 0, b""
