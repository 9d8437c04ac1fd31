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
from dataclasses import asdict, astuple, fields, replace
from json.encoder import encode_basestring_ascii
from operator import itemgetter
from typing import Any

from bff.allowed_bytes import allowing
from bff.crypto import Keyring, packed_seal, unpacked_seal
from bff.session.json_bytes import read_json
from bff.session.model import Opened, OwnToken, Refreshing, Session, Tokens, new_session, new_tokens

Record = Mapping[str, str]
Values = Sequence[bytes | None]
"""The values of a record's `FIELDS`, in their order, as Redis has them; None for one that is not there."""

DEVICE = "device"
RAW_FORMAT = 2
"""The value of `session.record_format` by which records are sealed as bytes."""
_BOUND = ("version", "provider", "sub", "sid", "created", "ends")
_bound_values = itemgetter(*_BOUND)
_PLAIN = allowing(set(range(0x20, 0x7F)) - {ord("\\")})  # beside quotes, which are counted
_SEPARATING = 2 * len(_BOUND)  # quotes between the fields
_TOKEN_NAMES = tuple(field.name for field in fields(Tokens))
_OF_TOKENS = frozenset(_TOKEN_NAMES)
_ALWAYS_LISTED = len(_OF_TOKENS) - 1  # all but `proof_key`, the last of them
_ALWAYS_NAMED = _TOKEN_NAMES[:_ALWAYS_LISTED]
FIELDS = (*_BOUND, "seen", "tokens", "name", "ua", "ip", "frontend", "refreshing", "exchanged", DEVICE)
"""The fields that a session is made of: all but the readable claims."""
_for_people = itemgetter(*map(FIELDS.index, ("name", "ua", "ip", "frontend", "exchanged")))
_in_memory = itemgetter(*map(FIELDS.index, (*_BOUND, "tokens", "exchanged", "refreshing", DEVICE)))

_SEALED = frozenset({"tokens", "exchanged"})
_EXCHANGED = b" exchanged"
_DEVICE = b"device v1"
_SEEN = b"seen"
_CLAIM = "claim:"
_LONGEST_CLAIM = 256  # characters of a readable claim; a longer one would not be typed by anybody
_TEXTS = frozenset({bytes, type(None)})
_new = tuple.__new__  # for a fifth of what a named tuple's own takes


