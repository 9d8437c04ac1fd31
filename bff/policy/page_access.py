"""Decisions about a page that is for signed-in users alone (`spa.auth = "required"`). Pure.

Rule 1: a person who navigates is sent to sign in; everything else that lacks a session is refused, so that no
script is led to the provider's pages.
Rule 2: on a navigation from another site the Strict cookie stays away, of a user who is signed in too. Such a
navigation comes back from a page of ours first, with the cookie, before a sign-in begins.
Rule 3: after a sign-in that came to nothing none begins by itself: it would go in circles.
"""

from collections.abc import Callable, Iterable
from typing import Literal

from bff.policy.fields import Header
from bff.policy.navigation import fetched_ahead, navigates
from bff.policy.return_to import check_return_to

WithoutSession = Literal["refuse", "prefetch", "failed", "come_back", "sign_in"]
"""The steps for a request without a session."""

_ERROR = "bff_error"


def without_session(method: str, headers: Iterable[Header], query: bytes) -> WithoutSession:
    """Returns the step for a request that has no session."""
    kept = list(headers)
    if method != "GET" or not navigates(kept):
        return "refuse"
    if fetched_ahead(kept):
        return "prefetch"
    if any(_is_error(pair) for pair in query.decode("latin-1").split("&")):
        return "failed"
    return "come_back" if (b"sec-fetch-site", b"cross-site") in kept else "sign_in"


def page_address(path: bytes, query: bytes, home: str, covered: Callable[[bytes], bool]) -> str:
    """Returns the address of a page for `return_to`, without an error of a former sign-in.

    `home` if it is none that a sign-in may lead to; `covered` is `RouteTable.covers`.
    """
    pairs = [pair for pair in query.decode("latin-1").split("&") if pair and not _is_error(pair)]
    address = path.decode("latin-1") + (f"?{'&'.join(pairs)}" if pairs else "")
    return check_return_to(address, covered) or home


def _is_error(pair: str) -> bool:
    return pair.partition("=")[0] == _ERROR
