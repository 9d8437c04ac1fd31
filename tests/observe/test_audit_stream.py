"""The audit stream: files that move, fill up and vanish, several writers, a syslog that comes and goes."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bff.observe import audit_stream, logs
from bff.settings.model import LogSettings
from tests.observe.test_redact import HANDLE, JWT

pytestmark = pytest.mark.requirement("B-27")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def to(path: Path) -> None:
    logs.configure(LogSettings(audit=path))


def actions(path: Path) -> list[str]:
    return [json.loads(line)["event"]["reason"] for line in path.read_text().splitlines()]


def say(*reasons: str) -> None:
    for reason in reasons:
        logs.audit("session_ended", sub="alice", reason=reason)


def test_events_go_to_the_file_and_nowhere_else(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One JSON object a line, appended to what is there; other lines stay on standard error."""
    path.write_text("")
    to(path)
    say("logout", "idle")
    logs.get_logger("bff.x").info("started")
    to(path)  # as a second start
    say("expired")
    assert ["logout", "idle", "expired"] == actions(path)
    assert ["started"] == [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]


@pytest.mark.requirement("B-08", "B-24")
def test_the_file_holds_no_secret(path: Path) -> None:
    """What a careless call brings along is masked there, as in the log; a session is 12 characters."""
    to(path)
    logs.audit(
        "sign_in_failed", session="0123456789abcdef" * 4, reason=f"got {JWT}", error=HANDLE, refresh_token="r"
    )
    text = path.read_text()
    assert "0123456789ab" in text
    for secret in (JWT, HANDLE, "0123456789abc", '"r"'):
        assert secret not in text


def test_a_new_file_is_not_for_everybody(path: Path) -> None:
    """It names people and addresses: nobody but owner and group reads it."""
    to(path)
    say("idle")
    assert 0 == path.stat().st_mode & 0o037


def test_a_file_that_was_moved_away_is_begun_anew(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As logrotate does it, with a signal or without, by moving or by truncating; no event is lost."""
    to(path)
    say("one")
    path.rename(path.with_suffix(".1"))
    say("two")
    path.unlink()
    say("three")
    logs.reopen_audit()
    say("four")
    os.truncate(path, 0)
    say("five")
    assert ["one"] == actions(path.with_suffix(".1"))
    assert ["five"] == actions(path)
    assert "" == capsys.readouterr().err


@pytest.fixture
def failures() -> Callable[[], int]:
    before = logs.AUDIT_COUNTS.failed
    return lambda: logs.AUDIT_COUNTS.failed - before


@pytest.mark.parametrize("target", ["full", "gone", "pipe", "folder"])
def test_a_file_that_takes_nothing_stops_nothing(
    tmp_path: Path, target: str, capsys: pytest.CaptureFixture[str], failures: Callable[[], int]
) -> None:
    """A full disk, no folder, a pipe that nobody reads: counted, said once, and told on standard error."""
    path = tmp_path / "folder" / "audit"
    if target != "gone":
        path.parent.mkdir()
    if target == "full":
        path.symlink_to("/dev/full")
    elif target == "pipe":
        os.mkfifo(path)
    elif target == "folder":
        path.mkdir()
    to(path)
    say("one", "two")
    assert 2 == failures()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert ["audit_not_written", "session_ended", "session_ended"] == [line["event"] for line in lines]
    assert ["one", "two"] == [line["reason"] for line in lines[1:]]
    if target == "gone":
        path.parent.mkdir()
    elif target == "folder":
        path.rmdir()
    else:
        path.unlink()
    say("three")
    (line,) = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert ("audit_written_again", 2) == (line["event"], line["missing"])
    assert ["three"] == actions(path)


HALF = """
import resource, sys
from pathlib import Path
from bff.observe import logs
from bff.settings.model import LogSettings
path = Path(sys.argv[1])
logs.configure(LogSettings(audit=path))
logs.audit("session_ended", reason="one")
size = path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 40, resource.RLIM_INFINITY))
logs.audit("session_ended", reason="two")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
logs.audit("session_ended", reason="three")
"""


def test_half_a_line_spoils_no_other(path: Path) -> None:
    """A disk that fills up within a line: the event is on standard error, the next line is whole."""
    done = subprocess.run(
        [sys.executable, "-c", HALF, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    one, half, three = path.read_text().splitlines()
    assert ("one", "three") == tuple(json.loads(line)["event"]["reason"] for line in (one, three))
    with pytest.raises(json.JSONDecodeError):
        json.loads(half)
    assert "two" in [json.loads(line).get("reason") for line in done.stderr.splitlines()]


MANY = """
import sys
from pathlib import Path
from bff.observe import logs
from bff.settings.model import LogSettings
logs.configure(LogSettings(audit=Path(sys.argv[1])))
for number in range(500):
    logs.audit("session_ended", sub="x" * (number % 400), reason=f"{sys.argv[2]} {number}")
"""


def test_several_processes_write_whole_lines(path: Path) -> None:
    """Four at once, while the file is moved away again and again: two thousand events, each on its line."""
    writers = [subprocess.Popen([sys.executable, "-c", MANY, str(path), str(number)]) for number in range(4)]
    moved = 0
    while any(writer.poll() is None for writer in writers):
        with contextlib.suppress(FileNotFoundError):
            path.rename(path.with_suffix(f".{moved}"))
            moved += 1
    assert [0] * 4 == [writer.wait(60) for writer in writers]
    told = [reason for file in path.parent.iterdir() for reason in actions(file)]
    assert 2000 == len(told) == len(set(told))
    assert moved > 1


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the local syslog listens, or not."""
    address = tmp_path / "log"
    monkeypatch.setattr(audit_stream.Syslog.__init__, "__defaults__", ((str(address),),))
    logs.configure(LogSettings(audit="syslog"))
    yield address
    logs.reopen_audit()


def listening(address: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind(str(address))
    made.settimeout(30)
    return made


def test_syslog_gets_each_event(daemon: Path) -> None:
    """One datagram an event, with a priority, our name and the JSON object."""
    with listening(daemon) as server:
        logs.audit("session_ended", reason="idle")
        logs.audit("handle_rejected", reason="not signed by this server")
        ended, rejected = server.recv(65536), server.recv(65536)
    head = f"bff[{os.getpid()}]: ".encode()
    assert ended.startswith(b"<85>" + head)  # authpriv.notice
    assert rejected.startswith(b"<84>" + head)  # authpriv.warning
    assert "idle" == json.loads(ended.partition(b": ")[2])["event"]["reason"]


def test_a_syslog_that_began_anew_is_found(
    daemon: Path, capsys: pytest.CaptureFixture[str], failures: Callable[[], int]
) -> None:
    """A restarted daemon loses nothing; one that is away is counted, and found when it is back."""
    with listening(daemon) as server:
        say("one")
        assert b"one" in server.recv(65536)
    daemon.unlink()
    with listening(daemon) as server:
        say("two")
        assert b"two" in server.recv(65536)
    daemon.unlink()
    assert 0 == failures()
    say("three")
    assert 1 == failures()
    assert "three" in capsys.readouterr().err
    with listening(daemon) as server:
        say("four")
        assert b"four" in server.recv(65536)
    assert "audit_written_again" in capsys.readouterr().err


def test_a_syslog_that_hangs_is_not_waited_for(daemon: Path, failures: Callable[[], int]) -> None:
    """Its queue is full: what does not fit goes to standard error, at once."""
    with listening(daemon) as server:
        for number in range(5000):
            say(str(number))
            if failures():
                break
        assert failures()
        assert b'"0"' in server.recv(65536)
