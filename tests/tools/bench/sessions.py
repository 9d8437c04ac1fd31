"""Sessions of many users, sealed and stored as the proxy does it, without as many sign-ins.

The tokens are those of one real sign-in; handle, key, subject and sid are each user's own.
"""

import secrets
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import redis

from bff.crypto import Keyring, packed_seal, session_key
from bff.session.model import Session
from bff.session.record import FIELDS, decode_values, encode_record
from tests.tools.bench.load import LoadError
from tests.tools.bench.uses import TTL

_BUFFER = 4 * 1024 * 1024
_READ = ("version", "provider", "sub", "sid", "created", "ends", "seen", "version")
_LINES = 7 + 1 + 2 * len(_READ)  # of the answers, for each session


@dataclass
class StoredSession:
    """A session as it goes into Redis."""

    key: str
    sub: str
    sid: str
    ends: str
    fields: list[tuple[str, str | bytes]]


def store_copies(
    cookie: str, keys: str, port: int, url: str, count: int, *, frontends: Sequence[str] = ("",)
) -> list[str]:
    """Stores sessions like that of `cookie`; returns their `Cookie` headers, `cookie` first.

    They are of these frontends in turn, of which `cookie` is of the first.
    """
    name, _, handle = cookie.partition("=")
    keyring = Keyring([keys])
    key = session_key(handle)
    record = record_in(url, key)
    session = decode_values(key, [record.get(name) for name in FIELDS], handle, keyring)
    if session is None:
        raise LoadError("the session of the sign-in does not open")
    places = [frontends[number % len(frontends)] for number in range(1, count)]
    handles = [keyring.of_frontend(place).new_handle() for place in places]
    with socket.create_connection(("127.0.0.1", port)) as connection:
        send(
            connection,
            (
                _copy(replace(session, frontend=place), other, keyring.of_frontend(place), record)
                for place, other in zip(places, handles, strict=True)
            ),
        )
    return [cookie, *(f"{name}={other}" for other in handles)]


def record_in(url: str, key: str) -> dict[str, bytes]:
    """The fields of a session's hash, as Redis has them."""
    with redis.Redis.from_url(url) as client:
        fields: dict[bytes, bytes] = client.hgetall(f"bff:session:{key}")
    return {name.decode(): value for name, value in fields.items()}


def keys_of(stored: StoredSession) -> list[tuple[str, str]]:
    """A session's keys in Redis, by what they are."""
    return [
        ("hash, beside the sealed tokens", f"bff:session:{stored.key}"),
        ("index by user", f"bff:user:main:{stored.sub}"),
        ("index by sid", f"bff:sid:main:{stored.sid}"),
        ("why its time is up", f"bff:until:{stored.key[:16]}"),
    ]


def send(connection: socket.socket, sessions: Iterable[StoredSession]) -> None:
    """Stores sessions: sends commands in large pieces, and reads as many answers as there were commands."""
    waiting, awaited = bytearray(), 0
    for stored in sessions:
        waiting += _commands(stored)
        awaited += _LINES
        if len(waiting) > _BUFFER:
            connection.sendall(waiting)
            _read_answers(connection, awaited)
            waiting, awaited = bytearray(), 0
    connection.sendall(waiting)
    _read_answers(connection, awaited)


def _copy(session: Session, handle: str, keyring: Keyring, record: dict[str, bytes]) -> StoredSession:
    """The session of the sign-in as another browser's, sealed anew."""
    key, sid = session_key(handle), secrets.token_hex(len(session.sid or "") // 2)
    other = replace(session, key=key, sid=sid, sub=f"u{secrets.token_hex(8)}")
    known, raw = {*record, "frontend"}, record["tokens"].startswith(b"2")
    sealed = encode_record(other, handle, keyring, raw=raw)
    fields = [
        (name, packed_seal(value) if name == "tokens" else value)
        for name, value in sealed.items()
        if name in known
    ]
    return StoredSession(key, other.sub, sid, sealed["ends"], fields)


def _commands(stored: StoredSession) -> bytes:
    """The commands of the store's own writes: the hash and its end, both indexes and theirs, the mark.

    A new hash is read once, as `lua_scripts.CREATE` says.
    """
    session, user, sid, until = (key for _, key in keys_of(stored))
    ttl = str(TTL)
    return b"".join(
        _command(parts)
        for parts in (
            ["ZADD", user, stored.ends, stored.key],
            ["PEXPIRE", user, ttl],
            ["SADD", sid, stored.key],
            ["PEXPIRE", sid, ttl],
            ["HSET", session, *(part for field in stored.fields for part in field)],
            ["PEXPIRE", session, ttl],
            ["HMGET", session, *_READ],
            ["SET", until, "1", "PX", str(TTL + 3600 * 1000)],
        )
    )


def _command(parts: Sequence[str | bytes]) -> bytes:
    encoded = [part if isinstance(part, bytes) else part.encode() for part in parts]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in encoded)


def _read_answers(connection: socket.socket, awaited: int) -> None:
    while awaited > 0:
        data = connection.recv(_BUFFER)
        if not data or b"-" in data:
            raise LoadError(f"Redis refused a write: {data[:200]!r}")
        awaited -= data.count(b"\n")
