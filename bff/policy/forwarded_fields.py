"""The fields that tell a backend of the client and of the public origin: `Forwarded`, `X-Forwarded-*`. Pure.

Rule 1: one address is told, that of `bff.policy.client_address`: entries that a client may have made up are
not passed on. Host and scheme are those of `server.public_url`, whatever a request says.
Rule 2: the fields of a call and the lines of a fast call say the same, byte for byte.
"""

from dataclasses import dataclass

from bff.policy.fields import Header
from bff.policy.public_origin import PublicOrigin
from bff.settings.model import RouteSettings

CLIENT_LINES = b"x-forwarded-for: %b\r\nforwarded: for=%b"
"""`client_lines` of an address, which stands in both places, in the second as RFC 7239 6 has it."""


@dataclass(frozen=True, slots=True)
class ForwardedFields:
    """The parts of a route's fields that are the same for each client.

    Attributes:
        tail: the end of `Forwarded`.
        same: the other fields, which are about the public origin.
        lines: both, as lines; `client_lines` come before them.
    """

    tail: bytes
    same: tuple[Header, ...]
    lines: bytes

    @classmethod
    def of(cls, route: RouteSettings, public: PublicOrigin) -> "ForwardedFields":
        """Returns those of a route."""
        quoted = b'"' + public.host + b'"' if b":" in public.host else public.host
        tail = b";host=" + quoted + b";proto=" + public.scheme
        same = [(b"x-forwarded-host", public.host), (b"x-forwarded-proto", public.scheme)]
        if route.forwarded_prefix and (cut := route.cut_prefix()):
            same.append((b"x-forwarded-prefix", cut.encode("ascii")))
        return cls(tail, tuple(same), tail + b"\r\n" + b"".join(b"%b: %b\r\n" % field for field in same))


def client_fields(client: str, tail: bytes) -> tuple[Header, Header]:
    """Returns the fields that tell of the client, by its address or `unknown`."""
    address = client.encode("ascii")
    node = b'"[' + address + b']"' if ":" in client else address  # RFC 7239 6
    return (b"x-forwarded-for", address), (b"forwarded", b"for=" + node + tail)


def client_lines(client: str) -> bytes:
    """Returns the same as lines, the last without its end."""
    address = client.encode("ascii")
    node = b'"[' + address + b']"' if ":" in client else address
    return CLIENT_LINES % (address, node)
