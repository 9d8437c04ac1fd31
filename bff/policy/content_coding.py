"""The content coding of an answer, by the client's `Accept-Encoding` (RFC 9110 12.5.3). Pure."""

from collections.abc import Sequence
from typing import Final

_IDENTITY: Final = "identity"


def choose_coding(accept: str, offered: Sequence[str]) -> str | None:
    """Returns the first of the offered codings that is accepted; None for the content as it is.

    A client that weighs one of them above another gets the one that it prefers; one that wants the
    content as it is rather than coded gets that.
    """
    weights = dict(_weights(accept))
    other = weights.get("*", 0.0)
    found = [(weights.get(coding, other), coding) for coding in offered]
    best = max((weight for weight, _ in found), default=0.0)
    if best <= 0.0 or weights.get(_IDENTITY, 0.0) > best:
        return None
    return next(coding for weight, coding in found if weight == best)


def _weights(accept: str) -> list[tuple[str, float]]:
    found = []
    for item in accept.lower().split(","):
        coding, _, parameter = item.partition(";")
        name, _, value = parameter.partition("=")
        try:
            weight = float(value) if name.strip() == "q" else 1.0
        except ValueError:
            weight = 0.0
        found.append((coding.strip(), weight))
    return found
