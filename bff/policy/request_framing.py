"""The framing of a request by its head: Content-Length, Transfer-Encoding, Upgrade. Pure.

Rule 1: a request that two servers could frame differently is refused, never repaired (RFC 9112 11.2, request
smuggling): length and coding together, any coding but one `chunked`, a malformed length.
The bytes of the body itself are read by `chunked_body.py`.
"""

from collections.abc import Mapping

from bff.policy.chunked_body import FramingError

MAX_LENGTH_DIGITS = 15
"""The most digits of a `Content-Length`: a pebibyte."""


def judge_framing(single: Mapping[bytes, bytes], *, http_1_0: bool, websocket: bool) -> int | None:
    """Returns the body's length in bytes, None for a chunked body.

    Args:
        single: the values of the fields that may come once.
        http_1_0: the request's version.
        websocket: an upgrade to WebSocket may be asked for.

    Raises:
        FramingError: the request is malformed, or asks for an upgrade that is not served.
    """
    length, coding = single.get(b"content-length"), single.get(b"transfer-encoding")
    if coding is not None:
        if length is not None:
            raise FramingError("both content-length and transfer-encoding")
        if http_1_0 or coding.lower() != b"chunked":
            raise FramingError("transfer-encoding must be a single chunked, on HTTP/1.1")
    if length is not None and not (length.isdigit() and len(length) <= MAX_LENGTH_DIGITS):
        raise FramingError("malformed content-length")
    upgrade = single.get(b"upgrade")
    if upgrade is not None:
        if http_1_0 or upgrade.lower() != b"websocket":
            raise FramingError("this upgrade is not served")
        if not websocket:
            raise FramingError("no route takes WebSockets: `websocket = true` on one lets them through")
        if coding is not None or length not in {None, b"0"}:
            raise FramingError("an upgrade has no body")
    return None if coding is not None else int(length or 0)