def encode_record(
    session: Session, handle: str, keyring: Keyring, readable: Iterable[str] = (), *, raw: bool = False
) -> dict[str, str]:
    """Turns a session into the fields of its hash; the claims named `readable` stand there for people, too.

    A `raw` one is sealed in format 2.

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
        "tokens": _listed(session.tokens) if raw else _known_before(asdict(session.tokens), "proof_key"),
        "claims": dict(session.claims),
        "rotations": session.rotations,
    }
    plaintext = json.dumps(secret, separators=(",", ":")).encode()
    record["tokens"] = keyring.seal_record(handle, plaintext, _bound_in(session.key, record), raw=raw)
    return record


def record_of(values: Values) -> Record:
    """Returns the record whose `FIELDS` have these values.

    Bytes that are no UTF-8 were not written by us: they will not open.
    """
    return {
        name: unpacked_seal(value) if name in _SEALED else value.decode("utf-8", "replace")
        for name, value in zip(FIELDS, values, strict=True)
        if value is not None
    }


def values_of(record: Record) -> Values:
    """Undoes `record_of`."""
    return [
        None
        if (value := record.get(name)) is None
        else packed_seal(value)
        if name in _SEALED
        else value.encode("utf-8", "surrogatepass")
        for name in FIELDS
    ]


def claim_field(name: str) -> str:
    """The field that a readable claim stands in."""
    return _CLAIM + name


def _known_before(fields: dict[str, Any], *newer: str) -> dict[str, Any]:
    """Returns the fields without newer ones that say nothing: an earlier version of us opens them too."""
    return {name: value for name, value in fields.items() if value or name not in newer}


def _readable(value: Any) -> str:
    return value[:_LONGEST_CLAIM] if isinstance(value, str) else ""


def encode_exchanged(session: Session, handle: str, keyring: Keyring, *, raw: bool = False) -> str:
    """The field `exchanged`: the tokens for single backends, sealed for this version of the session alone."""
    plaintext = json.dumps(
        {
            audience: _known_before(asdict(token), "bound", "proof_key")
            for audience, token in session.exchanged.items()
        },
        separators=(",", ":"),
    ).encode()
    bound = _bound_in(session.key, _bound_fields(session))
    return keyring.seal_record(handle, plaintext, bound + _EXCHANGED, raw=raw)


def decode_record(key: str, record: Record, handle: str, keyring: Keyring) -> Session | None:
    """Opens a record; None if it was not written by us for this handle, or was changed since."""
    return decode_values(key, values_of(record), handle, keyring)


def decode_values(key: str, values: Values, handle: str, keyring: Keyring) -> Session | None:
    """Opens the record whose `FIELDS` have these values; None as `decode_record`."""
    opened = open_values(key, values, handle, keyring)
    if opened is None:
        return None
    name, ua, ip, frontend, exchanged = _for_people(values)
    if not _TEXTS.issuperset(map(type, (name, ua, ip, frontend))):
        return None
    return new_session(
        key,
        opened.version,
        opened.provider,
        opened.sub,
        opened.sid,
        _shown(name),
        opened.created,
        opened.seen,
        opened.ends,
        opened.tokens,
        opened.claims,
        opened.rotations,
        opened.refreshing,
        _shown(ua),
        _shown(ip),
        _shown(frontend),
        opened.exchanged,
        unpacked_seal(exchanged) if exchanged else "",
        opened.bound,
    )


def open_values(key: str, values: Values, handle: str, keyring: Keyring) -> Opened | None:
    """Opens the record as `decode_values` does, and makes no session of it.

    Each read of a session that is not in memory does it: a record by names costs a tenth more.
    """
    unpacked: Sequence[Any] = values  # one that is missing fails below, as one of another kind does
    (
        version,
        provider,
        sub,
        sid,
        created,
        ends,
        seen,
        tokens,
        _,
        _,
        _,
        _,
        refreshing,
        exchanged,
        device,
    ) = unpacked
    try:
        bound = _bound(key, (version, provider, sub, sid, created, ends))
        plaintext = keyring.open_record_bytes(handle, tokens, bound)
        if plaintext is None:
            return None
        secret: dict[str, Any] = read_json(plaintext)
        own = _decode_exchanged(exchanged, bound, handle, keyring) if exchanged else {}
        if own is None:
            return None
        return _new(
            Opened,
            (
                key,
                int(version),
                provider.decode(),
                sub.decode("utf-8", "surrogatepass"),
                sid.decode("utf-8", "surrogatepass") or None,
                float(created),  # what the seal is bound to, or a tag proves, was written by us
                _parse_seen(seen, handle, keyring),
                float(ends),
                _tokens(secret["tokens"]),
                secret["claims"],
                secret["rotations"],
                parse_marker(refreshing.decode()) if refreshing else None,
                own,
                bool(device) and device_key(key, record_of(values), keyring) is not None,
            ),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _shown(value: bytes | None) -> str:
    """Returns a text that is for people: whatever stands there is one."""
    if not value:
        return ""
    try:
        return value.decode()  # to name an error handler costs twice as much
    except UnicodeDecodeError:
        return value.decode("utf-8", "replace")


def _listed(tokens: Tokens) -> list[Any]:
    """The values of the tokens' fields, in their order, as format 2 has them; `proof_key` if there is one."""
    values = list(astuple(tokens))
    return values if tokens.proof_key else values[:_ALWAYS_LISTED]


def _tokens(fields: Mapping[str, Any] | list[Any]) -> Tokens:
    """Returns the tokens with these fields, or values; an earlier version of us wrote fewer of them."""
    if not isinstance(fields, list) and tuple(fields) == _ALWAYS_NAMED:
        fields = list(fields.values())  # as this version writes them
    if isinstance(fields, list):
        values = [*fields, None] if len(fields) == _ALWAYS_LISTED else fields
        return new_tokens(*values)  # TypeError: a later version has written more of them
    if not _OF_TOKENS.issuperset(fields):
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


def fingerprint(values: Values) -> int:
    """A number that identifies the record of a session in memory, all fields but `seen`.

    It grants nothing beyond the record that was opened before. It differs by process.
    """
    return hash(_in_memory(values))


def _decode_exchanged(
    sealed: bytes, bound: bytes, handle: str, keyring: Keyring
) -> Mapping[str, OwnToken] | None:
    plaintext = keyring.open_record_bytes(handle, sealed, bound + _EXCHANGED)
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
    return f"{second}.{keyring.tag(_SEEN, f'{handle} {second}'.encode()).decode()}"


def _parse_seen(text: bytes, handle: str, keyring: Keyring) -> float:
    second, _, tag = text.partition(b".")
    if not keyring.tagged(_SEEN, handle.encode() + b" " + second, tag):
        raise ValueError("not written by this server")
    return float(second)


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


def _bound(key: str, fields: Sequence[bytes]) -> bytes:
    """Returns a JSON array of key and `_BOUND`; they are but joined where none has to be escaped."""
    text = b'", "'.join((key.encode(), *fields))
    if text.translate(_PLAIN) == text and text.count(b'"') == _SEPARATING:
        return b'["%b"]' % text
    texts = (key, *(field.decode("utf-8", "surrogatepass") for field in fields))
    return f"[{', '.join(map(encode_basestring_ascii, texts))}]".encode("ascii")


def _bound_in(key: str, record: Record) -> bytes:
    return _bound(key, [value.encode("utf-8", "surrogatepass") for value in _bound_values(record)])
