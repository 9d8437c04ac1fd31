"""The end of a call: a refusal, a failure (a problem, or the answer broken off), a drain, the session's end.

Rule 1: exactly one answer goes to the client; after its head a failure breaks the answer off.
Rule 2: when a call has ended it is counted and logged, once; nothing of it is under way, and no timer runs.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from bff.credentials.credential import Refused, Signed, TokenOnly
from bff.errors import Problem
from bff.observe.logs import get_logger
from bff.policy.admission import Denied
from bff.policy.fields import Header
from bff.policy.streaming_responses import RETRY, is_whole
from bff.proxy.forward.call_accounting import CLIENT_GONE, note_call, note_denied, note_fault
from bff.proxy.forward.call_state import CallState
from bff.proxy.forward.error_answer import error_answer
from bff.session.sessions import NoSession
from bff.upstream.interfaces import Fault

_log = get_logger("bff.forward")


class EndingCall(CallState):
    """A forwarded call, by each way in which it can end."""

    # Steps that are awaited

    def _spawn(self, step: Coroutine[Any, Any, None]) -> None:
        self._task = self._context.tasks.spawn(step, name="forwarded call")
        self._task.add_done_callback(self._step_done)

    def _step_done(self, task: asyncio.Task[None]) -> None:
        """Answers with an error where a step has failed by a mistake of ours, which `Tasks` has logged."""
        if not task.cancelled() and task.exception() is not None:
            self._drop_call()
            self._fail(Problem.INTERNAL_ERROR)

    # Refusals and failures

    def _deny(self, denied: Denied) -> None:
        note_denied(self._context, denied, self.request, self._ids)
        self._fail(denied.problem, **denied.parts())

    def _refuse(self, refused: Refused) -> None:
        self._session = refused.session
        self._fail(refused.problem, **refused.parts())

    def _too_many(self, what: str) -> None:
        _log.info("too_many", what=what, route=self._route_name(), request_id=self._ids.request_id.decode())
        self._fail(Problem.RATE_LIMITED, detail=f"too many {what}")

    def _fault(self, fault: Fault) -> None:
        note_fault(self._context, fault, route=self._route_name(), request_id=self._ids.request_id)
        self._drop_call()
        self._fail(fault.problem)

    def _fail(self, problem: Problem, *, headers: Sequence[Header] = (), **extra: Any) -> None:
        """Answers with a problem; breaks off an answer that has begun."""
        if self._finished:
            return
        if self._status:
            self._finish()
            self._client.abort()
            return
        extra |= {"headers": (*headers, *self._named()), "of_program": self._verdict.of_program}
        self._status, rendered, body = error_answer(self._context, problem, self.request, **extra)
        self._finish()
        self._client.send_head(self._status, rendered)
        self._client.send_data(body)
        self._client.send_end()

    def drain(self) -> None:
        """Ends an event stream cleanly, because the server stops or the frontend is gone."""
        if self._tail is None or self._finished:
            return
        whole = is_whole(self._tail)
        self._drop_call()
        self._finish()
        if whole:
            self._client.send_data(RETRY)
        self._client.send_end()

    def _lasts(self) -> None:
        """Watches the session, or the client's own token, of a call whose answer is a stream."""
        self._context.session_calls.lasts(self)
        bearer, credential = self._destination.credentials.bearer, self._credential
        if bearer is not None and isinstance(credential, TokenOnly):
            self._leave = bearer.watch.follow(credential, self._token_over)

    def _token_over(self, over: asyncio.Future[Refused]) -> None:
        """Ends a stream with its token: an event stream cleanly, so that its reader comes back."""
        if self._tail is None:
            self._over(over.result())
        self.drain()

    def session_over(self, why: NoSession) -> None:
        """Ends the call with its session: by a 401, or by breaking off an answer that has begun."""
        self._over(Refused(why.problem, why.reason))

    def _over(self, why: Refused) -> None:
        if self._finished:
            return
        if self._task is not None:
            self._task.cancel()
        self._drop_call()
        request_id = self._ids.request_id.decode()
        _log.info("ended_with_session", route=self._route_name(), request_id=request_id, reason=why.reason)
        self._refuse(why)

    def client_gone(self) -> None:
        """Ends the call, because the client has left; never a refresh."""
        if not self._finished:
            self._finish(gone=True)
        if self._task is not None:
            self._task.cancel()
        self._drop_call()

    # Its accounts

    def _finish(self, *, gone: bool = False) -> None:
        """Closes its accounts: counts under way, watches, metrics and the access line."""
        self._finished = True
        self._upload.stop()
        self._caller.end()
        if self._tail is not None:
            self._context.event_streams.end(self)
        self._leave()
        key, whose = self._session, None
        if isinstance(self._credential, Signed):
            self._context.session_calls.end(self)
            whose = self._credential.found.session
            key = whose.key
        self.times.over(self._context.clock())
        route, method = self._route_name(), self.request.method
        note_call(
            self._context,
            self._context.metrics.requests(route, method.decode("ascii", "replace")),
            route=route,
            method=method,
            path=self.request.raw_path,
            session=key,
            request_id=self._ids.request_id,
            status=CLIENT_GONE if gone else self._status,
            started=self.started,
            upstream=self.times.upstream,
            not_ours=self.times.not_ours,
            retried=self._retried,
            whose=whose,
        )
