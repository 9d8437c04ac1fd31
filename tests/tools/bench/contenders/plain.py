"""The contenders that set the scale: no proxy, nginx, a fixed answer, and the BFF most people would write."""

import json
import os
import secrets
import sys

import redis

from tests.tools.bench.contenders.base import Contender
from tests.tools.bench.contenders.naive import SESSION_PREFIX
from tests.tools.bench.environment import BIG, SMALL, TAKEN, Ground, start_nginx
from tests.tools.bench.programs import Program, lasting_port, listens, python_environment, start

_NGINX = """
daemon off; worker_processes 1; pid {folder}/{name}.pid; error_log {folder}/{name}.error.log error;
events {{ worker_connections 16384; }}
http {{
  access_log off; keepalive_requests 1000000000; client_max_body_size 0;
  client_body_temp_path {folder}/{name}.bodies; proxy_temp_path {folder}/{name}.answers;
  upstream backend {{
    server 127.0.0.1:{backend}; keepalive 512; keepalive_requests 1000000000;
  }}
  {more_upstreams}
  server {{
    listen 127.0.0.1:{port} backlog=2048;
    proxy_http_version 1.1; proxy_set_header Connection "";
    location /api {{ proxy_pass http://backend; }}
    {more_locations}
  }}
}}
"""


def start_plain_nginx(
    ground: Ground, name: str, port: int, *, upstreams: str = "", locations: str = ""
) -> Program:
    """An nginx that does nothing but forward, on the contender's core."""
    file = ground.folder / f"{name}.conf"
    configuration = _NGINX.format(
        folder=ground.folder,
        name=name,
        backend=ground.backend_port,
        port=port,
        more_upstreams=upstreams,
        more_locations=locations,
    )
    file.write_text(configuration)
    return start_nginx(ground, name, file, port, ground.cores.contender)


_FRONT = """
daemon off; worker_processes 1; pid {folder}/{name}.pid; error_log {folder}/{name}.error.log error;
events {{ worker_connections 16384; }}
http {{
  access_log off; keepalive_requests 1000000000; client_max_body_size 0;
  client_body_temp_path {folder}/{name}.bodies; proxy_temp_path {folder}/{name}.answers;
  upstream contender {{ server 127.0.0.1:{behind}; keepalive 512; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=2048;
    location / {{
      proxy_pass http://contender;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Request-ID $request_id;
    }}
  }}
}}
"""


def start_front(ground: Ground, contender: str, behind: int) -> int:
    """Starts an nginx before a contender, as reverse proxies stand there; returns its port."""
    name, port = f"front-{contender}", lasting_port()
    file = ground.folder / f"{name}.conf"
    file.write_text(_FRONT.format(folder=ground.folder, name=name, behind=behind, port=port))
    start_nginx(ground, name, file, port, ground.cores.rest)
    return port


class Direct(Contender):
    """No proxy at all."""

    name = "direct"
    what = "the backend itself, without any proxy: what the load generator can do"

    def start(self, ground: Ground) -> None:
        self.port = ground.backend_port


class Nginx(Contender):
    """The limit."""

    name = "nginx"
    what = "nginx proxy_pass, one worker, no log, no session: the limit"

    def start(self, ground: Ground) -> None:
        self.program = start_plain_nginx(ground, self.name, self.port)


class FixedAnswer(Contender):
    """A fixed answer by the same framework, as its upper bound."""

    name = "uvicorn"
    what = "uvicorn with a fixed answer from memory: the framework's limit"

    def start(self, ground: Ground) -> None:
        for name, content in (("small", SMALL), ("large", BIG), ("taken", TAKEN)):
            (ground.folder / f"fixed.{name}").write_bytes(content)
        more = {"FIXED_ANSWERS": str(ground.folder)}
        self.program = ground.keep(_uvicorn(self, "tests.tools.bench.contenders.fixed:app", ground, more))


class Naive(Contender):
    """The comparison that most people have at hand. Its session is written into Redis by the bench."""

    name = "naive"
    what = "the BFF most people would write: Starlette, httpx, redis-py; no log, no checks"

    def start(self, ground: Ground) -> None:
        self._redis = ground.redis.url
        more = {"NAIVE_REDIS": ground.redis.url, "NAIVE_UPSTREAM": ground.backend_url}
        self.program = ground.keep(_uvicorn(self, "tests.tools.bench.contenders.naive:app", ground, more))

    def sign_in(self) -> dict[str, str]:
        session = secrets.token_urlsafe(32)
        with redis.Redis.from_url(self._redis) as client:
            record = json.dumps({"sub": "alice", "access_token": secrets.token_urlsafe(600)})
            client.set(f"{SESSION_PREFIX}{session}", record, ex=3600)
        return {"Cookie": f"session={session}"}


def _uvicorn(contender: Contender, app: str, ground: Ground, more: dict[str, str]) -> Program:
    options = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--no-server-header"]
    command = [sys.executable, "-m", "uvicorn", app, "--port", str(contender.port), *options]
    return start(
        contender.name,
        [*command, "--log-level", "warning", "--backlog", "2048"],
        folder=ground.folder,
        cores=ground.cores.contender,
        ready=lambda: listens(contender.port),
        environment=python_environment(os.environ, **more),
    )
