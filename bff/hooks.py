"""Hooks: what an application that holds the proxy is asked, or told, of sign-ins, calls and endings.

Rule 1: no hook gets a token, a cookie or a session's key.
Rule 2: who is asked (`on_sign_in`, `before_forward`) has to answer: an error, or no answer in time, is a no.
Rule 3: who is told (`on_end`) holds nothing up, and its errors are logged.
Rule 4: a hook that is no coroutine function runs in a thread of its kind: it may wait, and holds up nobody
else, the proxy's own threads neither.
"""

import asyncio
import contextvars
import inspect
import re
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bff.observe.logs import get_logger
from bff.policy.header_rules import FROM_BROWSERS
from bff.settings.dropped_headers import TO_BACKEND, plain_name, row_of
from bff.tasks import Tasks

FAILED = "login_failed"
"""The code of a sign-in that a hook's failure has ended."""

_REASON = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_FIELD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}", re.ASCII)
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?", re.ASCII)
_AT_ONCE = 8
_MOST_THREADS = 32  # of one kind of hook; one that is idle takes the next call
_MOST_WAITING = 10_000
_log = get_logger("bff.hooks")


class NotAllowed(Exception):  # noqa: N818 - a word of the application's, no failure
    """Raised by a hook to refuse.

    Args:
        reason: a code of the application's own, of letters, digits, `_`, `.` and `-`. A page reads it after
            a sign-in as `?bff_error=<reason>`, after a call as the `reason` of the problem `not_allowed`.
    """

    def __init__(self, reason: str = "not_allowed") -> None:
        if not _REASON.fullmatch(reason):
            raise ValueError("a reason is a code: up to 64 letters, digits, _ . and -")
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class SignIn:
    """A sign-in that the provider has confirmed, before there is a session.

    Attributes:
        sub: the user, as the provider names them.
        provider: the setting `provider.name`.
        claims: all claims of the ID token and of userinfo.
        address: the browser's address.
        user_agent: what the browser calls itself.
        return_to: the page that the browser goes to next.
    """

    sub: str
    provider: str
    claims: Mapping[str, Any]
    address: str
    user_agent: str
    return_to: str


@dataclass(frozen=True, slots=True)
class SessionEnd:
    """A session that is over.

    Attributes:
        session: its id, as `/bff/user` and the log have it.
        sub: whose it was; None where that is not known any more.
        reason: why: "logout", "idle", "max_lifetime", "operator", "deleted" or another of the audit log's.
    """

    session: str
    sub: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Call:
    """A call that is about to be forwarded.

    Attributes:
        method: its method.
        path: its path, as browsers see it, still encoded.
        route: the path of its route.
        sub: who calls; None where nobody is signed in.
        session: the session's id; None likewise.
    """

    method: str
    path: str
    route: str
    sub: str | None
    session: str | None


OnSignIn = Callable[[SignIn], Awaitable[None] | None]
OnEnd = Callable[[SessionEnd], Awaitable[None] | None]
BeforeForward = Callable[[Call], Awaitable[Mapping[str, str] | None] | Mapping[str, str] | None]


def _threads() -> Mapping[str, ThreadPoolExecutor]:
    """Threads for each kind of hook: one kind that hangs takes none of another's."""
    names = ("on_sign_in", "on_end", "before_forward")
    return {name: ThreadPoolExecutor(_MOST_THREADS, f"bff {name}") for name in names}


class HookFailedError(Exception):
    """A hook raised, took too long, or returned what it may not."""


