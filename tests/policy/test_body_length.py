"""The length of a request's body, and no request about which two servers could differ."""

import pytest

from bff.policy.body_length import body_length
from bff.policy.request_refusal import Refusal

CODING = "transfer-encoding must be a single chunked, on HTTP/1.1"


def judged(fields: str, *, http_1_0: bool = False) -> int | str | None:
    """The length of a body by these fields, or why the request is refused."""
    single = dict(field.encode().split(b": ") for field in fields.split(" | ") if field)
    try:
        return body_length(single, http_1_0=http_1_0)
    except Refusal as refusal:
        return refusal.detail


@pytest.mark.parametrize(
    ("outcome", "fields"),
    [
        (0, ""),
        (7, "content-length: 7"),
        (10**15 - 1, "content-length: 999999999999999"),
        (None, "transfer-encoding: Chunked"),
        ("malformed content-length", "content-length: 9999999999999999"),
        ("malformed content-length", "content-length: +7"),
        ("malformed content-length", "content-length: "),
        ("both content-length and transfer-encoding", "content-length: 7 | transfer-encoding: chunked"),
        (CODING, "transfer-encoding: gzip, chunked"),
    ],
)
def test_length(outcome: int | str | None, fields: str) -> None:
    """A length, a single `chunked`, or neither."""
    assert outcome == judged(fields)


def test_http_1_0() -> None:
    """It knows no codings."""
    assert 7 == judged("content-length: 7", http_1_0=True)
    assert CODING == judged("transfer-encoding: chunked", http_1_0=True)
