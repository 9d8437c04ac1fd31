"""The read of one hash: the commands that ask for it, and the meaning of their replies."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from bff.errors import StoreUnavailableError
from bff.session.redis_errors import trouble

_HGETALL, _PTTL, _GET = (b"*2\r\n$%d\r\n%b\r\n" % (len(verb), verb) for verb in (b"HGETALL", b"PTTL", b"GET"))
_NAME = b"$%d\r\n%b\r\n"
_GONE, _NO_END = -2, -1  # answers of PTTL


class Loaded(NamedTuple):
    """A hash as it stands, empty if there is none.

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
    """Returns HGETALL, PTTL if `timed`, and GET for a `note`, as they are sent."""
    named = _NAME % (len(name), name)
    words = _HGETALL + named
    if timed:
        words += _PTTL + named
    return words if note is None else words + _GET + _NAME % (len(note), note)


def outcome(fields: Any, left: Any, note: Any) -> Loaded | Exception:
    """Reads the answers to HGETALL, PTTL and GET; None for a command that was not sent."""
    if isinstance(fields, ResponseError):
        return WrongTypeError() if _is_wrong_type(fields) else unavailable(fields)
    if isinstance(note, ResponseError):
        if not _is_wrong_type(note):
            return unavailable(note)
        note = ""  # somebody put something else there, and meant an end
    if not isinstance(fields, dict):
        return StoreUnavailableError("Redis: an odd answer")
    if left is None or left == _NO_END:
        return Loaded(fields, None, note)
    if left == _GONE:
        return Loaded({}, None)  # it went between the two questions
    return Loaded(fields, left / 1000 if isinstance(left, int) else 0.0, note)


def _is_wrong_type(refused: ResponseError) -> bool:
    return str(refused).startswith("WRONGTYPE")


def unavailable(failure: BaseException) -> StoreUnavailableError:
    """Returns the error of a caller that gets no answer."""
    error = StoreUnavailableError(f"Redis: {trouble(failure).detail}")
    error.__cause__ = failure
    return error
