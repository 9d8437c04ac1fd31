"""A client's own bearer token, on a route that takes one in place of a session (RFC 6750 2.1). Pure.

Rule 1: a session's cookie and a bearer token never go together: which of two users it is would be left to
whoever reads the request. A cookie that names no session any more counts as one.
Rule 2: a token comes in the one `Authorization` field, and nowhere else.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from bff.policy.cookie_names import is_session
from bff.policy.fields import Header

_SCHEME = b"bearer"


@dataclass(frozen=True, slots=True)
class Bearer:
    """The request brings a bearer token."""

    token: bytes


@dataclass(frozen=True, slots=True)
class Both:
    """The request brings a bearer token and a cookie of ours."""


@dataclass(frozen=True, slots=True)
class Doubled:
    """The request brings a bearer token in one of several `Authorization` fields."""


def presented(headers: Iterable[Header]) -> Bearer | Both | Doubled | None:
    """Returns the bearer token of a request; None if it brings none."""
    cookies, values = list[bytes](), list[bytes]()
    for name, value in headers:
        if name == b"cookie":
            cookies.append(value)
        elif name == b"authorization":
            values.append(value)
    split = [value.strip(b" \t").partition(b" ") for value in values]
    tokens = [rest.strip(b" \t") for scheme, _, rest in split if scheme.lower() == _SCHEME]
    if not tokens:
        return None
    if len(values) > 1:
        return Doubled()
    if any(is_session(pair) for cookie in cookies for pair in cookie.split(b";")):
        return Both()
    return Bearer(tokens[0])
