"""Request bodies: where they end, and their content. Pure.

Rule 1: no byte behind a body is taken for a part of it.
Rule 2: chunk framing is bounded against the content that it surrounds, and read some lines at a time.
"""

import re
from enum import Enum, auto

from bff.proxy.server.request_parser import bad_request, parse_field

MOST_LINES = 2048
"""The number of lines of a chunked body that are read in one turn of the loop."""

_MAX_SIZE_LINE = 256  # of a chunk: 15 digits and, from very few clients, a signature
_CHUNK_FRAME = 4  # bytes around a chunk's size and content: two line ends
_MAX_EXTRA = 16 * 1024  # of chunk framing and trailers that the content does not outweigh
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_SIZE = re.compile(
    rb"([0-9A-Fa-f]{1,15})(?:;%b*(?:=(?:%b*|\"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*\"))?)*"
    % (_TOKEN, _TOKEN)
)
"""A chunk's size and extensions (RFC 9112 7.1.1)."""


class LengthBody:
    """A body of known length, above 0."""

    __slots__ = ("left",)

    def __init__(self, length: int) -> None:
        self.left = length

    def take(self, data: bytes) -> tuple[bytes, int]:
        """Returns the content in these bytes, and how many of them belong to the body."""
        content = data if len(data) <= self.left else data[: self.left]
        self.left -= len(content)
        return content, len(content)

    @property
    def over(self) -> bool:
        """True when the body is complete."""
        return self.left == 0


class _Next(Enum):
    """The next part of a chunked body."""

    SIZE = auto()
    CONTENT = auto()
    CONTENT_END = auto()
    TRAILER = auto()


_LONGEST = {_Next.SIZE: _MAX_SIZE_LINE, _Next.CONTENT_END: 2, _Next.TRAILER: _MAX_EXTRA}


class ChunkedBody:
    """A body in chunks (RFC 9112 7.1). Trailers are checked and dropped."""

    __slots__ = ("_extra", "_left", "_line", "_next", "over")

    def __init__(self) -> None:
        self.over = False
        self._next = _Next.SIZE
        self._line = bytearray()
        self._left = 0  # of the chunk's content
        self._extra = 0

    def take(self, data: bytes) -> tuple[bytes, int]:
        """Returns the content in these bytes, and how many of them belong to the body, framing included.

        Stops early after `MOST_LINES` lines, so that one read does not hold the loop.

        Raises:
            Refusal: the framing is malformed, or too much.
        """
        pieces: list[bytes] = []
        at, lines = 0, 0
        while at < len(data) and not self.over and lines < MOST_LINES:
            if self._next is _Next.CONTENT:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._next = _Next.CONTENT_END
            else:
                lines += self._next is not _Next.CONTENT_END
                at = self._take_line(data, at)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces), at

    def _take_line(self, data: bytes, at: int) -> int:
        limit = _LONGEST[self._next]
        newline = data.find(b"\n", at, at + limit)
        end = len(data) if newline < 0 else newline + 1
        self._line += data[at : min(end, at + limit + 1)]
        if self._next is _Next.CONTENT_END and not b"\r\n".startswith(self._line):
            raise bad_request("a chunk is longer than its size")
        if len(self._line) > limit:
            raise bad_request("a line of the chunked body is too long")
        if newline < 0:
            return end
        line = bytes(self._line)
        if not line.endswith(b"\r\n") or line.count(b"\r") != 1:
            raise bad_request("a line of the chunked body does not end with CRLF")
        self._line.clear()
        self._note_line(line[:-2])
        return end

    def _note_line(self, line: bytes) -> None:
        if self._next is _Next.CONTENT_END:
            self._next = _Next.SIZE
        elif self._next is _Next.TRAILER:
            self.over = not line
            self._spend(len(line) + 2)
            if line:
                parse_field(line)
        else:
            size_line = _SIZE.fullmatch(line)
            if size_line is None:
                raise bad_request("malformed chunk size")
            size = self._left = int(size_line[1], 16)
            self._spend(len(line) + _CHUNK_FRAME - size)
            self._next = _Next.CONTENT if size else _Next.TRAILER

    def _spend(self, extra: int) -> None:
        self._extra = max(0, self._extra + extra)
        if self._extra > _MAX_EXTRA:
            raise bad_request("more chunk framing or trailers than content")
