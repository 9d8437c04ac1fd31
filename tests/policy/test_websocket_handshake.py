"""The handshakes of clients' WebSockets."""

import pytest

from bff.policy.websocket_handshake import Handshake, handshake_of

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 1.3
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
GOOD = [(b"sec-websocket-key", KEY), (b"sec-websocket-version", b"13")]
NAMES = b"sec-websocket-protocol"


@pytest.mark.parametrize(
    ("offered", "fields"),
    [
        ([], []),
        (["chat", "v2"], [(NAMES, b"chat ,\tv2")]),
        (
            ["chat", "v2", ""],
            [(NAMES, b"chat"), (NAMES, b"v2,")],
        ),  # whether they may be passed on is not judged here
        (["\xfc"], [(NAMES, b"\xfc")]),
    ],
)
def test_a_good_one(offered: list[str], fields: list[tuple[bytes, bytes]]) -> None:
    """Its key is answered, and the subprotocols are those of all its fields, in their order."""
    assert Handshake(ACCEPT, offered) == handshake_of(b"GET", [*GOOD, *fields])


@pytest.mark.parametrize(
    "fields",
    [
        [],
        GOOD[:1],
        GOOD[1:],
        [*GOOD, GOOD[0]],
        [*GOOD, GOOD[1]],
        [GOOD[0], (b"sec-websocket-version", b"8")],
        [GOOD[1], (b"sec-websocket-key", b"c2hvcnQ=")],
        [GOOD[1], (b"sec-websocket-key", KEY[:-1])],
        [GOOD[1], (b"sec-websocket-key", KEY[:-3] + b"\xfc==")],
    ],
)
def test_malformed(fields: list[tuple[bytes, bytes]]) -> None:
    """There is one key, of 16 bytes in Base64, and one version."""
    assert handshake_of(b"GET", fields) is None


def test_only_a_get_is_one() -> None:
    """RFC 6455 4.1: the method is GET."""
    assert handshake_of(b"POST", GOOD) is None
