"""`WWW-Authenticate`: which challenges of a backend may reach a browser (RFC 9110, 11.6.1).

`Basic`, `Digest`, `NTLM` and `Negotiate` open the browser's password prompt on our origin, and what is typed
there goes nowhere, since `Authorization` is ours. Known good schemes pass, and all others do not: what a
browser will take for a reason to ask is for it to decide.

Rule 1: a challenge that passes was read to its end, and is written again from its parts; a value that cannot
be read passes nothing, since a browser may read it otherwise.
"""

import re

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'
_BETWEEN = re.compile(rb"[ \t,]*")
_SCHEME = re.compile(_TOKEN + rb"(?=[ \t,]|$)")
_PARAMETER = re.compile(rb"(" + _TOKEN + rb")[ \t]*=[ \t]*(" + _QUOTED + rb"|" + _TOKEN + rb")(?=[ \t,]|$)")
_TOKEN68 = re.compile(rb"[ \t]+([A-Za-z0-9._~+/-]+=*)(?=[ \t]*(?:,|$))")


def passing_challenges(value: bytes, schemes: frozenset[bytes]) -> bytes | None:
    """The challenges of one field whose scheme is among `schemes`, in lower case; None where none is left."""
    passing: list[bytes] = []
    at = _after(_BETWEEN, value, 0)
    while at < len(value):
        scheme = _SCHEME.match(value, at)
        if scheme is None:
            return None
        at = scheme.end()
        parts: list[bytes] = []
        credentials = _TOKEN68.match(value, at)
        behind = _after(_BETWEEN, value, at)
        if credentials is not None and _PARAMETER.match(value, behind) is None:
            parts.append(credentials[1])
            behind = _after(_BETWEEN, value, credentials.end())
        else:
            while (parameter := _PARAMETER.match(value, behind)) is not None:
                parts.append(parameter[1] + b"=" + parameter[2])
                behind = _after(_BETWEEN, value, parameter.end())
        at = behind
        if scheme[0].lower() in schemes:
            passing.append(scheme[0] + (b" " + b", ".join(parts) if parts else b""))
    return b", ".join(passing) or None


def _after(pattern: re.Pattern[bytes], value: bytes, at: int) -> int:
    found = pattern.match(value, at)
    return at if found is None else found.end()