@dataclass(frozen=True)
class Hooks:
    """The hooks of one application.

    Attributes:
        fields: the names of the header fields that `before_forward` may set, in lower case.
        timeout: seconds that a hook may take.
    """

    on_sign_in: OnSignIn | None = None
    on_end: OnEnd | None = None
    before_forward: BeforeForward | None = None
    fields: Sequence[str] = field(default=())
    timeout: float = 5.0
    _threads: Mapping[str, ThreadPoolExecutor] = field(
        init=False, repr=False, compare=False, default_factory=_threads
    )

    def __post_init__(self) -> None:
        """Raises ValueError for a field that is not the application's to set."""
        for name in self.fields:
            row, plain = row_of(TO_BACKEND, name), plain_name(name).encode("ascii", "replace")
            if not _FIELD.fullmatch(name) or plain in FROM_BROWSERS or plain.startswith(b"sec-"):
                raise ValueError(f"{name!r} is no field that a hook can set: write a name like X-Tenant")
            if row is not None and (row.fixed or row.pattern == "authorization"):
                raise ValueError(f"{name!r} is no field that a hook can set: it {row.reason}")
        if self.before_forward is None and self.fields:
            raise ValueError("fields are set by before_forward, and there is none")

    async def refusal_of(self, sign_in: SignIn) -> str | None:
        """Asks about a sign-in; returns the code of a refusal."""
        if self.on_sign_in is None:
            return None
        try:
            await self._answer("on_sign_in", self.on_sign_in, sign_in)
        except NotAllowed as refusal:
            return refusal.reason
        except HookFailedError:
            return FAILED
        return None

    async def fields_for(self, call: Call) -> list[tuple[bytes, bytes]]:
        """Asks about a call; returns the fields to add.

        Raises:
            NotAllowed: the hook refuses the call.
            HookFailedError: there is no usable answer; the reason is logged.
        """
        assert self.before_forward is not None
        answer = await self._answer("before_forward", self.before_forward, call)
        try:
            return [self._field(name, value) for name, value in (answer or {}).items()]
        except (AttributeError, TypeError, ValueError) as error:
            _log.error("hook_failed", hook="before_forward", problem=str(error))
            raise HookFailedError from error

    async def tell(self, end: SessionEnd) -> None:
        """Tells of an ending."""
        assert self.on_end is not None
        try:
            await self._answer("on_end", self.on_end, end)
        except (HookFailedError, NotAllowed):
            _log.warning("end_not_told", session=end.session, reason=end.reason)

    def _field(self, name: str, value: str) -> tuple[bytes, bytes]:
        if plain_name(name) not in {plain_name(known) for known in self.fields}:
            raise ValueError(f"the field {name!r} is not among those that were announced")
        if not _VALUE.fullmatch(value):
            raise ValueError(f"the value of {name!r} holds what no field can: visible ASCII, blanks within")
        return name.lower().encode("ascii"), value.encode("ascii")

    async def _answer(self, name: str, hook: Callable[[Any], Any], event: object) -> Any:
        try:
            async with asyncio.timeout(self.timeout):
                waits = inspect.iscoroutinefunction(hook) or inspect.iscoroutinefunction(type(hook).__call__)
                answer = hook(event) if waits else await self._in_a_thread(name, hook, event)
                return await answer if inspect.isawaitable(answer) else answer
        except NotAllowed:
            raise
        except asyncio.CancelledError as cancelled:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise  # who has asked waits no more
            _log.error("hook_failed", hook=name, problem="CancelledError", exc_info=cancelled)
            raise HookFailedError from cancelled
        except TimeoutError as late:
            _log.error("hook_failed", hook=name, problem=f"no answer in {self.timeout:g} s", exc_info=late)
            raise HookFailedError from late
        except Exception as error:
            _log.error("hook_failed", hook=name, problem=type(error).__name__, exc_info=error)
            raise HookFailedError from error

    async def _in_a_thread(self, name: str, hook: Callable[[Any], Any], event: object) -> Any:
        """Calls a hook in a thread of its kind: those of the event loop look up the names of servers."""
        call = partial(contextvars.copy_context().run, hook, event)
        return await asyncio.get_running_loop().run_in_executor(self._threads[name], call)


NO_HOOKS = Hooks()


class EndTeller:
    """Tells an application of sessions' endings, beside what ended them; a few at once, the rest in turn."""

    def __init__(self, hooks: Hooks, tasks: Tasks) -> None:
        self._hooks = hooks
        self._tasks = tasks
        self._waiting: deque[SessionEnd] = deque()
        self._running = 0

    def ended(self, session: str, sub: str | None, reason: str) -> None:
        """Takes the word of an ending; never raises, never waits."""
        if self._hooks.on_end is None:
            return
        if len(self._waiting) >= _MOST_WAITING:
            _log.warning("end_not_told", session=session, reason=reason, problem="too many at once")
            return
        self._waiting.append(SessionEnd(session, sub, str(reason)))
        if self._running < _AT_ONCE:
            self._running += 1
            self._tasks.spawn(self._tell(), name="on_end")

    async def _tell(self) -> None:
        try:
            while self._waiting:
                await self._hooks.tell(self._waiting.popleft())
        finally:
            self._running -= 1
