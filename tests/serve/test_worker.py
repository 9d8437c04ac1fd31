"""A worker as a real process: its start, its signals, its end."""

import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serve.small_service import Process, until
from tests.support.wait import PATIENCE


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts workers, and ends those that the test leaves."""
    started: list[Process] = []

    def start(**server: Any) -> Process:
        process = Process(tmp_path / f"{len(started)}.log", **server)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.child.poll() is None:
            process.child.kill()
        process.child.wait()


Start = Callable[..., Process]


@pytest.mark.requirement("H-09")
def test_stop_begins_with_readiness(worker: Start) -> None:
    """After SIGTERM readiness is off first, and requests are still taken."""
    process = worker(shutdown_delay=600)
    assert 200 == process.ops("/readyz")[0]
    process.child.send_signal(signal.SIGTERM)
    until(lambda: process.ops("/readyz")[0] == 503)
    assert {"status": "stopping", "checks": []} == json.loads(process.ops("/readyz")[1])
    assert 200 == process.ops("/livez")[0]
    process.answered().close()


@pytest.mark.requirement("H-09")
def test_stop(worker: Start) -> None:
    """A request in flight finishes, before and after the delay."""
    process = worker(shutdown_delay=0.1, shutdown_timeout=PATIENCE)
    with process.begun("/1") as in_flight:
        process.child.send_signal(signal.SIGTERM)
        assert b"ne" == in_flight.recv(1000)
        assert b"" == in_flight.recv(1000)
    assert 0 == process.ends()
    assert process.lines("application ended")
    assert False is process.said("stopped")["forced"]
    with pytest.raises(ConnectionError):
        process.connect("/0")


@pytest.mark.requirement("H-09")
def test_stop_has_a_limit(worker: Start) -> None:
    """A request that does not end is cut off when `shutdown_timeout` is over."""
    process = worker(shutdown_timeout=1)
    with process.begun("/600") as in_flight:
        process.child.send_signal(signal.SIGTERM)
        assert b"" == in_flight.recv(1000)
        assert 1 == process.said("requests_cut_off")["connections"]
        assert 0 == process.ends()
    assert process.lines("application ended")


@pytest.mark.requirement("H-09")
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_second_signal(worker: Start, second: signal.Signals) -> None:
    """A second signal ends the wait at once, and the exit code says so."""
    process = worker(shutdown_timeout=600, shutdown_delay=600)
    with process.begun("/600"):
        process.child.send_signal(signal.SIGINT)
        process.said("stopping")
        process.child.send_signal(second)
        assert 1 == process.ends()
    assert True is process.said("stopped")["forced"]


def test_idle_stop(worker: Start) -> None:
    """Without requests a stop is immediate, open keep-alive connections or not."""
    process = worker(shutdown_timeout=600)
    with process.answered() as idle:
        process.child.send_signal(signal.SIGINT)
        assert b"" == idle.recv(1000)
    assert 0 == process.ends()


@pytest.mark.parametrize(
    ("setting", "variable"), [("port", "BFF_SERVER__PORT"), ("ops_port", "BFF_SERVER__OPS_PORT")]
)
def test_port_in_use(worker: Start, setting: str, variable: str) -> None:
    """A port in use is said with the setting's name and the way out, and nothing has been started."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        process = worker(**{setting: other.getsockname()[1]})
        assert 1 == process.ends()
    detail = process.said("cannot_start")["detail"]
    assert f"port {other_port(detail)} on 127.0.0.1 is in use" in detail
    assert f"server.{setting}" in detail
    assert variable in detail
    assert not process.lines("listening")


def other_port(detail: str) -> str:
    """The number that a message names."""
    return next(word for word in detail.split() if word.isdigit())


def test_address_that_is_not_ours(worker: Start) -> None:
    """An address of another machine is refused with the setting's name."""
    process = worker(host="192.0.2.1")
    assert 1 == process.ends()
    assert "cannot listen on 192.0.2.1" in process.said("cannot_start")["detail"]


@pytest.mark.parametrize("workers", [1, 2])
def test_application_that_does_not_start(worker: Start, workers: int) -> None:
    """An application that fails at its start ends the service with its error in the log."""
    process = worker(client_id="fail-at-start", workers=workers)
    assert 1 == process.ends()
    assert not process.lines("listening")
    assert "this application does not start" in process.log()


def test_worker_that_hangs_in_its_start(worker: Start) -> None:
    """A worker that does not come to serve is noticed and killed; when none has served, that is the end."""
    process = worker(client_id="hang-at-start", workers=2, start_timeout=3)
    assert 1 == process.ends()
    assert {1, 2} == {line["worker"] for line in process.lines("worker_start_timed_out")}
    assert "SIGKILL" == process.said("cannot_start")["signal"]
    assert not process.lines("listening")


@pytest.mark.requirement("H-02", "H-08")
def test_guarded(worker: Start) -> None:
    """The front door is in place on the real server, its answers are dated once, and refusals are counted."""
    process = worker()
    with socket.create_connection(("127.0.0.1", process.port), timeout=PATIENCE) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(1000), b""))
    assert answer.startswith(b"HTTP/1.1 421 Misdirected Request\r\n")
    assert 1 == answer.count(b"\r\ndate: ")
    assert b"server:" not in answer
    assert 'bff_problems_total{code="wrong_host"} 1.0' in process.ops("/metrics")[1]
    said = process.said("refused")
    assert ("127.0.0.1", "wrong_host", "evil.example") == (said["address"], said["code"], said["host"])


def test_uvloop(worker: Start) -> None:
    """The event loop is uvloop where there is one."""
    assert "uvloop" == worker().said("listening")["loop"]


def test_descriptors(worker: Start) -> None:
    """The soft limit of descriptors is raised to the hard one."""
    process = worker()
    process.said("listening")
    limits = Path(f"/proc/{process.child.pid}/limits").read_text().splitlines()
    soft, hard = next(line.split()[3:5] for line in limits if line.startswith("Max open files"))
    assert int(soft) == min(int(hard), 1024 * 1024)


@pytest.mark.requirement("S-10")
def test_replaced_parts_are_freed_at_once(worker: Start) -> None:
    """Settings that change leave nothing of the former ones behind, though few objects are made then."""
    process = worker()
    process.said("listening")
    process.settings["limits"] = {"timeout": "1s"}
    process.write()
    process.child.send_signal(signal.SIGHUP)
    process.said("former part freed")


def test_embedded_redis(worker: Start) -> None:
    """`embedded` starts a Redis of its own, tells the application where, and leaves none behind."""
    process = worker(redis="embedded")
    port = process.said("embedded_redis")["port"]
    assert f"redis://127.0.0.1:{port}/0" == json.loads(process.ops("/readyz")[1])["checks"][0]["detail"]
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as redis:
        redis.sendall(b"PING\r\n")
        assert b"+PONG\r\n" == redis.recv(100)
    process.child.send_signal(signal.SIGTERM)
    assert 0 == process.ends()
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def test_without_ops_port(worker: Start) -> None:
    """Without an ops port there is none."""
    process = worker(ops_port=None)
    assert None is process.said("listening")["ops"]
    os.kill(process.child.pid, signal.SIGTERM)
    assert 0 == process.ends()
