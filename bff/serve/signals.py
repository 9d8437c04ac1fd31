"""The signals of a serving process: SIGTERM and SIGINT stop it, SIGHUP reloads, SIGUSR2 replaces its workers.

Rule 1: neither SIGHUP nor SIGUSR2 ever ends a process: by default both would, at once, with every call under
way. They are ignored from a command's first line on, and blocked in a worker until it has its handlers.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

RELOAD, ROLL = signal.SIGHUP, signal.SIGUSR2


def ignore_until_handled() -> None:
    """Ignores the signals that a process may get before it serves."""
    for number in (RELOAD, ROLL):
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def blocked_in_children() -> Iterator[None]:
    """Blocks the signals in processes that are started within: the mask is inherited, a handler is not."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {RELOAD, ROLL})
    try:
        yield
    finally:
        unblock()


def unblock() -> None:
    """Lets the signals through, those that came meanwhile included: there are handlers now."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {RELOAD, ROLL})
