"""A final answer before the body's end reaches a client that is still sending (H-10)."""

import asyncio
import contextlib
import http.client
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bff.embedded import free_port
from tests.support.network.backend import Conversation, raw_backend
from tests.support.network.nginx import listens, running_nginx
from tests.support.processes.redis import RedisServer
from tests.support.processes.world import World, running_world
from tests.support.wait import PATIENCE, until

LARGE = 24 * 1024 * 1024

CONFIGURATION = """
master_process off;
events {{}}
http {{
  access_log off;
  client_max_body_size 0;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://127.0.0.1:{ours};
      proxy_set_header Host {host};
      proxy_http_version 1.1;
      proxy_request_buffering off;
    }}
  }}
}}
"""

pytestmark = pytest.mark.requirement("H-10")


async def refuses_early(conversation: Conversation) -> None:
    """A backend that answers 413 to the head, and takes what still comes."""
    while await conversation.read_head() is not None:
        await conversation.send(
            b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge"
        )
        await conversation.closed()
        return


@contextlib.asynccontextmanager
async def serving(redis: RedisServer, **route: object) -> AsyncIterator[World]:
    async with (
        raw_backend(refuses_early) as backend,
        running_world(redis, route={"upstream": backend.url, **route}) as world,
    ):
        yield world


def upload(port: int, host: str, *, chunked: bool, **headers: str) -> int:
    """Sends all of a body before it looks at the answer, as Python's client does; the answer's status."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    body = (bytes(1 << 20) for _ in range(LARGE >> 20)) if chunked else bytes(LARGE)
    try:
        client.request(
            "PUT", "/api/x", body, {"Host": host, "X-CSRF": "1", **headers}, encode_chunked=chunked
        )
        return client.getresponse().status
    finally:
        client.close()


CASES = {
    "no session": ({}, {}, 401),
    "a foreign page": ({}, {"Sec-Fetch-Site": "cross-site"}, 403),
    "too large": ({"auth": "none", "max_body": 1 << 20}, {}, 413),
    "refused by the backend": ({"auth": "none", "max_body": 1 << 30}, {}, 413),
}


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("case", CASES)
async def test_python_client(redis_server: RedisServer, case: str, chunked: bool) -> None:
    """A client that sends everything before it reads gets the refusal, and no broken pipe."""
    route, headers, status = CASES[case]
    if chunked:
        headers = {**headers, "Transfer-Encoding": "chunked"}
    async with serving(redis_server, **route) as world:
        host = world.url.removeprefix("http://")
        for _ in range(3):
            assert status == await asyncio.to_thread(upload, world.port, host, chunked=chunked, **headers)


@pytest.mark.parametrize("case", CASES)
async def test_a_refusal_says_that_it_is_the_last_word(redis_server: RedisServer, case: str) -> None:
    """Before a long rest that was announced, an error ends the connection, and says so in its head."""
    route, headers, status = CASES[case]
    async with serving(redis_server, **route) as world:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        fields = {"Host": world.url.removeprefix("http://"), "X-CSRF": "1", **headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(f"PUT /api/x HTTP/1.1\r\n{lines}Content-Length: {LARGE}\r\n\r\nbegin".encode())
        if case == "refused by the backend":
            writer.write(bytes(1 << 20))  # enough for a connection to the backend to be taken
        async with asyncio.timeout(PATIENCE):
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write_eof()
            await reader.read()
        writer.close()
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert 1 == head.lower().count(b"connection: close\r\n")


@pytest.mark.parametrize("case", CASES)
async def test_through_nginx(redis_server: RedisServer, tmp_path: Path, case: str) -> None:
    """Through an nginx that does not buffer requests the client gets our answer, never its 502."""
    route, headers, status = CASES[case]
    port = free_port()
    async with serving(redis_server, **route) as world:
        host = world.url.removeprefix("http://")
        text = CONFIGURATION.format(folder=tmp_path, port=port, ours=world.port, host=host)
        with running_nginx(tmp_path, text) as process:
            await until(lambda: listens(port) or process.poll() is not None)
            got = [await asyncio.to_thread(upload, port, host, chunked=False, **headers) for _ in range(10)]
    assert [status] * 10 == got


async def test_a_client_that_half_closes(redis_server: RedisServer) -> None:
    """A client that sends no more behind its whole request gets its answer; one that has gone is noticed."""

    async def slow(conversation: Conversation) -> None:
        while await conversation.read_head() is not None:
            asked.set()
            done.append(await asyncio.wait_for(conversation.reader.read(1), PATIENCE))
            return

    async def answers(conversation: Conversation) -> None:
        while await conversation.read_head() is not None:
            await release.wait()
            await conversation.send(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
            )

    asked, release = asyncio.Event(), asyncio.Event()
    done: list[bytes] = []
    request = b"GET /api/x HTTP/1.1\r\nHost: %b\r\nX-CSRF: 1\r\n\r\n"
    async with (
        raw_backend(answers) as backend,
        running_world(redis_server, route={"upstream": backend.url, "auth": "none"}) as world,
    ):
        for times in (1, 2):
            release.clear()
            reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
            writer.write(request % world.url.removeprefix("http://").encode() * times)
            writer.write_eof()
            while times == 1 and b"100 Continue" not in (
                begun := await asyncio.wait_for(reader.readline(), PATIENCE)
            ):
                assert begun
            release.set()
            heard = await asyncio.wait_for(reader.read(), PATIENCE)
            assert times == heard.count(b"HTTP/1.1 200 OK")
            assert heard.endswith(b"2\r\nok\r\n0\r\n\r\n")
            writer.close()
    async with (
        raw_backend(slow) as backend,
        running_world(redis_server, route={"upstream": backend.url, "auth": "none"}) as world,
    ):
        with socket.create_connection(("127.0.0.1", world.port)) as client:
            client.sendall(request % world.url.removeprefix("http://").encode())
            await asyncio.wait_for(asked.wait(), PATIENCE)
        await until(lambda: [b""] == done)
