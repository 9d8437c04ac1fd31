"""The length of a request's body, by its head: `Content-Length` or `Transfer-Encoding`. Pure.

Rule 1: a request that two servers could frame differently is refused, never repaired (RFC 9112 11.2, request
smuggling): length and coding together, any coding but one `chunked`, a malformed length.
The lines of the head are judged by the request parser, and the body's own bytes by `chunked_body.py`.
"""

from collections.abc import Mapping

from bff.policy.request_refusal import bad_request

MAX_LENGTH_DIGITS = 15
"""The most digits of a `Content-Length`: a pebibyte."""


def body_length(single: Mapping[bytes, bytes], *, http_1_0: bool) -> int | None:
    """Returns the body's length in bytes, None for a chunked body.

    Args:
        single: the values of the fields that may come once.
        http_1_0: the request's version.

    Raises:
        Refusal: the length is malformed, or two servers could differ about it.
    """
    length, coding = single.get(b"content-length"), single.get(b"transfer-encoding")
    if coding is not None:
        if length is not None:
            raise bad_request("both content-length and transfer-encoding")
        if http_1_0 or coding.lower() != b"chunked":
            raise bad_request("transfer-encoding must be a single chunked, on HTTP/1.1")
    if length is not None and not (length.isdigit() and len(length) <= MAX_LENGTH_DIGITS):
        raise bad_request("malformed content-length")
    return None if coding is not None else int(length or 0)
