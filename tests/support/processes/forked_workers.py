"""`python -m tests.support.processes.forked_workers bff serve …`: a service whose workers are its forks.

A worker that is executed spends more than a second of processor time on imports. A fork of the supervisor has
them. All else is as in a worker that is executed: its own process id and session, its descriptors, signals,
environment, arguments, and exit code. Only `/proc/PID/cmdline` is the supervisor's.
"""

import asyncio
import atexit
import contextlib
import contextvars
import os
import runpy
import signal
import subprocess
import sys
import traceback
from collections.abc import Collection, Sequence
from typing import Any


class _Forking(subprocess.Popen[bytes]):
    """A process: a fork where the command line is `python … -m MODULE …`."""

    def _execute_child(  # noqa: PLR0917 - the form of `subprocess.Popen`
        self,
        args: Sequence[str],
        executable: object,
        preexec_fn: object,
        close_fds: object,
        pass_fds: Collection[int],
        cwd: object,
        env: dict[str, str] | None,
        *rest: Any,
    ) -> None:
        if args[0] != sys.executable or "-m" not in args:
            super()._execute_child(  # type: ignore[misc] # as `Popen.__init__` calls it
                args, executable, preexec_fn, close_fds, pass_fds, cwd, env, *rest
            )
            return
        streams = rest[3:9]
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            asyncio._leave_task(loop, task)
            asyncio._set_running_loop(None)
            _detach(streams[0], pass_fds)
            os.environ.clear()
            os.environ.update(env or {})
            os._exit(_ran(args[args.index("-m") + 1 :]))
        self._close_pipe_fds(*streams)  # type: ignore[attr-defined] # as `fork_exec` is followed by
        self._child_created = True


def _detach(stdin: int, kept: Collection[int]) -> None:
    """Gives up what a new program would not have of ours."""
    os.setsid()
    os.dup2(stdin, 0)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in {int(name) for name in os.listdir("/dev/fd")} - {0, 1, 2, nothing, *kept}:  # noqa: PTH208 - names alone
        os.dup2(nothing, number)  # not closed: an object of the supervisor's may still close the number
    signal.set_wakeup_fd(-1)
    for handled in signal.valid_signals():
        if callable(signal.getsignal(handled)):
            signal.signal(handled, signal.default_int_handler if handled == signal.SIGINT else signal.SIG_DFL)


def _ran(words: Sequence[str]) -> int:
    """Runs a module as the program; its exit code."""
    code: object = 0
    sys.argv = list(words)
    try:
        contextvars.Context().run(runpy.run_module, words[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    return code if isinstance(code, int) else int(code is not None)


def fork_workers() -> None:
    """From now on this process forks its workers."""
    subprocess.Popen = _Forking  # type: ignore[assignment, misc] # asyncio starts its processes by it


if __name__ == "__main__":
    fork_workers()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
