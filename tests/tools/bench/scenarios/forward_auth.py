"""The two ways of a call behind nginx: forwarded by bff, or by nginx itself, which asks bff for the token.

nginx and bff share the contender's core, and the CPU times of both count: compared are the calls and
bytes that the two carry for a second of CPU. Backend and load share the other core, and bound the calls a
second.
"""

from dataclasses import replace
from statistics import median

from tests.tools.bench import machine
from tests.tools.bench.contenders.ours import Ours
from tests.tools.bench.environment import JSON, MEBIBYTE, Ground, start_nginx
from tests.tools.bench.figures import Finding
from tests.tools.bench.load import Figures, LoadError, Request, check_answer, run
from tests.tools.bench.programs import Program, lasting_port
from tests.tools.bench.scenarios.base import MIB, Scale, Scenario, Tell

_SECRET = "8c1f9f0b4e6d4d2ab0f1f5f6c7a3e9d2"
_FORWARDED, _ASKED = "bff forwards", "forward-auth"
_CONNECTIONS = 32
_LEAST_OF_BYTES = 1.0
_NGINX = """
daemon off; worker_processes 1; pid {folder}/{name}.pid; error_log {folder}/{name}.error.log error;
events {{ worker_connections 16384; }}
http {{
  access_log off; keepalive_requests 1000000000; client_max_body_size 0;
  client_body_temp_path {folder}/{name}.bodies; proxy_temp_path {folder}/{name}.answers;
  upstream bff {{ server 127.0.0.1:{bff}; keepalive 512; keepalive_requests 1000000000; }}
  upstream api {{ server 127.0.0.1:{backend}; keepalive 512; keepalive_requests 1000000000; }}
  proxy_http_version 1.1;
  proxy_buffer_size 32k; proxy_buffers 8 32k; proxy_busy_buffers_size 32k; proxy_max_temp_file_size 0;
  proxy_set_header Connection ""; proxy_set_header Host $http_host;
  proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
  server {{
    listen 127.0.0.1:{forwarded} backlog=2048;
    location /api/ {{ proxy_pass http://bff; proxy_buffering off; }}
  }}
  server {{
    listen 127.0.0.1:{asked} backlog=2048;
    location /api/ {{
      auth_request /forward-auth;
      auth_request_set $bff_authorization $upstream_http_authorization;
      error_page 401 = @bff; proxy_intercept_errors on;
      proxy_pass http://api;
      proxy_set_header Connection ""; proxy_set_header Host $proxy_host;
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header Authorization $bff_authorization; proxy_set_header Cookie "";
      proxy_hide_header Cache-Control; add_header Cache-Control "private, no-store" always;
      add_header X-Content-Type-Options nosniff always; add_header Content-Security-Policy sandbox always;
    }}
    location = /forward-auth {{
      internal;
      proxy_pass http://bff/bff/forward-auth?refusal=401; proxy_pass_request_body off;
      proxy_set_header Connection ""; proxy_set_header Content-Length ""; proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header BFF-Forward-Auth "{secret}"; proxy_set_header BFF-Forward-Auth-Route /api;
      proxy_set_header X-Original-Method $request_method; proxy_set_header X-Original-URI $request_uri;
    }}
    location @bff {{ proxy_pass http://bff; proxy_buffering off; }}
  }}
}}
"""


class ForwardAuth(Scenario):
    """The same calls by both ways in turn, through one nginx."""

    name = "forward-auth"
    what = "1 kB and 1 MiB behind nginx, forwarded by bff and with forward-auth: both their CPU time"

    def __init__(self) -> None:
        self.ours = [Ours("forward-auth", more={"BFF_FORWARD_AUTH__SECRETS": _SECRET})]

    def run(self, ground: Ground, scale: Scale, tell: Tell) -> list[Finding]:
        ours, ports = self.ours[0], {_FORWARDED: lasting_port(), _ASKED: lasting_port()}
        ours.start(ground)
        assert ours.program is not None
        file = ground.folder / "forward-auth.conf"
        file.write_text(
            _NGINX.format(
                folder=ground.folder,
                name="forward-auth",
                bff=ours.port,
                backend=ground.backend_port,
                forwarded=ports[_FORWARDED],
                asked=ports[_ASKED],
                secret=_SECRET,
            )
        )
        nginx = start_nginx(ground, "forward-auth", file, ports[_ASKED], ground.cores.contender)
        both, findings = (nginx, ours.program), []
        for size, request in (("1 kB", JSON), ("1 MiB", MEBIBYTE)):
            runs: dict[str, list[Figures]] = {way: [] for way in ports}
            for number in range(scale.rounds):
                for way, port in ports.items():
                    tell(f"round {number + 1} of {scale.rounds}: {size}, {way}")
                    runs[way].append(_run(ground, both, port, request, ours=ours, seconds=scale.seconds))
            findings += self._compared(size, runs)
        return findings

    def _compared(self, size: str, runs: dict[str, list[Figures]]) -> list[Finding]:
        found = [
            Finding(
                self.name,
                f"{size}, {way}: calls a second; CPU of nginx and bff for a call; bytes for a second of it",
                f"{median(one.rate for one in figures):,.0f}; {median(one.cost for one in figures):,.0f} µs; "
                f"{median(_carried(one) for one in figures) / MIB:,.0f} MiB",
            )
            for way, figures in runs.items()
        ]
        pairs = list(zip(runs[_ASKED], runs[_FORWARDED], strict=True))
        speed = median(asked.rate / forwarded.rate for asked, forwarded in pairs)
        carried = median(_carried(asked) / _carried(forwarded) for asked, forwarded in pairs)
        wanted = size == "1 MiB"
        return [
            *found,
            Finding(self.name, f"{size}: forward-auth by bff forwarding, calls a second", f"{speed:.2f}"),
            Finding(
                self.name,
                f"{size}: the same, bytes for a second of CPU",
                f"{carried:.2f}",
                "more than 1" if wanted else "",
                carried > _LEAST_OF_BYTES if wanted else None,
            ),
        ]


def _carried(figures: Figures) -> float:
    """Bytes for a second of CPU time; a run so short that no tick of it was counted has a tick."""
    return figures.size / max(figures.cpu * figures.seconds, 0.01)


def _run(
    ground: Ground, both: tuple[Program, Program], port: int, request: Request, *, ours: Ours, seconds: float
) -> Figures:
    headers = ours.headers()
    check_answer(port, request, headers)
    before = sum(machine.group_cpu(program.pid) for program in both)
    figures = run(
        port,
        request,
        headers,
        connections=_CONNECTIONS,
        seconds=seconds,
        cores=ground.cores.rest,
        folder=ground.folder,
    )
    used = sum(machine.group_cpu(program.pid) for program in both) - before
    check_answer(port, request, headers)
    if figures.refused or not figures.whole(request.answer):
        raise LoadError(f"{figures.refused} of {figures.requests} answers were refusals, or some were short")
    both[1].forget_log()
    return replace(figures, cpu=used / figures.seconds)
