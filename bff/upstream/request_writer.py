"""The writer of a request's head, and the promises of its method. Pure.

Rule 1: this is the last wall before the wire. A head that would not be read as exactly the fields it was
made of is never written, whatever let it come this far.
"""

from bff.upstream.interfaces import UpstreamRequest

_IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})
_LENGTH_EXPECTED = frozenset({b"POST", b"PUT", b"PATCH"})
_WRITTEN_HERE = frozenset(
    {
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"expect",
        b"connection",
        b"upgrade",
        b"te",
        b"trailer",
    }
)


class UnsafeRequestError(ValueError):
    """A request that cannot be written unambiguously: a mistake of the proxy's, never the client's alone."""


def is_idempotent(method: bytes) -> bool:
    """Returns true if sending the request twice means the same as sending it once (RFC 9110, 9.2.2)."""
    return method in _IDEMPOTENT


def waits_for_go_ahead(request: UpstreamRequest) -> bool:
    """Returns true if `Expect: 100-continue` is sent; never without a body (RFC 9110, 10.1.1)."""
    return request.expect_continue and request.body_length != 0


def request_head(request: UpstreamRequest) -> bytes:
    """Returns request line and fields as they go on the wire, the empty line included (RFC 9112, 3 and 6).

    Raises:
        UnsafeRequestError: a CR, LF or NUL anywhere, white space in method or target, a target that is not
            in origin form, or a field that only this function writes.
    """
    method, target = request.method, request.target
    lines = [method + b" " + target + b" HTTP/1.1", b"host: " + request.host]
    for name, value in request.headers:
        if name in _WRITTEN_HERE:
            raise UnsafeRequestError(f"the field {name.decode('ascii')} is not the caller's to write")
        lines.append(name + b": " + value)
    length = request.body_length
    if length is None:
        lines.append(b"transfer-encoding: chunked")
    elif length or method in _LENGTH_EXPECTED:
        lines.append(b"content-length: %d" % length)
    if waits_for_go_ahead(request):
        lines.append(b"expect: 100-continue")
    lines += (b"", b"")
    ends = len(lines) - 1
    head = b"\r\n".join(lines)
    if head.count(b"\n") != ends or head.count(b"\r") != ends or b"\0" in head:
        raise UnsafeRequestError("a control character in the request's head")
    if target[:1] != b"/" or b" " in target or b" " in method or not method:
        raise UnsafeRequestError("a malformed request line")
    return head
