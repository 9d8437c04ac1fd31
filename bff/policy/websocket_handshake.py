"""The handshake of a client's WebSocket, by the fields of its head (RFC 6455 4.2). Pure."""

import base64
import binascii
from collections.abc import Iterable
from typing import NamedTuple

from websockets.utils import accept_key

from bff.policy.fields import Header

_KEY_BYTES = 16


class Handshake(NamedTuple):
    """A well-formed handshake: the value that accepts it, and the subprotocols that the client offers."""

    accept: bytes
    subprotocols: list[str]


def handshake_of(method: bytes, fields: Iterable[Header]) -> Handshake | None:
    """Returns the handshake that a head begins; None for a malformed one."""
    found: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        found.setdefault(name, []).append(value)
    keys, offers = found.get(b"sec-websocket-key", []), found.get(b"sec-websocket-protocol", [])
    if method != b"GET" or found.get(b"sec-websocket-version") != [b"13"] or not _is_key(keys):
        return None
    offered = [name.strip(" \t") for names in offers for name in names.decode("latin-1").split(",")]
    return Handshake(accept_key(keys[0].decode("ascii")).encode("ascii"), offered)


def _is_key(keys: list[bytes]) -> bool:
    """Returns True if there is one key, of 16 bytes (RFC 6455 4.2.1)."""
    try:
        return len(keys) == 1 and len(base64.b64decode(keys[0], validate=True)) == _KEY_BYTES
    except binascii.Error:
        return False
