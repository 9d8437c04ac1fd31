"""Errors of Redis in words for an operator: the cause and the remedy.

Rule 1: Redis' own words are not repeated: they may name keys.
"""

import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

from bff.policy.certificate_fault import certificate_fault
from bff.policy.connection_fault import connection_fault

_REFUSALS = (
    (NoPermissionError, "NOPERM", "the user may not do that"),
    (ReadOnlyError, "READONLY", "it is read-only, a replica"),
    (OutOfMemoryError, "OOM", "its memory is full"),
)
_STATES = {
    "MISCONF": (
        "its disk takes no snapshot, so that it takes no writes",
        "see its log, and room on its disk",
    ),
    "NOREPLICAS": (
        "it has too few replicas to take writes",
        "see its replicas, or lower min-replicas-to-write",
    ),
    "CLUSTERDOWN": ("the cluster is down", "see CLUSTER INFO: slots without a master"),
    "MASTERDOWN": ("it is a replica without its master", "see its replication"),
    "LOADING": ("it is loading its data", "wait until it has"),
    "BUSY": ("a script of somebody's holds it up", "SCRIPT KILL"),
}
"""States of a server that refuses everything, or each write, by the code of its answer; what to do."""
_COMMAND = re.compile(r"'([a-z]{1,32}(?:\|[a-z-]{1,32})?)'")


Translated = Callable[[], AbstractAsyncContextManager[None]]
"""Makes `StoreUnavailableError` of whatever redis-py raises within."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A problem with Redis, and its remedy."""

    detail: str
    fix: str


def trouble(error: BaseException | None) -> Trouble:
    """Explains an error of redis-py or of the network."""
    if isinstance(error, AuthenticationError):
        return Trouble("refuses user or password", "correct them in redis.url")
    if isinstance(error, ResponseError):
        fix = _permission(error) or _remedy(error) or "see what the user may do"
        return Trouble(refusal(error), fix)
    if isinstance(error, BusyLoadingError):
        return Trouble(f"{_STATES['LOADING'][0]} (LOADING)", _STATES["LOADING"][1])
    if isinstance(error, MasterNotFoundError) or (error and isinstance(error.__cause__, MasterNotFoundError)):
        return Trouble(
            "no Sentinel that answers knows such a master", "correct the hosts or the name in redis.url"
        )
    if (fault := certificate_fault(error)) is not None:
        return Trouble(
            f"its certificate is refused: {fault}", "renew it, or correct ssl_ca_certs in redis.url"
        )
    return _silence(error)


def _silence(error: BaseException | None) -> Trouble:
    """Explains that no answer came."""
    if isinstance(error, RedisTimeoutError | TimeoutError):
        fix = "see whether it is reached, and its load and this machine's; redis.timeout is for each answer"
        return Trouble("does not answer in time (TimeoutError)", fix)
    fix = "see whether it runs, and whether host, port and TLS are right"
    return Trouble(f"cannot be reached ({connection_fault(error) or type(error).__name__})", fix)


def is_full(error: BaseException | None) -> bool:
    """Returns True if Redis refused a command for want of memory; it takes deletions still."""
    return isinstance(error, OutOfMemoryError) or str(error).startswith("OOM ")


def refusal(error: ResponseError) -> str:
    """Returns the reason why Redis refused a command."""
    said = str(error)  # Redis 6.2 wraps a script's error into a message of its own
    for kind, code, words in _REFUSALS:
        if isinstance(error, kind) or code in said:
            return f"{words} ({code})"
    if (state := _state(error)) is not None:
        return f"{_STATES[state][0]} ({state})"
    return f"it refuses ({type(error).__name__})"


def _state(error: ResponseError) -> str | None:
    """Returns the code of a refusal that tells of the server's state."""
    code = error.status_code or str(error).partition(" ")[0]
    return code if code in _STATES else None


def _remedy(error: ResponseError) -> str | None:
    if is_full(error):
        return "raise maxmemory; evict nothing"
    if isinstance(error, ReadOnlyError) or str(error).startswith("READONLY "):
        return "name the primary"
    state = _state(error)
    return None if state is None else _STATES[state][1]


def _permission(error: ResponseError) -> str | None:
    if not isinstance(error, NoPermissionError):
        return None
    if (command := _COMMAND.search(str(error))) is not None:
        return f"let the user of redis.url run {command[1].upper()}: ACL SETUSER … +{command[1]}"
    return "let the user of redis.url reach the keys of redis.prefix: ACL SETUSER … ~<prefix>:*"
