"""The defence against requests that another site makes a browser send (RFC 10017 6.1.3.3).

Rule 1: a header that a foreign page cannot set, `X-CSRF: 1`, is the defence; `Sec-Fetch-Site` and `Origin`
are checked on top of it where the browser sends them.
Rule 2: a field that stands twice is refused, for another parser could see the other one.
Rule 3: names are compared as ASGI hands them out, in lower case.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, assert_never

from bff.settings.value_types import Auth

Header = tuple[bytes, bytes]
"""A field's name in lower case and its value."""

Reason = Literal["csrf_header_missing", "csrf_header_invalid", "fetch_site", "fetch_site_missing", "origin"]
"""The reason of a refusal; for the log, the metric and the problem's `reason`."""

DOCUMENTED = 'The documentation of bff, "Endpoints", says which requests need what'
"""The place of the rules in the documentation; the end of each explanation."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """The request comes from a page of this origin: its cookie counts."""


@dataclass(frozen=True, slots=True)
class Anonymous:
    """The request may go on, but without its cookie: as if nobody were signed in."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The request is answered 403."""

    reason: Reason


ALLOWED = Allowed()
ANONYMOUS = Anonymous()
SAFE_METHODS = frozenset({b"GET", b"HEAD"})
"""The methods that change nothing (RFC 9110 9.2.1) and that a browser navigates by."""


@dataclass(frozen=True, slots=True)
class Guard:
    """The checks, for one origin and one name of the CSRF header (in lower case)."""

    origin: bytes
    csrf_header: bytes
    shown_header: str = "X-CSRF"  # the name as the settings write it

    def explain(self, reason: Reason, *, by_element: bool = False) -> str:
        """The advice to the developer of the page; holds nothing of the request.

        `by_element`: a link, a picture or an EventSource could have asked, and these send no header of ours.
        """
        header = f"`{self.shown_header}: 1`"
        match reason:
            case "csrf_header_missing":
                text = f"Send the header {header}, as /bff/client.js does with every request of a script"
                if by_element:
                    text += '. Links, pictures and EventSource cannot: give their route `csrf = "navigation"`'
            case "csrf_header_invalid":
                text = f"Send the header {header} once, with this value"
            case "fetch_site":
                text = "The browser says by Sec-Fetch-Site that this did not come from a page of this origin"
            case "fetch_site_missing":
                text = f"Send the header {header}, or use a browser that sends Sec-Fetch-Site"
            case "origin":
                text = f"Origin has to be {self.origin.decode('ascii')}, once: no other origin is served"
            case other:
                assert_never(other)
        return f"{text}. {DOCUMENTED}."

    def script(self, headers: Iterable[Header]) -> Allowed | Rejected:
        """A call that only a script of our pages may make; GET included."""
        return self._script(_Seen.of(headers, self.csrf_header))

    def optional(self, headers: Iterable[Header]) -> Allowed | Anonymous | Rejected:
        """Judges a script's request to a route of optional sign-in: anonymous without the CSRF header."""
        seen = _Seen.of(headers, self.csrf_header)
        return self._script(seen) if seen.csrf else ANONYMOUS

    def navigation(self, headers: Iterable[Header], method: bytes) -> Allowed | Rejected:
        """A route in mode `navigation`: GET and HEAD without the CSRF header need a same-origin fetch.

        A browser too old to send `Sec-Fetch-Site` is refused: there the cookie would have no defence.
        """
        seen = _Seen.of(headers, self.csrf_header)
        if seen.csrf or method not in SAFE_METHODS:
            return self._script(seen)
        if not seen.fetch_site:
            return Rejected("fetch_site_missing")
        return self._site(seen) or ALLOWED

    def sign_out(self, headers: Iterable[Header]) -> Allowed | Rejected:
        """A navigation to logout, whose own defence is the `sid` in its URL: not from another site.

        `none` is a person's own doing, as with a bookmark or by typing.
        """
        seen = _Seen.of(headers, self.csrf_header)
        if seen.fetch_site == [b"none"]:
            seen.fetch_site = []
        return self._site(seen) or ALLOWED

    def websocket(self, headers: Iterable[Header]) -> Allowed | Rejected:
        """An upgrade to WebSocket, where no header of ours can be set: exactly one `Origin`, and it is ours.

        Browsers always send it there (RFC 6455 4.1, 10.2); who sends none is no page of this origin.
        """
        seen = _Seen.of(headers, self.csrf_header)
        if seen.origin != [self.origin]:
            return Rejected("origin")
        return self._site(seen) or ALLOWED

    def route(
        self,
        headers: Iterable[Header],
        method: bytes,
        *,
        auth: Auth,
        csrf: Literal["header", "navigation"],
    ) -> Allowed | Anonymous | Rejected:
        """The check that a configured route asks for."""
        if auth == "none":
            return ANONYMOUS
        if csrf == "header":
            return self.optional(headers) if auth == "optional" else self.script(headers)
        outcome = self.navigation(headers, method)
        if auth == "optional" and outcome != ALLOWED and not _Seen.of(headers, self.csrf_header).csrf:
            return ANONYMOUS
        return outcome

    def _script(self, seen: "_Seen") -> Allowed | Rejected:
        if seen.csrf != [b"1"]:
            return Rejected("csrf_header_invalid" if seen.csrf else "csrf_header_missing")
        return self._site(seen) or ALLOWED

    def _site(self, seen: "_Seen") -> Rejected | None:
        if seen.fetch_site and seen.fetch_site != [b"same-origin"]:
            return Rejected("fetch_site")
        if seen.origin and seen.origin != [self.origin]:
            return Rejected("origin")
        return None


@dataclass(slots=True)
class _Seen:
    """The headers that the checks look at, each as often as it came."""

    csrf: list[bytes]
    fetch_site: list[bytes]
    origin: list[bytes]

    @classmethod
    def of(cls, headers: Iterable[Header], csrf_header: bytes) -> "_Seen":
        seen = cls([], [], [])
        for name, value in headers:
            if name == csrf_header:
                seen.csrf.append(value)
            elif name == b"sec-fetch-site":
                seen.fetch_site.append(value)
            elif name == b"origin":
                seen.origin.append(value)
        return seen
