"""The fields of a request's head."""

from collections.abc import Sequence

Header = tuple[bytes, bytes]
"""A field's name in lower case and its value."""

_ASKED = frozenset(
    {
        b"access-control-request-method",
        b"cookie",
        b"origin",
        b"sec-fetch-site",
        b"traceparent",
        b"tracestate",
        b"x-forwarded-for",
        b"x-request-id",
    }
)


class Fields:
    """The fields of one head; not to be changed once made."""

    __slots__ = ("_asked", "headers")

    def __init__(self, headers: Sequence[Header]) -> None:
        self.headers = headers
        self._asked: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            if name in _ASKED:
                self._asked.setdefault(name, []).append(value)

    def values(self, name: bytes) -> list[bytes]:
        """All values of one of the fields that are asked for on the way, in their order."""
        return self._asked.get(name) or []

    def only(self, name: bytes) -> bytes | None:
        """The value of such a field that came once; None where it is missing, or came several times."""
        values = self._asked.get(name)
        return values[0] if values is not None and len(values) == 1 else None
