"""One worker as the supervisor sees it: a process of its own with a fresh interpreter, and the link to it."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Sequence
from typing import Any, Self

from bff.serve.ipc import Question, SupervisorSide
from bff.serve.signals import blocked_in_children
from bff.settings.model import Settings

COMMAND = (sys.executable, "-P", "-m", "bff.serve.team_worker")
"""What starts a worker; its number and its descriptors follow."""

_PATIENCE = 4.0
"""How long a worker may take for an answer, in seconds: shorter than the ops port's patience."""


class WorkerProcess:
    """A worker that runs. Make one by `started`."""

    def __init__(self, process: Process, link: SupervisorSide) -> None:
        self._process = process
        self.link = link

    @classmethod
    async def started(
        cls,
        number: int,
        settings: Settings,
        listener: socket.socket,
        command: Sequence[str],
        lifeline: int,
    ) -> Self:
        """Starts a worker; OSError if there can be no more processes or sockets.

        Args:
            number: which worker it is, from 1.
            settings: those that it serves by.
            listener: the socket that it listens on; the caller's stays open.
            command: a program and its first arguments.
            lifeline: the reading end of the pipe whose writing end only the supervisor holds.
        """
        own, theirs = socket.socketpair()
        try:
            with theirs, blocked_in_children():
                descriptors = (listener.fileno(), theirs.fileno(), lifeline)
                process = await asyncio.create_subprocess_exec(
                    *command,
                    *(str(argument) for argument in (number, *descriptors)),
                    stdin=DEVNULL,
                    pass_fds=descriptors,
                    env=_environment(),
                    start_new_session=True,  # Ctrl-C in the terminal is for the supervisor alone
                )
        except OSError:
            own.close()
            raise
        link = await SupervisorSide.opened(own)
        link.hand_over(settings)
        return cls(process, link)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """True once the process's end has been noticed."""
        return self._process.returncode is not None

    @property
    def serves(self) -> bool:
        """True once the process takes requests."""
        return self.link.serving.is_set()

    async def ended(self) -> int:
        """Waits for its end; the exit code, or the negative number of the signal."""
        return await self._process.wait()

    async def answer(self, question: Question, settings: Settings | None = None) -> Any | None:
        """The process's answer; None if none came in time."""
        try:
            async with asyncio.timeout(_PATIENCE):
                return await self.link.ask(question, settings)
        except (TimeoutError, OSError):
            return None

    def kill(self) -> None:
        """Ends it at once."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()


def cause_of_end(code: int) -> dict[str, object]:
    """An exit code as a log line says it: by the signal's name, where it was one."""
    if code >= 0:
        return {"exit_code": code}
    with contextlib.suppress(ValueError):
        return {"signal": signal.Signals(-code).name}
    return {"signal": -code}


def _environment() -> dict[str, str]:
    """Ours, and where our modules were found: a worker runs the same code, and none of its own folder."""
    places = [place or os.getcwd() for place in sys.path]  # noqa: PTH109 - a string is wanted
    return {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
