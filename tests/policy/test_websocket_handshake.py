"""The upgrades and handshakes of clients' WebSockets."""

import pytest

from bff.policy.request_refusal import Refusal
from bff.policy.websocket_handshake import Handshake, handshake_of, judge_upgrade

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 1.3
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
GOOD = [(b"sec-websocket-key", KEY), (b"sec-websocket-version", b"13")]
NAMES = b"sec-websocket-protocol"
NOT_SERVED, NO_BODY = "this upgrade is not served", "an upgrade has no body"


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


def refused(fields: dict[bytes, bytes], *, http_1_0: bool = False, websocket: bool = True) -> str | None:
    """The reason for which an upgrade is refused; None for one that is served."""
    try:
        judge_upgrade(fields, http_1_0=http_1_0, websocket=websocket)
    except Refusal as refusal:
        return refusal.detail
    return None


@pytest.mark.parametrize(
    ("outcome", "fields"),
    [
        (None, {b"upgrade": b"WebSocket"}),
        (None, {b"upgrade": b"websocket", b"content-length": b"0"}),
        (NOT_SERVED, {b"upgrade": b"tls"}),
        (NO_BODY, {b"upgrade": b"websocket", b"content-length": b"1"}),
        (NO_BODY, {b"upgrade": b"websocket", b"content-length": b"00"}),
        (NO_BODY, {b"upgrade": b"websocket", b"transfer-encoding": b"chunked"}),
    ],
)
def test_an_upgrade_is_to_websocket_and_has_no_body(outcome: str | None, fields: dict[bytes, bytes]) -> None:
    """Any other one is refused."""
    assert outcome == refused(fields)


def test_http_1_0_knows_no_upgrade() -> None:
    """RFC 9110 7.8."""
    assert NOT_SERVED == refused({b"upgrade": b"websocket"}, http_1_0=True)


def test_no_route_takes_websockets() -> None:
    """The refusal names the setting."""
    assert "`websocket = true`" in str(refused({b"upgrade": b"websocket"}, websocket=False))
