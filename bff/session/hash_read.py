"""The read of one hash: the commands that ask for it, and the meaning of their replies."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from bff.errors import StoreUnavailableError
from bff.session.record import FIELDS, Values, record_of
from bff.session.redis_errors import trouble

_NAME = b"$%d\r\n%b\r\n"
_HMGET = b"*%d\r\n$5\r\nHMGET\r\n" % (2 + len(FIELDS))
_FIELDS = b"".join([_NAME % (len(name), name.encode()) for name in FIELDS])
_PTTL, _GET = b"*2\r\n$4\r\nPTTL\r\n", b"*2\r\n$3\r\nGET\r\n"
_GONE, _NO_END = -2, -1  # answers of PTTL
_KINDS = frozenset({bytes, type(None)})
_KEY_DIGITS = 64
_COUNT = len(FIELDS)
NOTHING: Values = [None] * len(FIELDS)
"""The values where there is no record."""
_new = tuple.__new__  # for a fifth of what a named tuple's own takes


class Loaded(NamedTuple):
    """The fields of a record as it stands, empty if there is none.

    Attributes:
        lifetime: in seconds; None: not asked for, or no end.
        note: the string beside it that was asked for, where there is one.
    """

    fields: Mapping[str, str]
    lifetime: float | None
    note: str | None = None


class LoadedValues(NamedTuple):
    """The same, with the values of `FIELDS` as they came; None for all of them if there is no record."""

    values: Values
    lifetime: float | None
    note: str | None


class WrongTypeError(Exception):
    """The value under this name is no hash."""


def commands(name: bytes, note: bytes | None, *, timed: bool) -> bytes:
    """Returns HMGET, PTTL if `timed`, and GET for a `note`, as they are sent.

    To parse the answer to HGETALL, a map, takes four times as long.
    """
    named = b"$%d\r\n" % len(name) + name + b"\r\n"
    words = [_HMGET, named, _FIELDS]
    if timed:
        words += (_PTTL, named)
    if note is not None:
        words += (_GET, b"$%d\r\n" % len(note), note, b"\r\n")
    return b"".join(words)


class SessionReads:
    """The commands that read a session by its key, with the note of its end: put together but for the key.

    Args:
        prefix: that of all names.
    """

    __slots__ = ("_note", "_pieces", "_session", "_timed_pieces")

    def __init__(self, prefix: str) -> None:
        self._session, self._note = f"{prefix}:session:".encode(), f"{prefix}:ended:".encode()
        key = "-" * _KEY_DIGITS
        names = self.names(key)
        self._pieces, self._timed_pieces = (
            commands(*names, timed=timed).split(key.encode()) for timed in (False, True)
        )

    def names(self, key: str) -> tuple[bytes, bytes]:
        """Returns the names of the session, and of the note of its end."""
        encoded = key.encode()
        return self._session + encoded, self._note + encoded

    def words(self, key: str, *, timed: bool) -> bytes:
        """Returns the commands as `commands` does, for a key of 64 digits."""
        return key.encode().join(self._timed_pieces if timed else self._pieces)


def outcome(replies: Sequence[Any]) -> Loaded | Exception:
    """Reads the answers as `values_outcome` does."""
    found = values_outcome(replies)
    if isinstance(found, Exception):
        return found
    if not _KINDS.issuperset(map(type, found.values)):
        return StoreUnavailableError("Redis: an odd answer")
    return Loaded(record_of(found.values), found.lifetime, found.note)


def values_outcome(  # noqa: PLR0911 - one way out for each kind of answer
    replies: Sequence[Any],
) -> LoadedValues | Exception:
    """Reads the answers to HMGET (bytes), PTTL and GET; None for a command that was not sent."""
    values, left, note = replies
    if note is None and type(left) is int and left >= 0 and type(values) is list and len(values) == _COUNT:
        return _new(LoadedValues, (values, left / 1000, None))  # as nearly always
    if isinstance(values, ResponseError):
        return WrongTypeError() if _is_wrong_type(values) else unavailable(values)
    if isinstance(note, ResponseError):
        try:
            note = noted(note)
        except StoreUnavailableError as failure:
            return failure
    if not isinstance(values, list) or len(values) != _COUNT:
        return StoreUnavailableError("Redis: an odd answer")
    if left is None or left == _NO_END:
        return _new(LoadedValues, (values, None, note))
    if left == _GONE:
        return LoadedValues(NOTHING, None, None)  # it went between the two questions
    return _new(LoadedValues, (values, left / 1000 if isinstance(left, int) else 0.0, note))


def noted(reply: Any) -> str | None:
    """Reads the answer to GET; raises StoreUnavailableError where it is a refusal."""
    if not isinstance(reply, ResponseError):
        note: str | None = reply
        return note
    if not _is_wrong_type(reply):
        raise unavailable(reply)
    return ""  # somebody put something else there, and meant an end


def _is_wrong_type(refused: ResponseError) -> bool:
    return str(refused).startswith("WRONGTYPE")


def unavailable(failure: BaseException) -> StoreUnavailableError:
    """Returns the error of a caller that gets no answer."""
    error = StoreUnavailableError(f"Redis: {trouble(failure).detail}")
    error.__cause__ = failure
    return error
