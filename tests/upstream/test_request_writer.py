"""The head of a request on the wire, and what its method promises (RFC 9110, 9112)."""

import pytest

from bff.policy.fields import Header
from bff.upstream.interfaces import UpstreamRequest
from bff.upstream.request_writer import (
    UnsafeRequestError,
    is_idempotent,
    request_head,
    waits_for_go_ahead,
)


def request(
    method: bytes = b"GET",
    target: bytes = b"/a?b=c",
    headers: tuple[Header, ...] = (),
    length: int | None = 0,
    *,
    host: bytes = b"api:8000",
    expect: bool = False,
) -> UpstreamRequest:
    return UpstreamRequest(method, target, host, headers, length, expect)


@pytest.mark.parametrize(
    ("asked", "head"),
    [
        (request(), b"GET /a?b=c HTTP/1.1\r\nhost: api:8000\r\n\r\n"),
        (request(expect=True), b"GET /a?b=c HTTP/1.1\r\nhost: api:8000\r\n\r\n"),
        (
            request(headers=((b"x", b"y"), (b"x", b""))),
            b"GET /a?b=c HTTP/1.1\r\nhost: api:8000\r\nx: y\r\nx: \r\n\r\n",
        ),
        (request(b"POST", b"/"), b"POST / HTTP/1.1\r\nhost: api:8000\r\ncontent-length: 0\r\n\r\n"),
        (request(b"PUT", b"/"), b"PUT / HTTP/1.1\r\nhost: api:8000\r\ncontent-length: 0\r\n\r\n"),
        (request(b"PATCH", b"/"), b"PATCH / HTTP/1.1\r\nhost: api:8000\r\ncontent-length: 0\r\n\r\n"),
        (request(b"DELETE", b"/"), b"DELETE / HTTP/1.1\r\nhost: api:8000\r\n\r\n"),
        (request(b"GET", b"/", length=3), b"GET / HTTP/1.1\r\nhost: api:8000\r\ncontent-length: 3\r\n\r\n"),
        (
            request(b"PUT", b"/", length=None),
            b"PUT / HTTP/1.1\r\nhost: api:8000\r\ntransfer-encoding: chunked\r\n\r\n",
        ),
        (
            request(b"PUT", b"/", length=9, expect=True),
            b"PUT / HTTP/1.1\r\nhost: api:8000\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n",
        ),
    ],
)
def test_framing_is_written_here(asked: UpstreamRequest, head: bytes) -> None:
    """Host, framing and Expect follow from the request; a length is stated where one is expected."""
    assert head == request_head(asked)


@pytest.mark.requirement("H-02")
@pytest.mark.requirement("B-12")
@pytest.mark.parametrize(
    "asked",
    [
        request(b""),
        request(b"GET /x"),
        request(b"GET\r\n"),
        request(target=b""),
        request(target=b"*"),
        request(target=b"http://evil/"),
        request(target=b"/a b"),
        request(target=b"/a\r\nx: y"),
        request(target=b"/\0"),
        request(host=b"a\r\nx: y"),
        request(headers=((b"x", b"y\r\nz: a"),)),
        request(headers=((b"x", b"y\nz"),)),
        request(headers=((b"x", b"y\rz"),)),
        request(headers=((b"x", b"y\0"),)),
        request(headers=((b"x\r\ny", b"z"),)),
        *(
            request(headers=((name, b"x"),))
            for name in (
                b"host",
                b"content-length",
                b"transfer-encoding",
                b"expect",
                b"connection",
                b"upgrade",
                b"te",
                b"trailer",
            )
        ),
    ],
)
def test_what_could_be_read_as_more_is_not_written(asked: UpstreamRequest) -> None:
    """A head that says anything but what it was made of never reaches the wire."""
    with pytest.raises(UnsafeRequestError):
        request_head(asked)


def test_idempotent_methods() -> None:
    """Those of RFC 9110, 9.2.2, and no unknown one."""
    assert [True] * 6 == [
        is_idempotent(m) for m in (b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE")
    ]
    assert [False] * 4 == [is_idempotent(m) for m in (b"POST", b"PATCH", b"QUERY", b"get")]


def test_only_a_body_waits_for_a_go_ahead() -> None:
    """`Expect` is never sent without a body (RFC 9110, 10.1.1)."""
    assert [False, False, True, True] == [
        waits_for_go_ahead(asked)
        for asked in (
            request(expect=True),
            request(length=5),
            request(length=5, expect=True),
            request(length=None, expect=True),
        )
    ]
