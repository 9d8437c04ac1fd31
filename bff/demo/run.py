"""Runs the demo: Redis, issuer, API and BFF as children of this process.

Rule 1: nothing outlives this process, however it ends (see `bff.child`).
Rule 2: a child that dies is named, with its last lines, and ends the demo with 1.
Rule 3: readiness is asked for, never waited for by the clock alone.
"""

import contextlib
import http.client
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from bff.child import Child
from bff.demo.banner import Facts, announce
from bff.demo.plan import ACCESS_TOKEN_LIFETIME, SAMPLE_PAGE, Ports, Service, choose_ports, services
from bff.embedded import EmbeddedRedis, EmbeddedRedisError

START_TIMEOUT = 60.0  # seconds; a slow machine's, not a promise
STOP_TIMEOUT = 8.0
LAST_LINES = 20
_POLL = 0.05


class ChildDiedError(Exception):
    """A part of the demo ended by itself, or did not become ready."""

    def __init__(self, name: str, what: str, last_lines: list[str]) -> None:
        super().__init__(f"{name} {what}")
        self.last_lines = last_lines


class Demo:
    """The running programs. Setting `stopping` ends the demo."""

    def __init__(
        self, plan: list[Service], redis: EmbeddedRedis, logs: Path, stopping: threading.Event
    ) -> None:
        self._plan = plan
        self._redis = redis
        self._logs = logs
        self._children: dict[str, Child] = {}
        self._stopping = stopping

    def start(self) -> None:
        """Starts all programs, and returns when all are ready, or when stopping is asked for.

        The BFF comes last: it would look for the issuer too early, and wait a while before it looks again.
        """
        deadline = time.monotonic() + START_TIMEOUT
        for stage in (self._plan[:-1], self._plan[-1:]):
            for service in () if self._stopping.is_set() else stage:
                self._launch(service)
            self._wait_until_ready(stage, deadline)

    def _launch(self, service: Service) -> None:
        log = self._logs / f"{service.name.replace(' ', '-').lower()}.log"
        self._children[service.name] = Child(
            service.command, log=log, scratch=self._logs, environment=service.environment
        )

    def _wait_until_ready(self, waiting: list[Service], deadline: float) -> None:
        while waiting and not self._stopping.wait(_POLL):
            self.check()
            waiting = [service for service in waiting if not is_ready(service)]
            if waiting and time.monotonic() > deadline:
                child = self._children[waiting[0].name]
                what = f"was not ready after {START_TIMEOUT:.0f} seconds"
                raise ChildDiedError(waiting[0].name, what, child.last_lines(LAST_LINES))

    def watch(self) -> None:
        """Returns when stopping is asked for; ChildDiedError when a part ends before that."""
        while not self._stopping.wait(4 * _POLL):
            self.check()

    def check(self) -> None:
        """Raises ChildDiedError if a part has ended."""
        if not self._redis.alive():
            raise ChildDiedError("Redis", "has ended", self._redis.log().splitlines()[-LAST_LINES:])
        for name, child in self._children.items():
            if not child.alive():
                how = f"has ended (exit code {child.exit_code})"
                raise ChildDiedError(name, how, child.last_lines(LAST_LINES))

    def stop(self) -> None:
        """Asks all programs to end, the BFF first, which finishes its requests; then ends the others."""
        for name in reversed(self._children):
            self._children[name].terminate()
            if name == self._plan[-1].name:
                self._children[name].wait(STOP_TIMEOUT)
        for child in self._children.values():
            child.wait(STOP_TIMEOUT)
            child.kill()


def is_ready(service: Service) -> bool:
    """Return True if a program's health endpoint answers 200."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=2)
    try:
        connection.request("GET", service.ready_path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def run(
    wanted: Ports,
    environ: Mapping[str, str],
    console: Console,
    lifetime: int = ACCESS_TOKEN_LIFETIME,
    page: Path = SAMPLE_PAGE,
) -> int:
    """Runs the demo until it is stopped; returns the exit code. Access tokens live `lifetime` seconds."""
    ports, taken = choose_ports(wanted)
    for sentence in taken:
        console.print(sentence, soft_wrap=True, highlight=False)
    try:
        with ExitStack() as stack:
            stopping = threading.Event()
            stack.enter_context(_signals(stopping.set, console))
            logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bff-demo-")))
            redis = stack.enter_context(EmbeddedRedis(ports.redis))
            demo = Demo(services(ports, redis.url, environ, lifetime, page), redis, logs, stopping)
            stack.callback(demo.stop)
            with console.status("Starting Redis, issuer, API and BFF …"):
                demo.start()
            if not stopping.is_set():
                announce(console, Facts(ports, redis.kind, redis.cli, logs, lifetime))
                demo.watch()
            console.print("\nStopping …", highlight=False)
    except (ChildDiedError, EmbeddedRedisError) as error:
        console.print(f"[bold red]The demo ends: {error}.[/]", soft_wrap=True, highlight=False)
        for line in getattr(error, "last_lines", []):
            console.print(f"  {line}", soft_wrap=True, highlight=False, markup=False)
        return 1
    return 0


@contextmanager
def _signals(stop: Callable[[], None], console: Console) -> Iterator[None]:
    """Lets Ctrl-C, SIGTERM and a closed terminal end the demo in order; a second Ctrl-C ends it at once.

    SIGHUP without a closed terminal ends nothing: there is nothing to reload.
    """
    had_terminal = console.file.isatty()

    def handle(number: int, _: Any) -> None:
        if number == signal.SIGHUP and (not had_terminal or console.file.isatty()):
            return
        stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    former = {name: signal.signal(name, handle) for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            for name, handler in former.items():
                signal.signal(name, handler)
