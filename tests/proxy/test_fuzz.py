"""A sample of the fuzzing, and what it has found (H-02)."""

import contextlib
import faulthandler
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from uvicorn.server import ServerState

from bff.credentials.credential import Ready
from bff.credentials.session_credentials import Credentials
from bff.observe import logs
from bff.proxy.server.http_protocol import HttpServerProtocol
from bff.proxy.server.request_parser import Head, RequestParser
from bff.session.cached_session import CachedSession
from tests.structure.source import ROOT
from tests.tools.soak import fuzz, path_run, path_target

quiet = Credentials.quiet
feed = RequestParser.feed
first: dict[str, CachedSession] = {}
MODULES = {"door": "door_target", "path": "path_run"}
"""Where each of the two makes the server's state, once in a run."""


def keeps_the_first_tokens(credentials: Credentials, cached: CachedSession | None) -> Ready | None:
    return quiet(credentials, None if cached is None else first.setdefault(cached.key, cached))


def forgets(parser: RequestParser, data: bytes) -> tuple[Head, bytes] | None:
    found = feed(parser, data)
    parser._buffer = bytearray()
    return found


def does_nothing(*_: Any) -> None:
    pass


@pytest.mark.requirement("H-02")
@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_corpus_and_found_inputs(target: str) -> None:
    """No input of the corpora, and none that was found once, crashes or is framed in two ways."""
    check = fuzz.load(target)
    assert fuzz.seeds(target)
    for data in fuzz.seeds(target):
        check(data)


@pytest.mark.requirement("H-02")
@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_a_second(target: str, tmp_path: Path) -> None:
    """A second of inputs made by chance, with a fixed seed, finds nothing: hundreds on each target.

    As many guided by coverage need half a minute, most of it for the instrumentation: see `soak fuzz`.
    """
    (tmp_path / "found").mkdir()
    fuzz.fuzz_blind(fuzz.load(target), fuzz.seeds(target), tmp_path, 1, 20)
    assert [] == list((tmp_path / "found").iterdir())


def test_the_command() -> None:
    """`soak fuzz` fuzzes for so long, by coverage where there is atheris, and says what it did."""
    command = [sys.executable, "-m", "tests.tools.soak", "fuzz", "--minutes", "0.017", "--target", "answer"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr
    assert "answer: nothing found" in done.stdout
    assert ("guided by coverage" if fuzz.guided() else "blind") in done.stdout


def test_the_fuzzer_can_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An input that a check refuses ends the run, and is kept; the watch for hanging checks ends with it."""
    cancel = Mock(wraps=faulthandler.cancel_dump_traceback_later)
    monkeypatch.setattr(faulthandler, "cancel_dump_traceback_later", cancel)

    def check(data: bytes) -> None:
        assert data.count(b"\r\n\r\n") < 2  # as two heads have

    (tmp_path / "found").mkdir()
    with pytest.raises(AssertionError):
        fuzz.fuzz_blind(check, fuzz.seeds("door"), tmp_path, 60, 1)
    cancel.assert_called_once()
    (kept,) = (tmp_path / "found").iterdir()
    assert kept.read_bytes().count(b"\r\n\r\n") >= 2


@pytest.mark.parametrize(
    ("mistake", "name", "instead"),
    [
        (
            "a token outlives its rotation",
            "bff.credentials.session_credentials.Credentials.quiet",
            keeps_the_first_tokens,
        ),
        (
            "a lost connection is not heard of",
            "bff.upstream.connection.UpstreamConnection.fall_back",
            does_nothing,
        ),
        (
            "what is broken ends cleanly",
            "bff.proxy.server.http_protocol.HttpServerProtocol.abort",
            HttpServerProtocol.send_end,
        ),
        ("half a head is forgotten", "bff.proxy.server.request_parser.RequestParser.feed", forgets),
        ("a slot is never free again", "bff.upstream.pool.UpstreamPool._free_slot", does_nothing),
    ],
)
def test_the_check_of_the_data_path_can_find(
    mistake: str, name: str, instead: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each mistake in the data path is found by the corpus alone."""
    monkeypatch.setattr(name, instead)
    found = 0
    for data in fuzz.seeds("path"):
        with contextlib.suppress(AssertionError, RuntimeError):  # or the transport refuses what is written
            path_target.check(data)
            continue
        found += 1
    path_target.bench.cache_clear()  # what was found is left under way
    assert found, mistake


ASKS, IS_SLOW, ANSWERED_BY_HALF, REST = (bytes(step) for step in ([0, 0], [11, 2], [7, 0x41], [10, 3]))
ANOTHER_ASKS = bytes([11, 4, 0x10, 8])  # with a session of its own
TIRES = bytes([7, 13])  # a 408, after which a call on a kept connection is sent again


@pytest.mark.parametrize(
    ("options", "steps", "held"),
    [
        pytest.param(0x20, ASKS + IS_SLOW + ANSWERED_BY_HALF + ANOTHER_ASKS + REST, True, id="waits"),
        pytest.param(0x08, ASKS + IS_SLOW + ANSWERED_BY_HALF + REST + ANOTHER_ASKS + TIRES, True, id="dials"),
        pytest.param(0x20, ASKS + ANSWERED_BY_HALF + ANOTHER_ASKS + REST, False, id="nobody is slow"),
        pytest.param(0x20, ASKS + IS_SLOW + ANSWERED_BY_HALF + ASKS + REST, False, id="nobody else asks"),
    ],
)
def test_a_connection_held_for_a_slow_client(options: int, steps: bytes, held: bool) -> None:
    """The fronts differ in when a slow client's connection is free, and only that is left out.

    Our own server reads no further than the client does: another client's call waits until both leave, or
    goes on a new connection. Over ASGI a small answer is read to its end, and the other call goes behind it.
    """
    data = bytes([options | path_run.WITH_ASGI, 0]) + steps
    own, asgi = (path_target.bench().run(data, front) for front in ("server", "asgi"))
    assert held == own.held
    assert (len(own.calls) < len(asgi.calls)) == held
    path_target.check(data)


@pytest.mark.parametrize("target", ["door", "path"])
@pytest.mark.parametrize("name", ["uvicorn.error", "asyncio", "some.library", "bff.x"])
def test_an_error_in_the_log_is_found(target: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An input that makes anything log an ERROR is found, with the traceback or without."""

    class Loud(ServerState):
        def __init__(self) -> None:
            super().__init__()
            (logs.get_logger if name.startswith("bff") else logging.getLogger)(name).error("failed")

    monkeypatch.setattr(f"tests.tools.soak.{MODULES[target]}.ServerState", Loud)
    with pytest.raises(AssertionError, match="failed"):
        fuzz.load(target)(fuzz.seeds(target)[-1])
