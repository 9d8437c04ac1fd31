"""The names of our own cookies, and the rules that keep them between the browser and the proxy. Pure."""

import re

SESSION_COOKIE = b"__Host-Http-bff"
"""The session cookie where `public_url` is https."""

PLAIN_COOKIE = b"bff"
"""The session cookie on plain http, which only development on loopback has."""

BOUND_COOKIE = b"__Host-bff"
"""The name of the cookie that shows a device's proof begins so: Chromium binds no `__Host-Http-` cookie."""

_OWN = (SESSION_COOKIE.lower(), PLAIN_COOKIE, BOUND_COOKIE.lower())
_OWN_PREFIXES = tuple(name + mark for name in _OWN for mark in (b"-", b"."))
_BLANK = b" \t"
_PASSING = re.compile(rb"(?:^(?:__host-http-)?bff-|\.\.)(?:tx-[^.]*|logout)\Z")
"""The end of the name of a sign-in's or sign-out's cookie. A base path before it may hold such words, too."""


def own_cookie(public_url: str, base_path: str, kind: str = "") -> str:
    """The name of a cookie of ours.

    `__Host-` cookies are always for the whole origin, so that a base path stands in the name: two BFFs on one
    origin do not disturb each other. A kind begins with "-"; behind a base path, which may hold that as well,
    with "..", which no base path makes: of `/a` and `/a-logout` none has a cookie of the other's name.
    """
    name = (SESSION_COOKIE if public_url.startswith("https://") else PLAIN_COOKIE).decode("ascii")
    mark = kind.replace("-", "..", 1) if base_path else kind
    return name + base_path.replace("/", ".") + mark


def bound_cookie(public_url: str, base_path: str) -> str:
    """The name of the short cookie by which a device-bound session is proved."""
    name = BOUND_COOKIE if public_url.startswith("https://") else PLAIN_COOKIE
    return name.decode("ascii") + base_path.replace("/", ".") + "-bound"


def is_own(pair: bytes) -> bool:
    """Returns True if a `name=value` pair is, or could be read as, a cookie of ours.

    More is ours than we set: any case (browsers compare the `__Host-` prefixes so), the session name
    and all that continue it with `-` or `.`, those of a BFF beside this one too, and nameless cookies such as
    `=bff=x`, which browsers send as `bff=x`.
    """
    name = _name(pair)
    return name in _OWN or name.startswith(_OWN_PREFIXES)


def _name(pair: bytes) -> bytes:
    return pair.strip(b" \t=").partition(b"=")[0].rstrip(_BLANK).lower()


def is_session(pair: bytes) -> bool:
    """Returns True if a `name=value` pair is, or could be read as, a session's; a sign-in's is none."""
    return is_own(pair) and not _PASSING.search(_name(pair))


def without_own(header: bytes) -> bytes | None:
    """A `Cookie` header value with our own cookies taken out and the others as they were, byte for byte.

    None when nothing is left.
    """
    rest = [pair for pair in header.split(b";") if not is_own(pair)]
    return b";".join(rest).strip(_BLANK) or None


def sets_own(set_cookie: bytes) -> bool:
    """Returns True if a `Set-Cookie` value would set, or in some browser could set, a cookie of ours."""
    return is_own(set_cookie.partition(b";")[0])
