"""A backend's answers: whole, in pieces, too short, too long, or nonsense."""

from tests.tools.soak.path_world import Call

_BIG = 70_000  # bytes: more than the ASGI front lets wait
_OK = b"HTTP/1.1 200 OK\r\n"


def pieces(  # noqa: C901, PLR0911, PLR0912 - a list of kinds
    call: Call, number: int, kind: int
) -> list[bytes | None]:
    """The answer in its pieces, None for the end of the connection; the call notes what it is to come to."""
    body = b"%d %b" % (number, call.target)
    if kind & 15 == 15:
        body += b"." * _BIG
    no_body = call.method == b"HEAD"
    named = b"X-Serial: %d\r\n" % number
    length = b"Content-Length: %d\r\n\r\n" % len(body)
    chunk = b"%x\r\n" % len(body)
    sent = b"" if no_body else body
    end: list[bytes | None] = [] if no_body else [None]  # without a body it is over before
    call.sound, call.status, call.answer = True, 200, sent
    match kind & 15:
        case 1:
            return [_OK + named + length, sent] if sent else [_OK + named + length]
        case 2:
            return [_OK[:9], _OK[9:] + named + length + sent]
        case 3 | 4:
            head = _OK + named + b"Transfer-Encoding: chunked\r\n\r\n"
            if no_body:
                return [head]
            parts = [head, chunk, body, b"\r\n", b"0\r\n", b"X-Trailer: 1\r\n\r\n"]
            return [b"".join(parts)] if kind & 1 else [*parts]
        case 5:
            call.status = 401
            challenge = b'WWW-Authenticate: Bearer error="invalid_token"\r\n' if kind & 16 else b""
            return [b"HTTP/1.1 401 Unauthorized\r\n" + challenge + named + length + sent]
        case 6 | 7:
            call.status, call.answer = (204, b"") if kind & 1 else (304, b"")
            return [b"HTTP/1.1 %d X\r\n" % call.status + named + b"\r\n"]
        case 8:
            return [_OK + named + b"\r\n" + sent, *end]
        case 9:
            call.sound = False
            return [_OK + named + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"]
        case 10:
            call.sound = no_body
            return [_OK + named + length + sent[:-1], *end]
        case 11:
            call.sound = False
            planted = b"HTTP/1.1 200 OK\r\nX-Planted: 1\r\nContent-Length: 0\r\n\r\n"
            return [_OK + named + length + sent + planted]
        case 12:
            return [
                b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
                b"HTTP/1.1 100 Continue\r\n\r\n",
                _OK + named + length + sent,
            ]
        case 13:
            call.sound, call.status = False, 408  # which may be about the wait before it
            return [b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n" + named + length + sent]
        case 14:
            return [_OK + b"Connection: close\r\n" + named + length + sent]
        case _:
            return [_OK + named + length + sent]
