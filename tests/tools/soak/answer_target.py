"""The answer parser under fuzzing: it never raises, and frames as two slower readers do.

Input: one byte (bit 0: the request was HEAD; the others: where to cut), then what the backend sent.
"""

import re
from dataclasses import dataclass, field

import h11

from bff.upstream.response_parser import ResponseParser

_TRAILER = re.compile(r"Content-Length|Transfer-Encoding")
"""What h11 says of framing fields among the trailers, which we drop."""

_FRAMING = re.compile(rb"^(?:content-length|transfer-encoding):[^\n]*\n", re.IGNORECASE | re.MULTILINE)
"""What we do not look at in a 204 or 304, and h11 does."""

_BARE = (204, 304)
_AFTER = "data after the end of the answer"


@dataclass
class Read:
    """The reading of an answer."""

    interim: list[int] = field(default_factory=list)
    status: int = 0
    body: bytes = b""
    done: bool = False
    persistent: bool = False
    refusal: str | None = None


def read(pieces: list[bytes], *, head: bool) -> Read:
    """Feeds the reader until it refuses, and ends the stream."""
    reader = ResponseParser()
    reader.begin(no_content=head)
    result = Read()
    for piece in pieces:
        was_done = reader.done
        reader.feed(piece)
        if reader.refusal is not None:
            assert not reader.chunks
            assert not reader.interim
            assert was_done or not result.done
            result.refusal = reader.refusal
            break
        result.interim += [status for status, _ in reader.interim]
        result.body += b"".join(reader.chunks)
        result.done = reader.done
    if result.refusal is None:
        result.done = reader.feed_eof()
    result.status = reader.status if reader.head_done else 0
    result.persistent = reader.done and reader.persistent
    return result


def reference(data: bytes, *, head: bool) -> Read | None:
    """The reading by h11; None where it refuses. h11 lets through more than we do."""
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    client.send(h11.Request(method="HEAD" if head else "GET", target="/", headers=[("host", "x")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    client.receive_data(b"")
    result = Read()
    while True:
        try:
            event = client.next_event()
        except h11.RemoteProtocolError as error:
            result.done = result.status > 0 and _TRAILER.search(str(error)) is not None
            return result if result.done else None
        if isinstance(event, h11.InformationalResponse):
            result.interim.append(event.status_code)
        elif isinstance(event, h11.Response):
            result.status = event.status_code
        elif isinstance(event, h11.Data):
            result.body += event.data
        else:
            result.done = isinstance(event, h11.EndOfMessage)
            return result


def check(data: bytes) -> None:
    """Raises AssertionError where the parser frames wrongly, and whatever it raises itself."""
    if len(data) < 2:
        return
    head, answer = bool(data[0] & 1), data[1:]
    at = 1 + (data[0] >> 1) % len(answer)
    whole = read([answer], head=head)
    halves = read([piece for piece in (answer[:at], answer[at:]) if piece], head=head)
    parts = read([answer[i : i + 1] for i in range(len(answer))], head=head)
    for cut in (halves, parts):
        if whole.refusal is None:
            # Line ends after an answer are skipped where they come in the same read, and content behind
            # a 204 or 304 only ends the connection there.
            late = answer.endswith((b"\r", b"\n")) or (whole.status in _BARE and not whole.persistent)
            assert cut == whole or (cut.refusal == _AFTER and late), (whole, cut)
        else:
            assert cut.refusal is not None, (whole, cut)
    if whole.refusal is None and whole.done:
        expected = reference(answer, head=head)
        if expected is None and whole.status in _BARE:
            expected = reference(_FRAMING.sub(b"", answer), head=head)
        assert expected is not None, "h11 refuses what we pass on"
        assert (expected.status, expected.body, True) == (whole.status, whole.body, expected.done)
