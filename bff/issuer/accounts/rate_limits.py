"""Limits on wrong passwords: by address, by account, and by both; and the browsers that are known.

| key | type | holds |
|---|---|---|
| `issuer:tries:<kind>:<name>` | string, PX | when all tries will be forgotten, in milliseconds since 1970 |
| `issuer:devices:<hash of the address>` | sorted set, EX | browsers signed in once: hashes of a cookie |

Rule 1: a try is counted before the password is looked at, in one step for all limits, and given back when the
password was right: many tries at once cannot pass together, and no sign-in of one's own buys more tries.
Rule 2: a refused try counts nowhere: a person who waits is let in, however many tries came meanwhile.
Rule 3: a browser that was signed in to the account before has a limit of its own, and no other: strangers can
use up what strangers have, and never lock the owner out of a browser that is known (OWASP, Device Cookies).
Rule 4: existing and unknown accounts are counted alike. A typed address is kept as a hash.
"""

from dataclasses import dataclass
from typing import cast

import redis

from bff.issuer.endpoints.browser import DEVICE_KEPT
from bff.issuer.settings import SignInLimits
from bff.issuer.store.redis import digest

MAX_DEVICES = 20  # of one account; the one not used for longest is forgotten

# The generic cell rate algorithm, a token bucket in one number, for several buckets at once.
_TAKE = """
local now, window, longest, full_at = tonumber(ARGV[1]), tonumber(ARGV[2]), 0, {}
for i, key in ipairs(KEYS) do
  local limit = tonumber(ARGV[2 + i])
  full_at[i] = math.max(tonumber(redis.call('GET', key) or 0), now) + window / limit
  longest = math.max(longest, full_at[i] - now - window)
end
if longest > 0.5 then return math.ceil(longest) end
for i, key in ipairs(KEYS) do
  redis.call('SET', key, string.format('%.3f', full_at[i]), 'PX', math.ceil(full_at[i] - now))
end
return 0
"""
_GIVE_BACK = """
local now, window = tonumber(ARGV[1]), tonumber(ARGV[2])
for i, key in ipairs(KEYS) do
  local full_at = tonumber(redis.call('GET', key) or 0) - window / tonumber(ARGV[2 + i])
  if full_at - now < 1 then redis.call('DEL', key)
  else redis.call('SET', key, string.format('%.3f', full_at), 'PX', math.ceil(full_at - now)) end
end
"""


@dataclass(frozen=True, slots=True)
class Try:
    """A password that is about to be checked: the buckets that it counts in, and the size of each."""

    buckets: tuple[tuple[str, int], ...]


class SignInLimiter:
    """The limits, kept in Redis for all processes; calls block."""

    def __init__(self, client: "redis.Redis", prefix: str, limits: SignInLimits) -> None:
        self._redis = client
        self._prefix = prefix
        self._limits = limits
        self._window = int(limits.window * 1000)
        self._take = client.register_script(_TAKE)
        self._give_back = client.register_script(_GIVE_BACK)

    def plan(self, email: str, address: str, device: str | None) -> Try:
        """Returns the buckets that a try counts in.

        Args:
            email: the account's address as it is kept, or the text that was typed in its place.
            address: the client's address, as the limits count it.
            device: the browser's cookie, if it has one.
        """
        account, limits = digest(email), self._limits
        if device is not None and self._redis.zscore(self._devices(account), digest(device)) is not None:
            return Try(((f"device:{digest(device)}", limits.per_device),))
        return Try(
            (
                (f"address:{address}", limits.per_address),
                (f"account:{account}", limits.per_account),
                (f"pair:{account}:{address}", limits.per_pair),
            )
        )

    def take(self, attempt: Try, now: float) -> float:
        """Counts a try and returns 0, or counts nothing and returns the seconds to wait."""
        milliseconds = cast("int", self._run(self._take, attempt, now))
        return milliseconds / 1000

    def give_back(self, attempt: Try, now: float) -> None:
        """Takes a try back: its password was right."""
        self._run(self._give_back, attempt, now)

    def know(self, email: str, device: str, former: str | None, now: float) -> None:
        """Remembers the browser of a user who has signed in, in place of its former name."""
        key = self._devices(digest(email))
        with self._redis.pipeline(transaction=True) as pipe:
            if former is not None:
                pipe.zrem(key, digest(former))
            pipe.zadd(key, {digest(device): now})
            pipe.zremrangebyrank(key, 0, -MAX_DEVICES - 1)
            pipe.expire(key, DEVICE_KEPT)
            pipe.execute()

    def forget(self, email: str) -> None:
        """Forgets all browsers of an account."""
        self._redis.delete(self._devices(digest(email)))

    def _run(self, script: "redis.commands.core.Script", attempt: Try, now: float) -> object:
        keys = [f"{self._prefix}:tries:{name}" for name, _ in attempt.buckets]
        numbers = [limit for _, limit in attempt.buckets]
        return script(keys=keys, args=[int(now * 1000), self._window, *numbers])

    def _devices(self, account: str) -> str:
        return f"{self._prefix}:devices:{account}"
