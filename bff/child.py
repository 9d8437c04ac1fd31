"""A child process that never outlives us, however this process ends, kill -9 included.

A shell forks a watcher and then becomes the program (`exec`), so there is no moment without a watcher.
The watcher reads a pipe whose other end only this process holds; when the pipe closes, it kills the
program and all that it started. PR_SET_PDEATHSIG would be shorter, but it follows the *thread* that
started the child, and is Linux only.

A program of our own needs no watcher process: it calls `die_with` itself.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

# $1 is a folder to remove in the end, or empty; the rest is the program's command line. The program
# leads a process group of its own, so Ctrl-C in the terminal does not reach it: ending it is our business.
_WATCHED = (
    "scratch=$1; shift; exec 3<&0; "
    '(read -r _ <&3; kill -s KILL $$; [ -z "$scratch" ] || rm -rf "$scratch"; kill -s KILL -- -$$) & '
    'exec "$@" </dev/null 3<&-'
)

_PR_SET_PDEATHSIG = 1


def die_with(lifeline: int) -> None:
    """Ends this process by SIGKILL when the last other holder of a pipe's writing end is gone.

    A thread waits for that, so that a busy event loop changes nothing. On Linux the kernel is asked as well,
    which ends a stopped process, too; there the parent has to have started us from its main thread.

    Args:
        lifeline: the reading end; it belongs to this function from now on.
    """

    def watch() -> None:
        with contextlib.suppress(OSError):
            os.read(lifeline, 1)
        os.kill(os.getpid(), signal.SIGKILL)

    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=watch, daemon=True, name="lifeline").start()


class Child:
    """A running program with its watcher.

    Args:
        command: the program and its arguments; nothing in it is read by a shell.
        log: where its standard output and error go.
        scratch: a folder that the watcher removes when this process dies.
        environment: the child's whole environment; None passes ours on.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        scratch: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._log = log
        reading, self._lifeline = os.pipe()  # neither end is inherited by programs that we start
        try:
            with log.open("wb") as output:
                self._process = subprocess.Popen(  # noqa: S603 - our own script, arguments apart
                    ["/bin/sh", "-c", _WATCHED, "sh", str(scratch or ""), *command],
                    stdin=reading,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    start_new_session=True,
                )
        except OSError:
            os.close(self._lifeline)
            raise
        finally:
            os.close(reading)

    @property
    def pid(self) -> int:
        """The child's process id, which is also that of its group."""
        return self._process.pid

    def alive(self) -> bool:
        """Return True while the child runs."""
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The exit status (negative: the signal's number); None while the child runs."""
        return self._process.poll()

    def last_lines(self, count: int) -> list[str]:
        """The last lines that it wrote."""
        try:
            return self._log.read_text(errors="replace").strip().splitlines()[-count:]
        except OSError:
            return []

    def terminate(self) -> None:
        """Asks it to end (SIGTERM)."""
        if self.alive():
            self._process.terminate()

    def wait(self, timeout: float) -> bool:
        """Waits for its end, for so many seconds at most; tells whether it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)
        return not self.alive()

    def kill(self) -> None:
        """Ends it at once, with its watcher and all that it started; can be called twice."""
        if self._lifeline < 0:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            # The watcher is in the group, so the group's id cannot have been taken by somebody else.
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._lifeline)
        self._lifeline = -1
