"""The framing of requests: how long a body is, and no request about which two servers could differ."""

import pytest

from bff.policy.chunked_body import FramingError
from bff.policy.request_framing import judge_framing

CODING = "transfer-encoding must be a single chunked, on HTTP/1.1"
NO_UPGRADE = "this upgrade is not served"
NO_BODY = "an upgrade has no body"


def judged(fields: str, *, http_1_0: bool = False, websocket: bool = True) -> int | str | None:
    """The length of a body by these fields, or why the request is refused."""
    single = dict(field.encode().split(b": ") for field in fields.split(" | ") if field)
    try:
        return judge_framing(single, http_1_0=http_1_0, websocket=websocket)
    except FramingError as error:
        return str(error)


@pytest.mark.parametrize(
    ("outcome", "fields"),
    [
        (0, ""),
        (7, "content-length: 7"),
        (10**15 - 1, "content-length: 999999999999999"),
        (None, "transfer-encoding: Chunked"),
        (0, "upgrade: WebSocket"),
        (0, "upgrade: websocket | content-length: 0"),
        ("malformed content-length", "content-length: 9999999999999999"),
        ("malformed content-length", "content-length: +7"),
        ("malformed content-length", "content-length: "),
        ("both content-length and transfer-encoding", "content-length: 7 | transfer-encoding: chunked"),
        (CODING, "transfer-encoding: gzip, chunked"),
        (NO_UPGRADE, "upgrade: tls"),
        (NO_BODY, "upgrade: websocket | content-length: 1"),
        (NO_BODY, "upgrade: websocket | transfer-encoding: chunked"),
    ],
)
def test_framing(outcome: int | str | None, fields: str) -> None:
    """A length, a single `chunked`, or neither."""
    assert outcome == judged(fields)


def test_http_1_0() -> None:
    """It knows no codings and no upgrades."""
    assert 7 == judged("content-length: 7", http_1_0=True)
    assert CODING == judged("transfer-encoding: chunked", http_1_0=True)
    assert NO_UPGRADE == judged("upgrade: websocket", http_1_0=True)


def test_no_route_takes_websockets() -> None:
    """The refusal names the setting."""
    assert "`websocket = true`" in str(judged("upgrade: websocket", websocket=False))
