"""The queue of back-channel logouts: jobs in Redis, which any process can carry out.

Rule 1: a job is written in the step that removes the sign-in, so that it outlives the process.
Rule 2: a process leases a job for a bounded time; when the lease ends, the next process gets it.
Rule 3: a job is tried a bounded number of times, for a bounded time.
Rule 4: jobs for slow clients are passed over, and put off a little: they hold up nobody else's.
"""

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, cast

from bff.issuer.store.redis import IssuerRedis

LEASE = 30.0  # seconds: longer than one attempt can take
DELAYS = (1.0, 5.0, 30.0, 120.0, 600.0)  # seconds between attempts; after the last one it is given up
KEPT = 3600  # seconds until a job is forgotten, whatever happens
PUT_OFF = 2.0  # seconds for which a job is passed over while its client is slow
_LOOKED_AT = 100  # jobs in one step: Redis serves nobody else meanwhile

_TAKE = """
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[5])
local slow = {}
for i = 6, #ARGV do slow[ARGV[i]] = true end
for _, name in ipairs(due) do
  local job = redis.call('HMGET', ARGV[3] .. name, 'client_id', 'sub', 'sid')
  if not job[1] then
    redis.call('ZREM', KEYS[1], name)
  elseif slow[job[1]] then
    redis.call('ZADD', KEYS[1], ARGV[4], name)
  else
    redis.call('ZADD', KEYS[1], ARGV[2], name)
    return {name, job[1], job[2], job[3], redis.call('HINCRBY', ARGV[3] .. name, 'attempt', 1)}
  end
end
if #due == 0 then return false end
return {'', '', '', '', 0}
"""


@dataclass(frozen=True, slots=True)
class LogoutJob:
    """A client to be told that a sign-in ended; `attempt` counts from 1."""

    name: str
    client_id: str
    sub: str
    sid: str
    attempt: int


class LogoutQueue:
    """The jobs in Redis; calls block. Times are seconds since 1970."""

    def __init__(self, redis: IssuerRedis) -> None:
        self._client = redis.client
        self._queue = redis.key("logouts")
        self._job = redis.key("logout", "*").removesuffix("*")
        self._take = self._client.register_script(_TAKE)

    def add(self, pipe: Any, client_id: str, sub: str, sid: str, now: float) -> None:
        """Writes a job as part of the caller's transaction."""
        name = secrets.token_urlsafe(12)
        pipe.hset(self._job + name, mapping={"client_id": client_id, "sub": sub, "sid": sid})
        pipe.expire(self._job + name, KEPT)
        pipe.zadd(self._queue, {name: now})

    def take(self, now: float, slow: Collection[str] = ()) -> LogoutJob | None:
        """Leases the job that is due longest and for none of the slow clients; None without one."""
        arguments: list[Any] = [now, now + LEASE, self._job, now + PUT_OFF, _LOOKED_AT, *slow]
        while (answer := self._take(keys=[self._queue], args=arguments)) is not None:
            name, client_id, sub, sid, attempt = cast("tuple[str, str, str, str, int]", answer)
            if name:
                return LogoutJob(name, client_id, sub, sid, int(attempt))
        return None

    def done(self, job: LogoutJob) -> None:
        """Forgets a job."""
        with self._client.pipeline(transaction=True) as pipe:
            pipe.zrem(self._queue, job.name)
            pipe.delete(self._job + job.name)
            pipe.execute()

    def again(self, job: LogoutJob, now: float) -> bool:
        """Postpones a job after a failed attempt; returns False after the last one."""
        if job.attempt > len(DELAYS):
            self.done(job)
            return False
        self._client.zadd(self._queue, {job.name: now + DELAYS[job.attempt - 1]}, xx=True)
        return True
