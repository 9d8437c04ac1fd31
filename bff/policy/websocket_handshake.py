"""The upgrade to WebSocket and the client's handshake, by the fields of its head (RFC 6455 4.2). Pure."""

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from websockets.utils import accept_key

from bff.policy.fields import Header
from bff.policy.request_refusal import bad_request

_KEY_BYTES = 16


class Handshake(NamedTuple):
    """A well-formed handshake: the value that accepts it, and the subprotocols that the client offers."""

    accept: bytes
    subprotocols: list[str]


def judge_upgrade(single: Mapping[bytes, bytes], *, http_1_0: bool, websocket: bool) -> None:
    """Judges the `Upgrade` among the fields that may come once.

    Args:
        single: their values, with one of `Upgrade`.
        http_1_0: the request's version.
        websocket: a route takes WebSockets.

    Raises:
        Refusal: another upgrade, one that no route takes, or one with a body.
    """
    if http_1_0 or single[b"upgrade"].lower() != b"websocket":
        raise bad_request("this upgrade is not served")
    if not websocket:
        raise bad_request("no route takes WebSockets: `websocket = true` on one lets them through")
    if b"transfer-encoding" in single or single.get(b"content-length", b"0") != b"0":
        raise bad_request("an upgrade has no body")


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
