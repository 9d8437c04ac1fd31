"""The environment of every contender: one backend, one Redis, one issuer, a folder, and the cores.

The backend is nginx. It answers 401 without a bearer token, so that a 200 through a contender shows that one
was put in. The issuer runs in this process, and is idle while load is measured.
"""

import asyncio
import contextlib
import json
import signal
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bff.embedded import EmbeddedRedis
from tests.support.processes.world import Browser
from tests.support.providers.issuer import RunningIssuer, async_sign_in_at, running_issuer
from tests.tools.bench.load import LoadError, Request
from tests.tools.bench.machine import Cores, on
from tests.tools.bench.programs import NotStartedError, Program, find, lasting_port, listens, start

_ITEM = '{"id":%d,"article":"a tea cup with a crack","quantity":%d,"price":"12.50"}'
SMALL = ('{"orders":[' + ",".join(_ITEM % (n, n) for n in range(10, 25)) + "]}").encode()  # 1.1 kB
BIG = b"0123456789" * 10_240
TAKEN = b'{"taken":true}'
TOKEN_LIFETIME = 900.0
"""Seconds; the longest that the issuer gives. Sessions are made anew well before."""
JSON = Request("GET", "/api/json", SMALL)
MEBIBYTE = Request("GET", "/api/mebibyte", b"0123456789abcdef" * 65_536)
LARGE = Request("GET", "/api/large", BIG)
POST = Request("POST", "/api/post", TAKEN, b'{"order":"' + b"x" * 10_000 + b'"}')

_BACKEND = """
daemon off; worker_processes 1; pid {folder}/backend.pid; error_log {folder}/backend.error.log error;
events {{ worker_connections 16384; }}
http {{
  access_log off; sendfile on; tcp_nopush on; open_file_cache max=10 inactive=1h;
  keepalive_requests 1000000000; client_max_body_size 0; client_body_temp_path {folder}/backend.bodies;
  default_type application/json;
  map $http_authorization $signed {{ default 0; "~^Bearer ." 1; }}
  server {{
    listen 127.0.0.1:{port} backlog=2048;
    if ($signed = 0) {{ return 401; }}
    location = /api/json {{ return 200 '{small}'; }}
    location = /api/post {{ return 200 '{taken}'; }}
    location = /api/large {{ alias {folder}/large; }}
    location = /api/mebibyte {{ alias {folder}/mebibyte; }}
    location /api/json/ {{ return 200 '{small}'; }}
    location /api/post/ {{ return 200 '{taken}'; }}
    location /api/large/ {{ root {folder}; try_files /large =404; }}
    location /api/same/ {{ return 304; }}
  }}
}}
"""


@dataclass
class Ground:
    """The parts. `stack` ends what contenders and scenarios start."""

    folder: Path
    cores: Cores
    redis: EmbeddedRedis
    issuer: RunningIssuer
    backend_port: int
    stack: contextlib.ExitStack

    def keep(self, program: Program) -> Program:
        """Sees to it that a program is ended with the bench."""
        self.stack.callback(program.stop)
        return program

    @contextlib.contextmanager
    def scope(self) -> Iterator[None]:
        """Ends what is started within at its end."""
        outer = self.stack
        try:
            with contextlib.ExitStack() as self.stack:
                yield
        finally:
            self.stack = outer

    @property
    def backend_url(self) -> str:
        """The backend's origin."""
        return f"http://127.0.0.1:{self.backend_port}"


@contextlib.contextmanager
def prepared(cores: Cores, redirect_uris: Sequence[str]) -> Iterator[Ground]:
    """Starts backend, Redis and issuer, and ends them and all else that was started on them."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(_stopped_by_sigterm())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bff-bench-")))
        stack.enter_context(on(cores.rest))
        redis = stack.enter_context(EmbeddedRedis())
        issuer = stack.enter_context(
            running_issuer(redis.url, redirect_uris, access_token_lifetime=TOKEN_LIFETIME)
        )
        ground = Ground(folder, cores, redis, issuer, lasting_port(), stack)
        _start_backend(ground)
        yield ground


def _start_backend(ground: Ground) -> None:
    nginx = find("nginx")
    if nginx is None:
        raise NotStartedError("nginx is not installed: it is the backend of all contenders")
    (ground.folder / "large").write_bytes(BIG)
    (ground.folder / "mebibyte").write_bytes(MEBIBYTE.answer)
    configuration = ground.folder / "backend.conf"
    configuration.write_text(
        _BACKEND.format(
            folder=ground.folder, port=ground.backend_port, small=SMALL.decode(), taken=TAKEN.decode()
        )
    )
    ground.folder.chmod(0o755)  # nginx' worker is another user where the bench is run by root
    start_nginx(ground, "backend", configuration, ground.backend_port, ground.cores.rest)


def start_nginx(ground: Ground, name: str, configuration: Path, port: int, cores: frozenset[int]) -> Program:
    """Starts an nginx with a configuration of its own."""
    nginx = find("nginx")
    assert nginx is not None
    command = [nginx, "-p", str(ground.folder), "-e", f"{ground.folder}/{name}.log", "-c", str(configuration)]
    program = start(name, command, folder=ground.folder, cores=cores, ready=lambda: listens(port))
    return ground.keep(program)


def cookies_of_sign_in(port: int, begin: str) -> str:
    """Signs alice in through a contender as a browser would; returns the `Cookie` header it then sends."""
    return asyncio.run(_sign_in(port, begin))


async def _sign_in(port: int, begin: str) -> str:
    browser = Browser(f"http://localhost:{port}", verify=False)

    async def send_secure_ones_too(_: object) -> None:
        """Others mark cookies Secure on plain http as well: browsers then send them to localhost."""
        for cookie in browser.client.cookies.jar:
            cookie.secure = False

    browser.client.event_hooks["response"].append(send_secure_ones_too)
    async with browser.client:
        page = await browser.follow(await browser.client.get(begin))
        if "password" not in page.text:
            raise LoadError(f"no sign-in page behind {begin}: {page.status_code} {page.text[:200]!r}")
        await browser.follow(await async_sign_in_at(page, browser.client))
        own = {
            line.partition("=")[0]
            for answer in browser.answers
            if answer.url.port == port
            for line in answer.headers.get_list("set-cookie")
        }
        held = [(cookie.name, cookie.value) for cookie in browser.client.cookies.jar if cookie.name in own]
    if not held:
        raise LoadError(f"no session after the sign-in at {begin}")
    return "; ".join(f"{name}={value}" for name, value in held)


def json_file(ground: Ground, name: str, content: object) -> Path:
    """Writes a program's configuration."""
    file = ground.folder / name
    file.write_text(json.dumps(content))
    return file


@contextlib.contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """SIGTERM and a closed terminal end the bench as Ctrl-C does: in order."""

    def stop(number: int, _: object) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    former = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
