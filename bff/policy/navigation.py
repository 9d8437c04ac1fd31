"""The check for a person's own navigation, which every address that acts by GET makes first. Pure.

Rule 1: HEAD never acts: link checkers and mail scanners send it (RFC 9110 9.3.2).
Rule 2: a page that a browser fetches ahead (prefetch, prerender, preview) is no wish of the user's yet.
Chromium sends the cookies along, Strict ones too where the link stands on a page of ours.
Rule 3: `Sec-Fetch-Mode`, where it is sent, is `navigate`: a picture, a script or a `fetch` is no navigation.
"""

import re
from collections.abc import Iterable
from typing import Literal

from bff.policy.fields import Header

NotNavigated = Literal["head", "prefetch", "fetch_mode"]
"""The reasons why a request is no navigation."""

# Sec-Purpose (Fetch standard); Purpose (older Chromium and Safari); X-Purpose (Safari's previews); X-Moz.
_PURPOSES = frozenset({b"sec-purpose", b"purpose", b"x-purpose", b"x-moz"})
_AHEAD = re.compile(rb"\b(?:prefetch|prerender|preview|instant)\b", re.IGNORECASE)


def fetched_ahead(headers: Iterable[Header]) -> bool:
    """Returns True if a browser fetches this before the user has asked for it."""
    return any(name in _PURPOSES and _AHEAD.search(value) for name, value in headers)


def not_navigated(method: str, headers: Iterable[Header]) -> NotNavigated | None:
    """Returns why this is no navigation that may do something; None if it is one, or an old browser's."""
    if method == "HEAD":
        return "head"
    kept = list(headers)
    if fetched_ahead(kept):
        return "prefetch"
    modes = [value for name, value in kept if name == b"sec-fetch-mode"]
    return "fetch_mode" if modes and modes != [b"navigate"] else None


def navigates(headers: Iterable[Header]) -> bool:
    """Returns True if a person will look at the answer, so that an error is better a page than JSON.

    Where the browser does not say it (`Sec-Fetch-Mode`), one that would rather have HTML than anything else
    is taken for a navigation: scripts ask for `*/*` or for JSON.
    """
    modes, accepted = [], b""
    for name, value in headers:
        if name == b"sec-fetch-mode":
            modes.append(value)
        elif name == b"accept":
            accepted = value
    if modes:
        return modes == [b"navigate"]
    return accepted.lstrip().lower().startswith((b"text/html", b"application/xhtml+xml"))
