"""The Redis form of a session: readable fields for the operator, one sealed field for the rest.

Rule 1: the sealed field is bound to `key, version, provider, sub, sid, created, ends` as they stand in
the record, so that none of them can be edited, and no older tokens put back.
Rule 2: tokens for single backends (`exchanged`) are sealed by themselves, because they come later, and bound
likewise: a save of newer tokens leaves none of them.
Rule 3: `seen` is a second and, behind the point, the digits of a proof that it is ours and this handle's: it
changes without the sealed field, and the idle timeout hangs on it.
Rule 4: `device` is written once, beside the sealed field, and proves that it is ours and this session's. It
is read without the handle: a browser renews a device's proof without the session's cookie, too.
Rule 5: `name`, `ua`, `ip`, `frontend`, `claim:<name>` and `refreshing` are for people and for timing; nothing
is granted by them.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from json.encoder import encode_basestring_ascii
from operator import itemgetter
from typing import Any, cast

from bff.allowed_bytes import allowing
from bff.crypto import Keyring
from bff.session.json_bytes import read_json
from bff.session.model import OwnToken, Refreshing, Session, Tokens, new_session, new_tokens

Record = Mapping[str, str]
DEVICE = "device"
_BOUND = ("version", "provider", "sub", "sid", "created", "ends")
_bound_values = itemgetter(*_BOUND)
_PLAIN = allowing(set(range(0x20, 0x7F)) - {ord("\\")})  # beside quotes, which are counted
_SEPARATING = 2 * len(_BOUND)  # quotes between the fields
_IN_MEMORY = (*_BOUND, "tokens", "exchanged", "refreshing", DEVICE)
_OF_TOKENS = frozenset(field.name for field in fields(Tokens))
FIELDS = (*_BOUND, "seen", "tokens", "name", "ua", "ip", "frontend", "refreshing", "exchanged", DEVICE)
"""The fields that a session is made of: all but the readable claims."""

_EXCHANGED = b" exchanged"
_DEVICE = b"device v1"
_SEEN = b"seen"
_CLAIM = "claim:"
_LONGEST_CLAIM = 256  # characters of a readable claim; a longer one would not be typed by anybody


def encode_record(
    session: Session, handle: str, keyring: Keyring, readable: Iterable[str] = ()
) -> dict[str, str]:
    """Turns a session into the fields of its hash; the claims named `readable` stand there for people, too.

    Its sealed field is never the same twice, and so names the write that it is made for: who lost an answer
    knows by it whether the write was done.
    """
    record = {
        **_bound_fields(session),
        "seen": format_seen(session.seen, handle, keyring),
        "name": session.name,
        "ua": session.user_agent,
        "ip": session.address,
        "refreshing": format_marker(session.refreshing),
        **{claim_field(name): value for name in readable if (value := _readable(session.claims.get(name)))},
    }
    if session.frontend:
        record["frontend"] = session.frontend
    secret = {
        "tokens": _known_before(asdict(session.tokens), "proof_key"),
        "claims": dict(session.claims),
        "rotations": session.rotations,
    }
    plaintext = json.dumps(secret, separators=(",", ":")).encode()
    record["tokens"] = keyring.seal_record(handle, plaintext, _bound(session.key, record))
    return record


def record_of(values: Sequence[str | None]) -> Record:
    """Returns the record whose `FIELDS` have these values, in their order; None where there is no such field.

    Every read of a session makes one: a loop over the names costs four times as much.
    """
    (
        version,
        provider,
        sub,
        sid,
        created,
        ends,
        seen,
        tokens,
        name,
        ua,
        ip,
        frontend,
        refreshing,
        exchanged,
        device,
    ) = values
    fields = {
        "version": version,
        "provider": provider,
        "sub": sub,
        "sid": sid,
        "created": created,
        "ends": ends,
        "seen": seen,
        "tokens": tokens,
        "name": name,
        "ua": ua,
        "ip": ip,
    }
    record = cast("dict[str, str]", fields)
    if None in fields.values():  # there is no session, or somebody has taken fields away
        record = {field: value for field, value in fields.items() if value is not None}
    if frontend is not None:
        record["frontend"] = frontend
    if refreshing is not None:
        record["refreshing"] = refreshing
    if exchanged is not None:
        record["exchanged"] = exchanged
    if device is not None:
        record["device"] = device
    return record


def claim_field(name: str) -> str:
    """The field that a readable claim stands in."""
    return _CLAIM + name


def _known_before(fields: dict[str, Any], *newer: str) -> dict[str, Any]:
    """Returns the fields without newer ones that say nothing: an earlier version of us opens them too."""
    return {name: value for name, value in fields.items() if value or name not in newer}


def _readable(value: Any) -> str:
    return value[:_LONGEST_CLAIM] if isinstance(value, str) else ""


def encode_exchanged(session: Session, handle: str, keyring: Keyring) -> str:
    """The field `exchanged`: the tokens for single backends, sealed for this version of the session alone."""
    plaintext = json.dumps(
        {
            audience: _known_before(asdict(token), "bound", "proof_key")
            for audience, token in session.exchanged.items()
        },
        separators=(",", ":"),
    ).encode()
    return keyring.seal_record(handle, plaintext, _bound(session.key, _bound_fields(session)) + _EXCHANGED)


def decode_record(key: str, record: Record, handle: str, keyring: Keyring) -> Session | None:
    """Opens a record; None if it was not written by us for this handle, or was changed since."""
    try:
        plaintext = keyring.open_record(handle, record["tokens"], _bound(key, record))
        if plaintext is None:
            return None
        secret: dict[str, Any] = read_json(plaintext)
        exchanged = _decode_exchanged(key, record, handle, keyring)
        if exchanged is None:
            return None
        get = record.get
        return new_session(
            key,
            int(record["version"]),
            record["provider"],
            record["sub"],
            record["sid"] or None,
            get("name", ""),
            _parse_time(record["created"]),
            _parse_seen(record["seen"], handle, keyring),
            _parse_time(record["ends"]),
            _tokens(secret["tokens"]),
            secret["claims"],
            secret["rotations"],
            parse_marker(get("refreshing", "")),
            get("ua", ""),
            get("ip", ""),
            get("frontend", ""),
            exchanged,
            get("exchanged", ""),
            device_key(key, record, keyring) is not None,
        )
    except (KeyError, TypeError, ValueError):
        return None


def _tokens(fields: Mapping[str, Any]) -> Tokens:
    """Returns `Tokens(**fields)`; an earlier version of us wrote fewer of them."""
    if not fields.keys() <= _OF_TOKENS:
        raise ValueError("written by a later version")
    get = fields.get
    return new_tokens(
        fields["access_token"],
        fields["obtained_at"],
        fields["access_expires_at"],
        get("refresh_token"),
        get("refresh_expires_at"),
        get("id_token"),
        get("scope", ""),
        get("refresh_end_moves", True),
        get("proof_key"),
    )


def format_device(key: str, public_key: str, keyring: Keyring) -> str:
    """The field `device`: the public key that a session is bound to, and a proof that we bound it."""
    return f"{public_key} {keyring.proof(_DEVICE, f'{key} {public_key}')}"


def device_key(key: str, record: Record, keyring: Keyring) -> str | None:
    """The public key that a session is bound to, if any; ValueError if the field was not written by us."""
    text = record.get(DEVICE, "")
    if not text:
        return None
    public_key, _, proof = text.rpartition(" ")
    if not keyring.proves(_DEVICE, f"{key} {public_key}", proof):
        raise ValueError("not written by this server")
    return public_key


def fingerprint(record: Record) -> int:
    """A number that identifies the record of a session in memory, all fields but `seen`.

    It grants nothing beyond the record that was opened before. It differs by process.
    """
    return hash(tuple(map(record.get, _IN_MEMORY)))


def _decode_exchanged(
    key: str, record: Record, handle: str, keyring: Keyring
) -> Mapping[str, OwnToken] | None:
    sealed = record.get("exchanged", "")
    if not sealed:
        return {}
    plaintext = keyring.open_record(handle, sealed, _bound(key, record) + _EXCHANGED)
    if plaintext is None:
        return None
    return {audience: OwnToken(**token) for audience, token in read_json(plaintext).items()}


def format_time(moment: float) -> str:
    """Seconds since the epoch with milliseconds: the operator can read it, `date -d @…` takes it."""
    return f"{moment:.3f}"


def format_second(moment: float) -> str:
    """Returns whole seconds, rounded down: nothing lives longer, and a million of them take 40 MB less."""
    return str(math.floor(moment))


def format_seen(moment: float, handle: str, keyring: Keyring) -> str:
    """The field `seen`: `date -d @…` takes it, and only the bearer of the handle can have had it written."""
    second = format_second(moment)
    return f"{second}.{keyring.tag(_SEEN, f'{handle} {second}')}"


def _parse_seen(text: str, handle: str, keyring: Keyring) -> float:
    second, _, tag = text.partition(".")
    if not keyring.tagged(_SEEN, f"{handle} {second}", tag):
        raise ValueError("not written by this server")
    return _parse_time(second)


def format_marker(marker: Refreshing | None) -> str:
    """The field `refreshing`: when, by whom, and `lost` where the answer was; or empty."""
    if marker is None:
        return ""
    return f"{format_time(marker.at)} {marker.by}" + (" lost" if marker.lost else "")


def parse_marker(text: str) -> Refreshing | None:
    """Undoes `format_marker`; raises ValueError if the field was mangled."""
    if not text:
        return None
    at, _, rest = text.partition(" ")
    by, _, became = rest.partition(" ")
    return Refreshing(_parse_time(at), by, lost=became == "lost")


def rounded(session: Session) -> Session:
    """The session as it will read back: times in whole seconds."""
    return replace(
        session,
        created=_parse_time(format_second(session.created)),
        seen=_parse_time(format_second(session.seen)),
        ends=_parse_time(format_second(session.ends)),
    )


def _parse_time(text: str) -> float:
    moment = float(text)
    if not math.isfinite(moment):
        raise ValueError("not a moment")
    return moment


def _bound_fields(session: Session) -> dict[str, str]:
    return {
        "version": str(session.version),
        "provider": session.provider,
        "sub": session.sub,
        "sid": session.sid or "",
        "created": format_second(session.created),
        "ends": format_second(session.ends),
    }


def _bound(key: str, record: Record) -> bytes:
    """Returns a JSON array of these fields; they are but joined where none has to be escaped, as usual."""
    fields = (key, *_bound_values(record))
    text = '", "'.join(fields).encode("utf-8", "surrogatepass")
    if text.translate(_PLAIN) == text and text.count(b'"') == _SEPARATING:
        return b'["%b"]' % text
    return f"[{', '.join(map(encode_basestring_ascii, fields))}]".encode("ascii")
