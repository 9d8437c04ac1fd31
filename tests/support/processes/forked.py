"""Programs of ours as processes that begin with their modules imported.

`python -m bff` spends up to a second of processor time on imports before it does anything. `Forked` is a
`subprocess.Popen` of `python -m MODULE …` whose process is forked from a template: a program with one thread
that is started once, imports the product, and does nothing else. All behind the imports is as ever:
arguments, environment, working folder, standard streams, signals, the exit code.

The template's half is `main`. A request has a socket of its own, which brings back the id of the process, and
later its exit code.
"""

import atexit
import contextlib
import gc
import json
import os
import runpy
import select
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, AnyStr

ROOT = Path(__file__).parents[3]
BARE = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": "/"}
_MODULES = (
    "bff.cli.root",
    "bff.cli.sessions.app",
    "bff.issuer.cli.main",
    "bff.serve.preflight",
    "bff.serve.supervisor",
    "bff.serve.lone_worker",
    "bff.serve.team_worker",
    "bff.settings.load",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
)
_NUMBER = struct.Struct("!q")
_LOST = -9


class Forked(subprocess.Popen[AnyStr]):
    """A process of ours; its arguments are a module's name and those of the module."""

    _report: socket.socket

    def _execute_child(  # noqa: PLR0917 - the form of `subprocess.Popen`
        self,
        args: Sequence[str],
        executable: object,
        preexec_fn: object,
        close_fds: object,
        pass_fds: object,
        cwd: Path | None,
        env: dict[str, str] | None,
        startupinfo: object,
        creationflags: object,
        shell: object,
        *streams: int,
    ) -> None:
        """Has the template fork, in place of `fork_exec`."""
        del executable, preexec_fn, close_fds, pass_fds, startupinfo, creationflags, shell
        used: tuple[int, ...] = (streams[0], streams[3], streams[5])
        self._report, theirs = socket.socketpair()
        ends: list[int] = [number if stream == -1 else stream for number, stream in enumerate(used)]
        with theirs:
            socket.send_fds(_template(), [b"\0"], [*ends, theirs.fileno()])
        self._close_pipe_fds(*streams[:6])  # type: ignore[attr-defined] # as `fork_exec` is followed by
        request = {
            "words": list(args),
            "cwd": str(cwd or Path.cwd()),
            "env": dict(os.environ if env is None else env),
        }
        text = json.dumps(request).encode()
        self._report.sendall(_NUMBER.pack(len(text)) + text)
        pid = _received(self._report)
        assert pid is not None, "the template has ended"
        self.pid = pid
        self._child_created = True

    def _internal_poll(self, *_: object, **__: object) -> int | None:
        if self.returncode is None and select.select([self._report], [], [], 0)[0]:
            self._ended()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the end; `subprocess.TimeoutExpired` as ever."""
        if self.returncode is None:
            if not select.select([self._report], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self._ended()
        return self.returncode

    def _ended(self) -> None:
        status = _received(self._report)
        self.returncode = _LOST if status is None else status
        self._report.close()


def forked(
    words: Sequence[str], given: str | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end; `subprocess.run` with its output as text, and `given` as its input."""
    if given is not None:
        options["stdin"] = subprocess.PIPE
    process: Forked[str]
    with Forked(list(words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options) as process:
        try:
            said, complained = process.communicate(given, timeout=60)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(words, process.returncode, said, complained)


_starting = threading.Lock()
_running: list[socket.socket] = []


def _template() -> socket.socket:
    """The connection to the template, which is started with the first request."""
    with _starting:
        if not _running:
            ours, theirs = socket.socketpair()
            with theirs:
                command = [sys.executable, "-m", __name__, str(theirs.fileno())]
                process = subprocess.Popen(
                    command, env=BARE, cwd=ROOT, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
                )
            _running.append(ours)
            atexit.register(_leave, ours, process)
        return _running[0]


def _leave(ours: socket.socket, process: "subprocess.Popen[bytes]") -> None:
    ours.close()
    process.wait(60)


def _received(report: socket.socket) -> int | None:
    with contextlib.suppress(ConnectionError):
        data = report.recv(_NUMBER.size, socket.MSG_WAITALL)
        if len(data) == _NUMBER.size:
            return int(_NUMBER.unpack(data)[0])
    return None


# The template


def main(requests: socket.socket) -> None:
    """Forks a process for each request, and reports how each ended; returns in these, and never here."""
    for module in _MODULES:
        import_module(module)
    assert threading.active_count() == 1, "a thread is not forked"
    gc.collect()
    gc.freeze()
    running: dict[int, tuple[int, socket.socket]] = {}  # by the descriptor of a process
    while True:
        waiting: list[int | socket.socket] = [requests, *running]
        for ready in select.select(waiting, [], [])[0]:
            if isinstance(ready, int):
                pid, report = running.pop(ready)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                os.close(ready)
                with report, contextlib.suppress(OSError):
                    report.sendall(_NUMBER.pack(code))
                continue
            _, ends, _, _ = socket.recv_fds(requests, 1, 4)
            if not ends:
                sys.exit()
            report = socket.socket(fileno=ends.pop())
            pid = os.fork()
            if pid == 0:
                request = json.loads(_text(report))
                for held in (requests, report, *(other for _, other in running.values())):
                    held.detach()
                _become(request, ends)
                return
            for end in ends:
                os.close(end)
            report.sendall(_NUMBER.pack(pid))
            running[os.pidfd_open(pid)] = pid, report


def _text(report: socket.socket) -> bytes:
    length = _received(report) or 0
    return report.recv(length, socket.MSG_WAITALL)


def _become(request: dict[str, Any], ends: Sequence[int]) -> None:
    """Makes the fork a process like any other."""
    for number, end in enumerate(ends):
        os.dup2(end, number)
    os.closerange(3, 1024)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.path[0] = request["cwd"]
    sys.argv = request["words"]
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - a stream of the process, for its whole life
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - likewise
    sys.stderr = open(2, "w", 1, errors="backslashreplace", closefd=False)  # noqa: SIM115 - likewise


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
