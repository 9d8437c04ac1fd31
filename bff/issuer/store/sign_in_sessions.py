"""Sign-ins at the issuer, with their cookies, refresh families and clients.

Rule 1: a cookie or a family of a sign-in is named in `issuer:sid:<sid>` before it is made: without an entry
in the index it could not be ended.
Rule 2: an end is marked before it is carried out, and each grant looks for the mark after it was made.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import cast

from bff.issuer.logout.logout_queue import LogoutQueue
from bff.issuer.store.redis import IssuerRedis, digest, read_number
from bff.issuer.store.refresh_families import Family

# Adds to what is known of a sign-in, and keeps it as long as what is added. (EXPIRE has GT from Redis 7 on.)
_NOTE = """
redis.call('HSET', KEYS[1], unpack(ARGV, 4))
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[1])
redis.call('ZADD', KEYS[2], 'GT', ARGV[2], ARGV[3])
local left = math.max(1, math.ceil(ARGV[2] - ARGV[1]))
for _, key in ipairs(KEYS) do
  if redis.call('TTL', key) < left then redis.call('EXPIRE', key, left) end
end
"""
ENDED_KEPT = 3600  # seconds: longer than any code, pushed request or access token of the sign-in can be good


@dataclass(frozen=True, slots=True)
class SignIn:
    """A browser's sign-in at the issuer. `auth_time` is in seconds since 1970."""

    sub: str
    sid: str
    auth_time: int


@dataclass(frozen=True, slots=True)
class Device:
    """The device of a sign-in: its user agent and its address at that time."""

    user_agent: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """A sign-in that may have something alive, as an operator sees it."""

    sid: str
    auth_time: int
    device: Device
    clients: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """An ended sign-in: its user, and the clients that had tokens by it."""

    sid: str
    sub: str
    clients: tuple[str, ...]
    families: int


class SignInSessions:
    """The sign-ins in Redis."""

    def __init__(self, redis: IssuerRedis, logout_queue: LogoutQueue) -> None:
        self._redis = redis
        self._logout_queue = logout_queue
        self._client = redis.client
        self._note = self._client.register_script(_NOTE)

    def save(self, cookie: str, sign_in: SignIn, lifetime: float, now: float, device: Device) -> None:
        """Remembers a browser; the cookie is new and made here."""
        session = digest(cookie)
        fields: dict[str, str | int] = {
            "sub": sign_in.sub,
            "auth_time": sign_in.auth_time,
            "session": session,
            "ua": device.user_agent,
            "ip": device.address,
        }
        self._remember(sign_in.sid, sign_in.sub, fields, now + lifetime, now)
        self._client.set(self._session(session), json.dumps(asdict(sign_in)), ex=max(1, int(lifetime)))

    def find(self, cookie: str) -> SignIn | None:
        """Returns the sign-in of this cookie, or None; a record that cannot be read is none."""
        text = cast("str | None", self._client.get(self._session(digest(cookie))))
        try:
            said = json.loads(text or "")
            found = SignIn(str(said["sub"]), str(said["sid"]), int(said["auth_time"]))
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return None
        return found

    def forget(self, cookie: str) -> None:
        """Forgets a cookie alone: a new sign-in leaves the clients' earlier tokens valid."""
        self._client.delete(self._session(digest(cookie)))

    def note_family(self, family: str, record: Family, now: float) -> None:
        """Names a refresh family that is about to be made; the sign-in is known as long as its last token."""
        fields = {"sub": record.sub, f"family:{family}": record.client_id}
        self._remember(record.sid, record.sub, fields, record.ends + ENDED_KEPT, now)

    def note_client(self, sid: str, sub: str, client_id: str, now: float) -> None:
        """Remembers that a client is about to get tokens by a sign-in, and is to be told of its end."""
        self._remember(sid, sub, {"sub": sub, f"client:{client_id}": "1"}, now + ENDED_KEPT, now)

    def of(self, sub: str, now: float) -> list[str]:
        """Returns the `sid` of each sign-in of an account that may have something alive."""
        return cast("list[str]", self._client.zrangebyscore(self._sids(sub), now, "+inf"))

    def tell(self, sub: str, now: float) -> list[Standing]:
        """Returns each of them with its details, the latest first."""
        found = []
        for sid in self.of(sub, now):
            fields = cast("Mapping[str, str]", self._client.hgetall(self._sid(sid)))
            device = Device(fields.get("ua", ""), fields.get("ip", ""))
            clients = tuple(sorted(name[7:] for name in fields if name.startswith("client:")))
            found.append(Standing(sid, read_number(fields.get("auth_time") or "0") or 0, device, clients))
        return sorted(found, key=lambda standing: -standing.auth_time)

    def end(self, sid: str, reason: str, told: Collection[str] | None, now: float) -> Ended:
        """Ends a sign-in: its cookie, its refresh families, and by the mark its access tokens and codes.

        Of the clients that had tokens by it those of `told` are to be told (None: all); that is noted in the
        same step.
        """
        self._client.set(self._ended(sid), reason, ex=ENDED_KEPT)
        fields = cast("Mapping[str, str]", self._client.hgetall(self._sid(sid)))
        families = [name.partition(":")[2] for name in fields if name.startswith("family:")]
        clients = sorted(name.partition(":")[2] for name in fields if name.startswith("client:"))
        sub = fields.get("sub", "")
        with self._client.pipeline(transaction=True) as pipe:
            for family in families:
                pipe.delete(self._redis.key("family", family))
            for client_id in clients:
                if told is None or client_id in told:
                    self._logout_queue.add(pipe, client_id, sub, sid, now)
            if "session" in fields:
                pipe.delete(self._session(fields["session"]))
            if sub:
                pipe.zrem(self._sids(sub), sid)
            pipe.delete(self._sid(sid))
            pipe.execute()
        return Ended(sid, sub, tuple(clients), len(families))

    def has_ended(self, sid: str) -> bool:
        """Return True if a sign-in ended so recently that codes or tokens of it could still be in use."""
        return bool(self._client.exists(self._ended(sid)))

    def _remember(self, sid: str, sub: str, fields: Mapping[str, str | int], ends: float, now: float) -> None:
        pairs = [word for pair in fields.items() for word in pair]
        self._note(keys=[self._sid(sid), self._sids(sub)], args=[now, ends, sid, *pairs])

    def _session(self, name: str) -> str:
        return self._redis.key("session", name)

    def _sid(self, sid: str) -> str:
        return self._redis.key("sid", sid)

    def _sids(self, sub: str) -> str:
        return self._redis.key("sids", sub)

    def _ended(self, sid: str) -> str:
        return self._redis.key("revoked:sid", sid)
