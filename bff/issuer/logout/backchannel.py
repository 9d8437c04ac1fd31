"""Back-channel logout: notifies clients that a sign-in ended (OpenID Connect, sections 2.5 to 2.8).

Rule 1: one logout token for each client and attempt, signed when it is sent, for the `sid` that ended.
Rule 2: a client that is slow or down delays nobody: a few are told at once, each within a bounded time. A job
that takes long gives its place to the next one, and until it is over its client is told no more.
Rule 3: an attempt that waiting cannot mend (a 4xx) is not repeated.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable
from enum import Enum

import httpx
import redis
from starlette.concurrency import run_in_threadpool

from bff.issuer.grants.clients import Client
from bff.issuer.grants.tokens import Minter
from bff.issuer.keys.key_record import KeysUnusableError
from bff.issuer.logout.logout_queue import LogoutJob, LogoutQueue
from bff.observe.logs import get_logger
from bff.tasks import Tasks

AT_ONCE = 8
SLOW = 1.0  # seconds after which a job no longer keeps its place among those
TIMEOUT = 5.0  # seconds for connecting, and for each wait for an answer
LONGEST = 15.0  # seconds for one attempt altogether; less than a job's lease
LOOK_EVERY = 1.0  # seconds between two looks for jobs of other processes
_MENDABLE = (408, 425, 429)
_log = get_logger("bff.issuer")


class _Told(Enum):
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


class BackChannel:
    """Carries out the jobs of `logout_queue.py` while the issuer runs; belongs to one event loop."""

    def __init__(
        self, jobs: LogoutQueue, minter: Minter, find_client: Callable[[str], Client | None]
    ) -> None:
        self._jobs, self._minter, self._find_client = jobs, minter, find_client
        self._tasks = Tasks()
        self._room = asyncio.Semaphore(AT_ONCE)
        self._slow: Counter[str] = Counter()  # jobs that have given their place away, by client
        self._kicked = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._http = httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False, trust_env=False)

    def start(self) -> None:
        """Begins to look for jobs."""
        self._loop = asyncio.get_running_loop()
        self._tasks.spawn(self._run(), name="backchannel")

    def kick(self) -> None:
        """Wakes the sender for new jobs; callable from any thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: another process will find it
                self._loop.call_soon_threadsafe(self._kicked.set)

    async def stop(self) -> None:
        """Stops; a job under way is left to its lease."""
        await self._tasks.cancel_all()
        await self._http.aclose()
        self._loop = None

    async def _run(self) -> None:
        while True:
            await self._room.acquire()
            self._kicked.clear()  # before the look: a kick in between is not lost
            job = None
            try:
                job = await run_in_threadpool(self._jobs.take, time.time(), tuple(+self._slow))
            except redis.RedisError:
                _log.warning("logout_jobs_unreadable")
            if job is not None:
                self._tasks.spawn(self._in_place(job), name="backchannel:client")
                continue
            self._room.release()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._kicked.wait(), LOOK_EVERY)

    async def _in_place(self, job: LogoutJob) -> None:
        """Carries a job out. Its place is given back when it is over, or when it has taken long."""
        given_back = False

        def give_back() -> None:
            nonlocal given_back
            given_back = True
            self._slow[job.client_id] += 1
            self._room.release()

        timer = asyncio.get_running_loop().call_later(SLOW, give_back)
        try:
            await self._carry_out(job)
        finally:
            timer.cancel()
            if given_back:
                self._slow[job.client_id] -= 1
            else:
                self._room.release()

    async def _carry_out(self, job: LogoutJob) -> None:
        try:
            told = await self._tell(job)
            if told is _Told.FAILED:
                will_repeat = await run_in_threadpool(self._jobs.again, job, time.time())
            else:
                await run_in_threadpool(self._jobs.done, job)
                will_repeat = False
            line = _log.info if told is _Told.DONE or will_repeat else _log.error
            line(
                "client_told" if told is _Told.DONE else "client_not_told",
                client_id=job.client_id,
                sid=job.sid,
                attempt=job.attempt,
                will_repeat=will_repeat,
            )
        except redis.RedisError:
            _log.warning("logout_job_left", client_id=job.client_id)  # its lease ends, and it is taken again

    async def _tell(self, job: LogoutJob) -> _Told:
        client = self._find_client(job.client_id)
        if client is None or client.backchannel_logout_uri is None:
            return _Told.DONE  # the client is registered no longer
        try:
            async with asyncio.timeout(LONGEST):
                token = await run_in_threadpool(
                    self._minter.logout_token, job.client_id, job.sub, job.sid, int(time.time())
                )
                form = {"logout_token": token}
                async with self._http.stream("POST", client.backchannel_logout_uri, data=form) as answer:
                    status = answer.status_code
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, KeysUnusableError):
            return _Told.FAILED
        if status in (200, 204):
            return _Told.DONE
        return _Told.REFUSED if 400 <= status < 500 and status not in _MENDABLE else _Told.FAILED  # noqa: PLR2004 - RFC 9110 15.5
