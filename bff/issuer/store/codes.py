"""Authorization codes: good once, for their client, redirect URI and challenge.

Rule: a code is taken in one atomic step, before anything is issued for it (RFC 6749 4.1.2, 10.5).
"""

import json
from dataclasses import asdict, dataclass
from typing import cast

from bff.issuer.store.redis import IssuerRedis, digest

SPENT_KEPT = 600  # seconds in which a second use of a code is recognised, and ends what the first began

_TAKE = """
local record = redis.call('GETDEL', KEYS[1])
if record then
  redis.call('SET', KEYS[2], record, 'EX', ARGV[1])
  return {'first', record}
end
record = redis.call('GET', KEYS[2])
if record then return {'again', record} end
return false
"""


@dataclass(frozen=True, slots=True)
class Code:
    """The grant behind an authorization code; `family` is the first half of the refresh tokens to come.

    `dpop_jkt` is the key that has to be proved for it (RFC 9449 10); "": any, or none.
    """

    client_id: str
    redirect_uri: str
    scope: str
    sub: str
    sid: str
    auth_time: int
    nonce: str
    code_challenge: str
    family: str
    resources: tuple[str, ...] = ()
    dpop_jkt: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """A presented code; `again` is False the first time only."""

    code: Code
    again: bool


class Codes:
    """The codes in Redis."""

    def __init__(self, redis: IssuerRedis) -> None:
        self._redis = redis
        self._take = redis.client.register_script(_TAKE)

    def save(self, code: str, record: Code, lifetime: float) -> None:
        """Stores the grant of a new code; it ends by itself."""
        milliseconds = max(1, int(lifetime * 1000))
        self._redis.client.set(self._key("code", code), json.dumps(asdict(record)), px=milliseconds)

    def take(self, code: str) -> Taken | None:
        """Takes a code; None for an unknown one, or one that has ended."""
        answer = self._take(keys=[self._key("code", code), self._key("spent", code)], args=[SPENT_KEPT])
        if answer is None:
            return None
        when, text = cast("tuple[str, str]", answer)
        fields = json.loads(text)
        return Taken(Code(**{**fields, "resources": tuple(fields.get("resources", ()))}), when == "again")

    def _key(self, kind: str, code: str) -> str:
        return self._redis.key(kind, digest(code))
