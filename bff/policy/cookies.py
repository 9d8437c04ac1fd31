r"""Cookies by their bytes: the one parser that the guard, both fronts and the header rules use.

Rule 1: a header is split on `;`, and only space and tab are stripped, as browsers do (RFC 6265bis 5.6).
Other parsers strip `\xa0` too, or unquote: a cookie that a sibling host planted then wins over ours.
Rule 2: nothing here chooses between two cookies of one name; the caller sees both, and takes neither.
"""

from collections.abc import Iterable

SESSION_COOKIE = b"__Host-Http-bff"
"""The session cookie where `public_url` is https."""

PLAIN_COOKIE = b"bff"
"""The session cookie on plain http, which only development on loopback has."""

_OWN = (SESSION_COOKIE.lower(), PLAIN_COOKIE)
_OWN_PREFIXES = tuple(name + b"-" for name in _OWN)
_BLANK = b" \t"


def cookie_values(headers: Iterable[bytes], name: bytes) -> list[bytes]:
    """All values that the given `Cookie` header values have for `name`, in their order, quotes and all."""
    found = []
    for header in headers:
        if name not in header:
            continue
        for pair in header.split(b";"):
            key, equals, value = pair.partition(b"=")
            if equals and key.strip(_BLANK) == name:
                found.append(value.strip(_BLANK))
    return found


def values_by_name(headers: Iterable[bytes], prefix: bytes) -> dict[bytes, list[bytes]]:
    """All values, as `cookie_values` gives them, of each cookie whose name begins with `prefix`."""
    found: dict[bytes, list[bytes]] = {}
    for header in headers:
        for pair in header.split(b";"):
            key, equals, value = pair.partition(b"=")
            if equals and key.strip(_BLANK).startswith(prefix):
                found.setdefault(key.strip(_BLANK), []).append(value.strip(_BLANK))
    return found


def is_own(pair: bytes) -> bool:
    """Returns True if a `name=value` pair is, or could be read as, a cookie of ours.

    More is ours than we set: any case (browsers compare the `__Host-` prefixes so), the session name
    and all that continue it with `-`, and nameless cookies such as `=bff=x`, which browsers send as `bff=x`.
    """
    name = pair.strip(b" \t=").partition(b"=")[0].rstrip(_BLANK).lower()
    return name in _OWN or name.startswith(_OWN_PREFIXES)


def without_own(header: bytes) -> bytes | None:
    """A `Cookie` header value with our own cookies taken out and the others as they were, byte for byte.

    None when nothing is left.
    """
    rest = [pair for pair in header.split(b";") if not is_own(pair)]
    return b";".join(rest).strip(_BLANK) or None


def sets_own(set_cookie: bytes) -> bool:
    """Returns True if a `Set-Cookie` value would set, or in some browser could set, a cookie of ours."""
    return is_own(set_cookie.partition(b";")[0])
