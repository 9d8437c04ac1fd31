"""The read of one hash: the commands that ask for it, and the meaning of their replies."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from bff.errors import StoreUnavailableError
from bff.session.record import FIELDS, record_of
from bff.session.redis_errors import trouble

_NAME = b"$%d\r\n%b\r\n"
_HMGET = b"*%d\r\n$5\r\nHMGET\r\n" % (2 + len(FIELDS))
_FIELDS = b"".join([_NAME % (len(name), name.encode()) for name in FIELDS])
_PTTL, _GET = b"*2\r\n$4\r\nPTTL\r\n", b"*2\r\n$3\r\nGET\r\n"
_GONE, _NO_END = -2, -1  # answers of PTTL


class Loaded(NamedTuple):
    """The fields of a record as it stands, empty if there is none.

    Attributes:
        lifetime: in seconds; None: not asked for, or no end.
        note: the string beside it that was asked for, where there is one.
    """

    fields: Mapping[str, str]
    lifetime: float | None
    note: str | None = None


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


def outcome(replies: Sequence[Any]) -> Loaded | Exception:
    """Reads the answers to HMGET, PTTL and GET; None for a command that was not sent."""
    fields, left, note = replies
    if isinstance(fields, ResponseError):
        return WrongTypeError() if _is_wrong_type(fields) else unavailable(fields)
    if isinstance(note, ResponseError):
        try:
            note = noted(note)
        except StoreUnavailableError as failure:
            return failure
    if not isinstance(fields, list) or len(fields) != len(FIELDS):
        return StoreUnavailableError("Redis: an odd answer")
    record = record_of(fields)
    if left is None or left == _NO_END:
        return Loaded(record, None, note)
    if left == _GONE:
        return Loaded({}, None)  # it went between the two questions
    return Loaded(record, left / 1000 if isinstance(left, int) else 0.0, note)


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
